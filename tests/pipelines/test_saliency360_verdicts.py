"""What chapter 4's report concludes, from hand-made numbers with known answers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.pipelines.saliency360.report import sentences
from ssl_kedro.pipelines.saliency360.report.differences import (
    Difference,
    judged_model,
    paired_differences,
)
from ssl_kedro.reporting.number_format import DASH, MINUS

UNKNOWN = {"mean": None, "low": None, "high": None}


def ends(mean: float, half: float = 0.02) -> dict[str, float | None]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def plan(encoder: str, decoder: str = "light", *, fine_tune: bool = False) -> dict[str, Any]:
    macs = 10_000_000 if decoder == "light" else 1_000_000_000
    return {
        "encoder": encoder,
        "decoder": decoder,
        "fine_tune": fine_tune,
        "decoder_macs": macs,
        "recipe": [],
        "encoder_macs": 0,
        "decoder_parameters": 0,
        "epochs": 0,
        "seconds": 0.0,
        "history": [],
    }


def encoder(kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "architecture": "resnet50",
        "width": 1.0,
        "local_weight": 0.7,
        "attention": True,
        "projections": True,
        "images": 0,
        "temperature": None,
        "chance_loss": 0.0,
        "epochs": 0,
        "seconds": 0.0,
        "precision": None,
        "macs": 0,
        "parameters": 0,
        "history": [],
    }


def data(images: int, scenes: int) -> dict[str, Any]:
    unknown = {"viewers": None, "fixations": None, "truth": "maps", "skipped": []}
    return {"images": images, "scenes": scenes, "folds": 0, "role": "main", **unknown}


def results(
    cc: tuple[float, float] = (0.1, 0.02), gain: tuple[float, float] = (0.3, 0.02)
) -> dict[str, Any]:
    """Means of .6 (contrastive) and so on; differences to the equator as given, +- half."""
    means = {"contrastive": 0.6, "random": 0.5, "equator": 0.4, "mean": 0.45, "ceiling": 0.8}
    of_mode = {name: {"cc": ends(v), "info_gain": ends(v)} for name, v in means.items()}
    stored = {"sphere": {"cc": ends(*cc), "info_gain": ends(*gain)}}
    encoders = {kind: encoder(kind) for kind in ("contrastive", "random")}
    return {
        "seed": 0,
        "intervals": {"level": 0.95, "resamples": 500},
        "recipe": "fixed",
        "image": {"height": 160, "width": 320},
        "datasets": {"d": data(8, 8)},
        "encoders": encoders,
        "models": {"random": plan("random"), "contrastive": plan("contrastive")},
        "scores": {"d": {name: {"sphere": found} for name, found in of_mode.items()}},
        "differences": {"d": {"contrastive": stored, "random": stored}},
        "per_image": {},
        "runtime": [],
        "panoramas": {},
    }


def with_images(found: dict[str, Any], **offsets: list[float]) -> dict[str, Any]:
    """Adds the single panoramas' CC and information gain of some models."""
    scores = {
        name: {"sphere": {"cc": values, "info_gain": values}} for name, values in offsets.items()
    }
    found["per_image"] = {
        "d": {"names": list("abcdefgh"), "scenes": list("abcdefgh"), "scores": scores}
    }
    return found


def typed(found: dict[str, Any]) -> Results:
    return TypeAdapter(Results).validate_python(found)


def verdicts(found: dict[str, Any]) -> list[str]:
    made = typed(found)
    return sentences.verdicts(made, paired_differences(made))


def limits(found: dict[str, Any]) -> list[str]:
    return list(sentences.limits(typed(found)))


def said(found: dict[str, Any]) -> str:
    return " ".join(verdicts(found))


def difference(found: dict[str, Any]) -> Difference:
    """CC of the contrastive model less the random one."""
    made = paired_differences(typed(found))
    return next(one for one in made if one.about == "pre-training" and one.metric == "cc")


# --- one difference


@pytest.mark.parametrize(
    ("metric", "low", "high", "judgement"),
    [
        ("cc", 0.01, 0.2, "better"),
        ("cc", -0.2, -0.01, "worse"),
        ("cc", -0.01, 0.2, "undecided"),
        ("cc", 0.0, 0.2, "undecided"),
        ("kld", 0.01, 0.2, "worse"),
        ("kld", -0.2, -0.01, "better"),
        ("cc", None, None, "no interval"),
    ],
)
def test_an_interval_that_holds_zero_decides_nothing(
    metric: str, low: float | None, high: float | None, judgement: str
) -> None:
    assert Difference("baseline", "a", "b", metric, 0.1, low, high).judgement == judgement


def test_tables_name_only_what_is_decided() -> None:
    def decided(*figures: float) -> str:
        return Difference("baseline", "a", "b", "cc", *figures).decided

    assert decided(0.1, 0.05, 0.15) == "+0.100 [+0.050, +0.150], better"
    assert decided(0.1, -0.05, 0.25) == f"+0.100 [{MINUS}0.050, +0.250]"
    assert decided(0.1) == "+0.100"
    assert decided() == DASH


def test_models_are_paired_panorama_by_panorama() -> None:
    """Scores that spread far, a difference that does not: only pairs can tell."""
    base = [0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6]
    found = with_images(results(), contrastive=[v + 0.05 for v in base], random=base)
    one = difference(found)
    assert (one.mean, one.low, one.high) == pytest.approx((0.05, 0.05, 0.05))
    assert one.judgement == "better"


def test_frames_are_drawn_by_their_scenes() -> None:
    """Eight frames of five scenes: an interval over frames would be too narrow."""
    first = [0.8, 0.8, 0.8, 0.8, 0.5, 0.4, 0.45, 0.47]
    found = with_images(results(), contrastive=first, random=[0.5] * 8)
    found["datasets"]["d"]["scenes"] = 5
    frames = difference(found)
    found["per_image"]["d"]["scenes"] = list("aaaabcde")
    scenes = difference(found)
    assert frames.low is not None and scenes.low is not None
    assert scenes.mean == frames.mean and scenes.low < frames.low


def test_panoramas_without_a_score_are_left_out_of_pairs() -> None:
    first: list[Any] = [0.6, None, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    found = with_images(results(), contrastive=first, random=[0.5, 9.0, *[0.5] * 6])
    one = difference(found)
    assert one.mean == pytest.approx(0.1)


# --- the model


def test_the_judged_model_does_not_depend_on_its_score() -> None:
    found = results()
    found["models"] = {
        "heavy": plan("contrastive", "thesis"),
        "tuned": plan("contrastive", fine_tune=True),
        **found["models"],
    }
    for name in ("heavy", "tuned"):
        found["scores"]["d"][name] = {"sphere": {"cc": ends(0.99)}}
    assert judged_model(typed(found)) == "contrastive"
    del found["scores"]["d"]["contrastive"]
    assert judged_model(typed(found)) == "heavy"
    found["models"] = {}
    assert judged_model(typed(found)) is None
    assert verdicts(found) == ["No model was scored."]


# --- sentences


@pytest.mark.parametrize(
    ("cc", "gain", "expected"),
    [
        ((0.1, 0.02), (0.3, 0.1), "it is better in CC and information gain."),
        ((-0.1, 0.02), (-0.3, 0.1), "it is worse in CC and information gain."),
        ((0.0, 0.02), (0.1, 0.2), "not told apart by these panoramas in CC and information gain."),
        (
            (0.1, 0.02),
            (0.1, 0.2),
            "better in CC, and not told apart by these panoramas in information gain.",
        ),
        ((0.1, 0.02), (-0.3, 0.1), "better in CC, and worse in information gain."),
    ],
)
def test_the_headline_follows_the_intervals(
    cc: tuple[float, float], gain: tuple[float, float], expected: str
) -> None:
    headline = verdicts(results(cc, gain))[0]
    start = headline.split(" Against the mean of")[0]
    assert start.startswith("On d, contrastive has CC 0.60. Against the equator prior")
    assert start.endswith(expected)


def test_level_with_the_mean_map_is_in_the_headline() -> None:
    """A model that only repeats the mean map beats the equator all the same."""
    jitter = [0.01, -0.01, 0.02, -0.02, 0.01, -0.01, 0.02, -0.02]
    found = with_images(results(), contrastive=[0.6 + j for j in jitter], mean=[0.6] * 8)
    headline = verdicts(found)[0]
    assert "Against the equator prior, which knows latitude alone, it is better" in headline
    assert headline.endswith("it is not told apart by these panoramas in CC and information gain.")


def test_one_panorama_decides_nothing() -> None:
    found = results()
    found["datasets"]["d"] = data(1, 1)
    text = said(found)
    assert "better" not in text
    assert "worse" not in text
    assert "it is ahead in CC" in text
    assert text.count("Where there is no paired interval, that decides nothing.") == 1
    assert limits(found)[0].startswith("d is a single scene")


def test_two_panoramas_decide_nothing_however_narrow_the_interval() -> None:
    found = results(cc=(0.1, 0.001))
    found["datasets"]["d"] = data(2, 2)
    assert "better" not in said(found)
    assert limits(found)[0] == "d has 2 scenes: too few for intervals to decide anything."


def test_contrastive_against_random_in_every_case() -> None:
    base = [0.5] * 8
    for offset, word in ((0.1, "(better)"), (-0.1, "(worse)"), (0.0, "(undecided)")):
        found = with_images(results(), contrastive=[v + offset for v in base], random=base)
        line = next(s for s in verdicts(found) if "random encoder" in s)
        assert line.count(word) == 2
    found = results()
    del found["models"]["random"]
    assert "what the contrastive training is worth is not known" in said(found)
    found = results()
    found["encoders"]["random"]["width"] = 0.5  # a smaller network is no comparison
    assert "what the contrastive training is worth is not known" in said(found)


def test_decoders_are_compared_on_the_same_encoder_with_their_cost() -> None:
    found = results()
    found["models"]["heavy"] = plan("contrastive", "thesis")
    found["models"]["elsewhere"] = plan("random", "thesis")
    for name in ("heavy", "elsewhere"):
        found["scores"]["d"][name] = {"sphere": {"cc": ends(0.61)}}
    lines = [s for s in verdicts(found) if "decoder" in s]
    assert lines == [
        "The thesis decoder less the light one at 100 times the multiply-accumulates: CC +0.010 "
        "(undecided, no paired interval)."
    ]


@pytest.mark.parametrize(
    ("sauc", "expected"),
    [
        (0.6, "above 0.50: it knows this panorama"),
        (0.51, "not told apart from 0.50"),
        (0.4, "below 0.50: nothing is shown"),
    ],
)
def test_shuffled_auc_against_one_half(sauc: float, expected: str) -> None:
    found = results()
    found["scores"]["d"]["contrastive"]["sphere"]["sauc"] = ends(sauc)
    assert expected in said(found)


def test_the_way_to_the_ceiling_is_a_share() -> None:
    assert "contrastive covers 50\N{NO-BREAK SPACE}% of the way" in said(results())  # .4, .6, .8
    found = results()
    found["scores"]["d"]["contrastive"]["sphere"]["cc"] = ends(0.3)
    assert "covers nothing of the way" in said(found)


def test_what_is_not_known_is_said_so() -> None:
    found = results()
    for modes in found["scores"]["d"].values():
        modes["sphere"]["info_gain"] = UNKNOWN
    found["differences"]["d"]["contrastive"]["sphere"]["info_gain"] = UNKNOWN
    text = said(found)
    assert "information gain not measured" in text
    assert "nan" not in text.lower().replace("information gain", "")
    for modes in found["scores"]["d"].values():
        modes["sphere"]["cc"] = UNKNOWN
    found["differences"] = {"d": {}}
    assert "it is not compared." in said(found)
    for name in ("equator", "mean", "ceiling"):
        del found["scores"]["d"][name]
    assert "No baseline was scored." in said(found)
