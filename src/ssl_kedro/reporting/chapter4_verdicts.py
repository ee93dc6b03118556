"""What the scores of chapter 4 say, in sentences that follow the numbers.

A difference counts as shown where its paired interval does not hold 0. Intervals of two means that
overlap decide nothing: the same panoramas are in both, so where no paired difference is known the
sentence says so instead of guessing one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ssl_kedro.reporting.chapter4_tables import METRIC_NAMES
from ssl_kedro.reporting.number_format import plain, signed, three_digits
from ssl_kedro.saliency.intervals import paired_interval

Results = Mapping[str, Any]
Judgement = Literal["better", "worse", "undecided", "no interval", "unknown"]
# The two that the verdict is about: agreement of maps, and bits a look.
DECIDING = ("cc", "info_gain")
_LOWER_IS_BETTER = ("kld",)
# Percentile intervals of fewer panoramas than this are too narrow to be believed.
_FEW = 5


@dataclass(frozen=True)
class Difference:
    """A model less another on the same panoramas; NaN where it is not known.

    Args:
        metric: which.
        mean: of the differences.
        low: lower end of the paired interval.
        high: upper end.
    """

    metric: str
    mean: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def judgement(self) -> Judgement:
        """What the interval says of the first model."""
        if math.isnan(self.mean):
            return "unknown"
        if math.isnan(self.low) or math.isnan(self.high):
            return "no interval"
        if self.low <= 0 <= self.high:
            return "undecided"
        return "better" if (self.low > 0) != (self.metric in _LOWER_IS_BETTER) else "worse"

    @property
    def text(self) -> str:
        """ "+0.11 [+0.00, +0.20]"; without an interval the mean alone."""
        digits = 3 if self.metric in ("auc_judd", "sauc", "cc", "sim") else 2
        mean = signed(self.mean, digits)
        if self.judgement in ("unknown", "no interval"):
            return mean
        return f"{mean} [{signed(self.low, digits)}, {signed(self.high, digits)}]"


def mean_score(results: Results, dataset: str, name: str, mode: str, metric: str) -> float:
    """Mean of a model or baseline, NaN where it was not measured."""
    found = results["scores"].get(dataset, {}).get(name, {}).get(mode, {}).get(metric) or {}
    return _number(found.get("mean"))


def difference(
    results: Results, dataset: str, first: str, second: str, mode: str, metric: str
) -> Difference:
    """First less second, with a paired interval where the results allow one.

    The stored differences are to the equator prior. Against others the scores of the single
    panoramas are compared, scene by scene; without them only the means are.
    """
    if second == "equator":
        of_mode = results["differences"].get(dataset, {}).get(first, {}).get(mode, {})
        stored = of_mode.get(metric) or {}
        if stored.get("mean") is not None:
            return Difference(metric, *(_number(stored.get(key)) for key in _ENDS))
    mean = mean_score(results, dataset, first, mode, metric) - mean_score(
        results, dataset, second, mode, metric
    )
    if math.isnan(mean):
        return Difference(metric, mean)
    return _paired(results, dataset, (first, second), mode, metric) or Difference(metric, mean)


_ENDS = ("mean", "low", "high")


def _paired(
    results: Results, dataset: str, names: tuple[str, str], mode: str, metric: str
) -> Difference | None:
    """From the scores of each panorama; None where they, or their scenes, are not known."""
    kept = results.get("per_image", {}).get(dataset, {})
    both = [kept.get("scores", {}).get(name, {}).get(mode, {}).get(metric) for name in names]
    described = results["datasets"].get(dataset, {})
    scenes = kept.get("scenes")
    # Frames of one video are not independent: without their scenes there is nothing to draw.
    if scenes is None and described.get("scenes") != described.get("images"):
        return None
    if any(scores is None for scores in both) or len(both[0]) != len(both[1]):
        return None
    first, second = (np.array([_number(value) for value in scores]) for scores in both)
    found = paired_interval(
        first,
        second,
        np.random.default_rng(results["seed"]),
        confidence=results["intervals"]["level"],
        resamples=results["intervals"]["resamples"],
        groups=scenes,
    )
    return Difference(metric, found.mean, found.low, found.high)


def judged_model(results: Results, dataset: str) -> str | None:
    """Which model the verdict is about: fixed beforehand, not the best on the tested images.

    The best of several on the very images that they are compared on is partly the luckiest.

    Returns:
        The first model with scores on a frozen contrastive encoder, with the light decoder where
        there is one; then any model with scores; None without any.
    """
    scored = [name for name in results["models"] if name in results["scores"].get(dataset, {})]

    def place(name: str) -> tuple[bool, ...]:
        plan = results["models"][name]
        kind = results["encoders"].get(plan["encoder"], {}).get("kind")
        return kind != "contrastive", plan["fine_tune"], plan["decoder"] != "light"

    return min(scored, key=place, default=None)


def verdicts(results: Results, dataset: str, mode: str) -> list[str]:
    """What the numbers of one data set say; the first sentence is the result.

    Args:
        results: as ``collect`` of the pipeline makes them.
        dataset: the run's own data.
        mode: of the scores.
    """
    name = judged_model(results, dataset)
    if name is None:
        return ["No model was scored."]
    said = [
        _headline(results, dataset, name, mode),
        *_against_baselines(results, dataset, name, mode),
        *_against_ceiling(results, dataset, name, mode),
        _against_random(results, dataset, name, mode),
        *_against_fine_tuned(results, dataset, name, mode),
        *_decoders(results, dataset, name, mode),
    ]
    return [sentence for sentence in said if sentence]


def _headline(results: Results, dataset: str, name: str, mode: str) -> str:
    """One sentence: is the model better than what sees no image?"""
    value = plain(mean_score(results, dataset, name, mode, "cc"))
    beside = [b for b in ("equator", "mean") if b in results["scores"][dataset]]
    start = f"On {dataset}, {name} has CC {value}"
    if not beside:
        return f"{start}; no baseline was scored."
    parts = []
    for baseline in beside:
        words = _BASELINE_WORDS[baseline]
        found = [difference(results, dataset, name, baseline, mode, m) for m in DECIDING]
        parts.append(f"{_summary(found)} {words}")
    return f"{start}: {_and(parts)}."


_BASELINE_WORDS = {
    "equator": "the equator prior, which knows latitude alone",
    "mean": "the mean of the training maps, which sees no image",
}


def _summary(found: Sequence[Difference]) -> str:
    """A verb for what all deciding metrics say of the model against one other."""
    known = [one for one in found if one.judgement != "unknown"]
    judged = {one.judgement for one in known}
    if not known:
        return "it could not be compared with"
    if judged == {"better"}:
        return f"it beats, in {_metrics(known)},"
    if judged == {"worse"}:
        return f"it is worse, in {_metrics(known)}, than"
    if judged == {"undecided"}:
        return f"in {_metrics(known)} these panoramas do not tell it from"
    if judged == {"no interval"}:
        ahead = [one for one in known if _ahead(one) > 0]
        if len(ahead) == len(known):
            return f"in {_metrics(known)} it is ahead, without an interval to say how surely, of"
        if not ahead:
            return f"in {_metrics(known)} it is not ahead of"
        return f"it is ahead in {_metrics(ahead)} only, without an interval, of"
    shown = [one for one in known if one.judgement == "better"]
    rest = [one for one in known if one.judgement != "better"]
    if not shown:
        return f"in no deciding metric it beats ({_metrics(known)})"
    return f"it beats in {_metrics(shown)}, but not in {_metrics(rest)},"


def _metrics(found: Sequence[Difference]) -> str:
    return _and([_LONG.get(one.metric, METRIC_NAMES[one.metric]) for one in found])


_LONG = {"cc": "CC", "info_gain": "information gain"}


def _ahead(one: Difference) -> float:
    return -one.mean if one.metric in _LOWER_IS_BETTER else one.mean


def _against_baselines(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    said = []
    for baseline, words in (("equator", "equator prior"), ("mean", "mean of the training maps")):
        if baseline not in results["scores"][dataset]:
            continue
        found = [difference(results, dataset, name, baseline, mode, m) for m in DECIDING]
        said.append(f"{name} less the {words}: {_sentences(found)}")
    return said


def _sentences(found: Sequence[Difference]) -> str:
    """ "CC +0.11 [...], better; information gain ..., undecided: the interval holds 0." """
    parts = [
        f"{_LONG.get(one.metric, METRIC_NAMES[one.metric])} "
        + (one.text if one.judgement != "unknown" else "")
        + _JUDGED[one.judgement]
        for one in found
    ]
    return f"{'; '.join(parts)}."


_JUDGED: Mapping[Judgement, str] = {
    "better": " (better)",
    "worse": " (worse)",
    "undecided": " (undecided: the interval holds 0)",
    "no interval": " (no paired interval: undecided)",
    "unknown": "was not measured",
}


def _against_ceiling(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    ceiling = mean_score(results, dataset, "ceiling", mode, "cc")
    base = mean_score(results, dataset, "equator", mode, "cc")
    value = mean_score(results, dataset, name, mode, "cc")
    if math.isnan(ceiling):
        return []
    text = f"Half of the viewers predict the other half with CC {plain(ceiling)}"
    if math.isnan(base) or math.isnan(value) or ceiling <= base:
        return [f"{text}."]
    share = (value - base) / (ceiling - base)
    if share <= 0:
        return [f"{text}; {name} covers nothing of the way there from the equator prior."]
    return [f"{text}; {name} covers {share:.0%} of the way there from the equator prior."]


def _against_random(results: Results, dataset: str, name: str, mode: str) -> str:
    """What the contrastive training is worth: frozen encoders under the same decoder."""
    plan = results["models"][name]
    if _encoder(results, name).get("kind") != "contrastive":
        return "No model on a contrastive encoder was scored."
    other = _partner(results, dataset, name, kind="random", fine_tune=plan["fine_tune"])
    if other is None:
        return (
            "No model on a random encoder with the same decoder was scored: what the contrastive "
            "training is worth is not known."
        )
    found = [difference(results, dataset, name, other, mode, m) for m in DECIDING]
    return f"Contrastive less random encoder ({name} less {other}): {_sentences(found)}"


def _against_fine_tuned(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    if results["models"][name]["fine_tune"]:
        return []
    encoder = results["models"][name]["encoder"]
    other = _partner(results, dataset, name, encoder=encoder, fine_tune=True)
    if other is None:
        return []
    found = [difference(results, dataset, other, name, mode, m) for m in DECIDING]
    return [f"Fine-tuned less frozen encoder ({other} less {name}): {_sentences(found)}"]


def _partner(
    results: Results,
    dataset: str,
    name: str,
    *,
    fine_tune: bool,
    kind: str | None = None,
    encoder: str | None = None,
) -> str | None:
    """First scored model with the same decoder and network that differs as is asked for."""
    same = ("architecture", "width")
    own = results["models"][name]
    for other, plan in results["models"].items():
        found = _encoder(results, other)
        if (
            other != name
            and other in results["scores"].get(dataset, {})
            and (plan["decoder"], plan["fine_tune"]) == (own["decoder"], fine_tune)
            and (kind is None or found.get("kind") == kind)
            and (encoder is None or plan["encoder"] == encoder)
            and all(found.get(key) == _encoder(results, name).get(key) for key in same)
        ):
            return other
    return None


def _decoders(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    """Other decoders on the same encoder, in agreement and in cost."""
    own = results["models"][name]
    said = []
    for other, plan in results["models"].items():
        same = (plan["encoder"], plan["fine_tune"]) == (own["encoder"], own["fine_tune"])
        if other not in results["scores"].get(dataset, {}) or not same:
            continue
        if plan["decoder"] == own["decoder"]:
            continue
        found = difference(results, dataset, other, name, mode, "cc")
        cost = ""
        if plan.get("decoder_macs") and own.get("decoder_macs"):
            times = three_digits(plan["decoder_macs"] / own["decoder_macs"])
            cost = f" at {times} times the multiply-accumulates"
        said.append(
            f"The {plan['decoder']} decoder less the {own['decoder']} one{cost}: "
            f"{_sentences([found])}"
        )
    return said


def limits(results: Results) -> list[str]:
    """What the data sets are too small, or too bare, to show."""
    said = []
    for name in results["scores"]:
        found = results["datasets"].get(name, {})
        images, scenes = found.get("images", 0), found.get("scenes", 0)
        if images == 1 or scenes == 1:
            said.append(f"{name} is a single scene: there are no intervals, and nothing is decided.")
        elif scenes < _FEW:
            said.append(
                f"{name} has {scenes} scenes: its intervals only say how far these few lie apart."
            )
        if found.get("fixations") is None and found:
            said.append(
                f"{name} has no fixations: AUC-J, sAUC, NSS and information gain need some."
            )
    return said


def _encoder(results: Results, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = results["encoders"].get(results["models"][name]["encoder"], {})
    return found


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
