"""Points of the front from measurements made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.evaluation.forms import Judgement
from ssl_kedro.evaluation.paired import Verdict, paired_loss
from ssl_kedro.inference.comparison import Comparison, NetworkName, NetworkTime
from ssl_kedro.inference.engines.probe import EngineTiming
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.frontier.nodes import collect_measurements, deployment, frontier
from ssl_kedro.pipelines.gated.frontier.points import seed_interval
from ssl_kedro.pipelines.gated.inference.parameters import InferenceParameters
from ssl_kedro.pipelines.gated.inference.records import Footprint, Form, Measurement
from ssl_kedro.pipelines.gated.report.frontier_section import frontier_sections
from ssl_kedro.pipelines.gated.report.speed_numbers import inference_metrics
from ssl_kedro.reporting.html import Report, rendered

IMAGES = 400
MS = {"native": 1.0, "openvino": 1.5}
# Milliseconds a batch of 2 and share of right answers of each form, by key of its network.
Forms = dict[str, tuple[float, float, Verdict | None]]
DENSE: Forms = {
    "dense": (8.0, 0.60, None),
    "dense bf16": (4.0, 0.60, "undecided"),
    "dense int8": (2.0, 0.595, "holds"),
}
DUAL: Forms = {
    "dense": (8.0, 0.58, None),
    "dense int8": (2.0, 0.40, "loses"),
    "gated": (3.0, 0.57, None),
    "gated int8": (1.5, 0.56, "holds"),
    "static": (2.5, 0.57, None),
    "static int8": (1.0, 0.55, "undecided"),
}
THIN: Forms = {"static": (3.0, 0.59, None), "static int8": (0.8, 0.585, "holds")}


def measurement(
    forms: Forms, timed: Forms, seed: int, pace: float = 1.0
) -> tuple[Measurement, dict[str, np.ndarray]]:
    """What a training left whose networks take so long and are right so often."""
    networks, made, answers = {}, [], {}
    for key, (ms, _, _) in timed.items():
        network, _, precision = key.partition(" ")
        timings = tuple(
            EngineTiming(name, name, ms * factor * pace, 3, "") for name, factor in MS.items()
        )
        race = ("native", "native", 2, 16, 1, timings)
        networks[key] = NetworkTime(
            *race, precision=precision or "f32", ms=ms * pace, measured_ratio=1
        )
    rng = np.random.default_rng(seed)
    for key, (_, share, verdict) in forms.items():
        network, _, precision = key.partition(" ")
        share -= 0.01 * (seed % 10) * (seed >= 20)  # the thin model's seeds differ
        right = (rng.permutation(IMAGES) < share * IMAGES).astype(np.float32)
        judged = None if verdict is None else Judgement(verdict, {}, 1.0, 50)
        accuracies = Accuracies(float(right.mean()), linear_top1=(float(right.mean()),))
        form = Form(network, precision or "f32", ("native",), accuracies, judged)
        made.append(form)
        for measure in ("linear", "knn"):
            answers[f"{network}.{precision or 'f32'}.native.{measure}"] = right
    compared = Comparison(2, 1, "dense", 1.0, networks).offering(networks)
    macs = dict.fromkeys(get_args(NetworkName), 100.0)
    prints = {key: Footprint(1000, {"2": 10.0}) for key in forms}
    found = Measurement(10, 16, macs, {}, {"2": compared}, forms=tuple(made), footprints=prints)
    return found, answers


def left(seeds: int = 1) -> dict[str, object]:
    """What a dense, a gated and a thin model left, by the names of the graph."""
    found: dict[str, object] = {}
    # The last one ran while the machine had other work to do: twice as slow, in turns.
    models = {"vicreg": (DENSE, DENSE, 1), "dual.budget_30": (DUAL, DENSE | DUAL, 1)}
    models["thin.width_9"] = (THIN, DENSE | THIN, 2)
    for place, (key, (forms, timed, pace)) in enumerate(models.items()):
        for seed in range(seeds):
            made = measurement(forms, timed, 10 * place + seed, pace)
            at = f"{key}.seed_{seed}"
            found[f"{at}.inference"], found[f"{at}.answers"] = made
    return found


def parameters(within: float = 1.0) -> DualGatingParameters:
    return DualGatingParameters.model_validate({"frontier": {"within": within}})


def row(frame, model: str, network: str, precision: str, engine: str = "native"):  # type: ignore[no-untyped-def]
    same = frame[(frame["model"] == model) & (frame["network"] == network)]
    same = same[(same["precision"] == precision) & (same["engine"] == engine)]
    (found,) = same.to_dict("records")
    return found


def test_ratios_are_to_the_fastest_dense_network_that_holds() -> None:
    frame = frontier(parameters(), baseline="vicreg", **left())
    # Dual gating's own dense network loses in int8, but who needs no gates runs the baseline's.
    assert row(frame, "vicreg", "dense", "f32")["ratio"] == pytest.approx(2 / 8)
    assert row(frame, "dual.budget_30", "gated", "f32")["ratio"] == pytest.approx(2 / 3)
    assert row(frame, "dual.budget_30", "gated", "int8")["ratio"] == pytest.approx(2 / 1.5)
    # Without a baseline the encoder's own dense network is what there is.
    own = {key: value for key, value in left().items() if key.startswith("dual")}
    alone = frontier(parameters(), baseline="vicreg", **own)
    assert row(alone, "dual.budget_30", "gated", "int8")["ratio"] == pytest.approx(8 / 1.5)
    # A thin network has no dense one of its own: the baseline says what holds.
    thin = row(frame, "thin.width_9", "static", "int8")
    assert thin["ratio"] == pytest.approx(2 / 0.8)
    assert thin["f32_ratio"] == pytest.approx(8 / 0.8)
    # As if all had run at once: half of what it took on the busy machine.
    assert thin["ms_per_image"] == pytest.approx(0.8 / 2)
    slower = row(frame, "thin.width_9", "static", "f32", "openvino")
    assert slower["ms_per_image"] == pytest.approx(1.5 * 3.0 / 2)
    assert not slower["fastest"] and math.isnan(slower["ratio"])
    # Two engines in f32, which give the same; else the one that was judged.
    keys = [*DENSE, *DUAL, *THIN]
    assert len(frame) == len(keys) + sum(" " not in key for key in keys)


def test_what_loses_or_is_not_decided_in_int8_is_not_on_the_front() -> None:
    frame = frontier(parameters(), baseline="vicreg", **left())
    offered = {
        (of["model"], of["network"], of["precision"])
        for of in frame[frame["offered"]].to_dict("records")
    }
    assert ("vicreg", "dense", "bf16") in offered  # not decided: bf16 is kept
    assert ("dual.budget_30", "static", "int8") not in offered  # not decided: int8 is not
    assert ("dual.budget_30", "dense", "int8") not in offered
    points = frame[frame["offered"] & frame["fastest"]]
    for one in frame.to_dict("records"):
        no_worse = (points["ms_per_image"] <= one["ms_per_image"]) & (
            points["linear"] >= one["linear"]
        )
        better = (points["ms_per_image"] < one["ms_per_image"]) | (points["linear"] > one["linear"])
        taking_part = one["offered"] and one["fastest"]
        assert one["on_front"] == (taking_part and not (no_worse & better).any())


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        (0.0, ("vicreg", "dense", "bf16")),  # as good as f32, in half the time
        (1.0, ("vicreg", "dense", "int8")),
        (2.0, ("thin.width_9", "static", "int8")),
    ],
)
def test_the_deployment_is_the_fastest_within_reach(
    within: float, expected: tuple[str, ...]
) -> None:
    asked = parameters(within)
    frame = frontier(asked, baseline="vicreg", **left())
    found = deployment(asked, frame)
    assert (found.model, found.network, found.precision) == expected
    assert found.engines == {"2": "native"}
    chosen = row(frame, *expected)
    assert found.ratio["2"] == pytest.approx(chosen["ratio"]) and chosen["deployed"]
    assert frame["deployed"].sum() == 1
    assert found.accuracy == pytest.approx(chosen["linear"] / 100)
    assert f"{found.ratio['2']:.2f} times as fast at batch 2" in found.why
    assert f"Within {within:g} point" in found.why


def test_differences_have_intervals_over_images_or_over_seeds() -> None:
    one, three = left(), left(3)
    frame = frontier(parameters(), baseline="vicreg", **one)
    ours, theirs = (
        one[f"{key}.seed_0.answers"][f"{network}.f32.native.knn"]  # type: ignore[index]
        for key, network in (("thin.width_9", "static"), ("vicreg", "dense"))
    )
    loss = paired_loss(theirs, ours)
    thin = row(frame, "thin.width_9", "static", "f32")
    assert thin["knn_low"] == pytest.approx(-loss.high)
    assert thin["knn_high"] == pytest.approx(-loss.low)
    # The baseline is compared with nothing.
    assert math.isnan(row(frame, "vicreg", "dense", "f32")["knn_low"])
    frame = frontier(parameters(), baseline="vicreg", **three)
    of_seeds = []
    for seed in range(3):
        both = (
            three[f"{key}.seed_{seed}.answers"][f"{network}.f32.native.linear"].mean()  # type: ignore[index]
            for key, network in (("thin.width_9", "static"), ("vicreg", "dense"))
        )
        of_seeds.append(100 * (next(both) - next(both)))
    thin = row(frame, "thin.width_9", "static", "f32")
    expected = stats.t.interval(0.95, 2, np.mean(of_seeds), stats.sem(of_seeds))
    assert (thin["linear_low"], thin["linear_high"]) == pytest.approx(expected, abs=1e-4)
    assert thin["seeds"] == 3
    assert seed_interval([1.0, 1.0]) == (1.0, 1.0, 1.0)


def test_measurements_that_are_gathered_run_what_is_offered() -> None:
    found = collect_measurements(
        baseline="vicreg", **{k.split(".seed")[0]: v for k, v in left().items() if "inference" in k}
    )
    compared = found["dual.budget_30"].batches["2"]
    assert (compared.baseline, compared.chosen) == ("dense int8", "gated int8")
    assert compared.ratio == pytest.approx(2 / 1.5)
    assert found["vicreg"].batches["2"].baseline == "dense int8"
    assert found["thin.width_9"].batches["2"].baseline == "dense int8"


def test_without_labels_neighbours_are_compared() -> None:
    values = left()
    rng = np.random.default_rng(0)
    nearest = rng.integers(0, 1000, 200)
    for name in [name for name in values if name.endswith("answers")]:
        arrays: dict[str, np.ndarray] = values[name]  # type: ignore[assignment]
        forms = {key.rpartition(".")[0] for key in arrays}
        moved = {form: 10 * ("int8" in form) for form in forms}
        values[name] = {
            f"{form}.neighbours": np.r_[np.full(moved[form], -1), nearest[moved[form] :]]
            for form in forms
        }
    for name in [name for name in values if name.endswith("inference")]:
        measured: Measurement = values[name]  # type: ignore[assignment]
        bare = [
            Form(f.network, f.precision, f.engines, Accuracies(), f.judgement)
            for f in measured.forms
        ]
        values[name] = Measurement(**{**vars(measured), "forms": tuple(bare)})
    frame = frontier(parameters(), baseline="vicreg", **values)
    assert row(frame, "vicreg", "dense", "int8")["neighbours"] == 95
    # Another encoder is no worse for having other neighbours, and no better for having the same.
    others = frame[frame["model"] != "vicreg"]
    assert others["neighbours"].isna().all() and not others["on_front"].any()
    # int8 keeps 95 % of the neighbours, bf16 all.
    for within, precision in ((5.0, "int8"), (1.0, "bf16")):
        asked = parameters(within)
        found = deployment(asked, frontier(asked, baseline="vicreg", **values))
        assert (found.measure, found.model, found.precision) == ("neighbours", "vicreg", precision)
        assert "without labels encoders cannot be compared" in found.why


def test_the_section_tells_what_is_offered_and_why_not() -> None:
    frame = frontier(parameters(), baseline="vicreg", **left())
    chosen = deployment(parameters(), frame)
    [first] = frontier_sections(InferenceParameters(), frame, chosen, {})
    text = " ".join(first.paragraphs)
    assert "1 of 6 networks (1 in int8) lose more than 0.5 points" in text
    assert "2 of 6 networks (1 in bf16, 1 in int8) are not decided" in text
    (table,) = first.tables
    rows = {tuple(row[:2]): row for row in table.rows}
    assert len(rows) == len(DENSE) + len(DUAL) + len(THIN)
    assert rows["dual gating, 30 %, static", "int8"][-2:] == ["not decided", "not offered"]
    assert rows["VICReg (dense)", "int8"][-2:] == ["holds", "deploy"]
    assert "4.00\N{MULTIPLICATION SIGN}" in rows["VICReg (dense)", "int8"]
    page = rendered(Report("t", [], sections=[first]))
    # One figure a batch size, which says what each of its points is.
    assert page.count("<svg") == 1
    assert "<title>VICReg (dense), int8 on C++: 59.5 % linear top-1, 1 ms an image</title>" in page
    assert frontier_sections(InferenceParameters(), None, None, {}) == []


def test_a_precision_counts_as_the_worst_of_its_engines() -> None:
    """OpenVINO ran int8 fastest at another batch size, and loses: nobody is to run it."""
    values = left()
    measured: Measurement = values["vicreg.seed_0.inference"]  # type: ignore[assignment]
    (form,) = (f for f in measured.forms if f.precision == "int8")
    worse = Judgement("loses", {}, 1.0, 50)
    other = Form("dense", "int8", ("openvino",), Accuracies(0.5, linear_top1=(0.5,)), worse)
    forms = (*measured.forms, other)
    for order in (forms, forms[::-1]):
        values["vicreg.seed_0.inference"] = replace(measured, forms=order)
        frame = frontier(parameters(), baseline="vicreg", **values)
        assert not frame.loc[
            (frame["model"] == "vicreg") & (frame["precision"] == "int8"), "offered"
        ].any()
        thin = row(frame, "thin.width_9", "static", "int8")
        assert thin["ratio"] == pytest.approx(4 / 0.8)  # bf16 of the dense network is next
        metrics = inference_metrics({"vicreg": replace(measured, forms=order)})
        assert metrics["vicreg.inference.dense_int8.knn_top1"] == 0.5
        assert metrics["vicreg.inference.dense_int8.offered"] == 0
    assert form.accuracies.knn_top1 != 0.5


def test_what_a_machine_cannot_time_is_told_with_the_reason() -> None:
    frame = frontier(parameters(), baseline="vicreg", **left())
    frame = frame[frame["precision"] == "f32"]
    chosen = deployment(parameters(), frame)
    asked = frontier_sections(InferenceParameters(), frame, chosen, {"int8": "no VNNI here"})
    text = " ".join(asked[0].paragraphs)
    assert "int8 was not timed: no VNNI here." in text and "--tags frontier measures" not in text


def test_the_dense_network_is_as_fast_in_every_model() -> None:
    """Other work slowed one race of one model: what was in turns with it is not moved as far."""
    values = left()
    measured: Measurement = values["thin.width_9.seed_0.inference"]  # type: ignore[assignment]
    compared = measured.batches["2"]
    slow = {**compared.networks, "dense": replace(compared.networks["dense"], ms=8 * 2 * 1.5)}
    values["thin.width_9.seed_0.inference"] = replace(
        measured, batches={"2": replace(compared, networks=slow).offering(slow)}
    )
    frame = frontier(parameters(), baseline="vicreg", **values)
    for precision, ms in (("f32", 8), ("int8", 2)):
        for model in ("vicreg", "dual.budget_30"):
            assert row(frame, model, "dense", precision)["ms_per_image"] == pytest.approx(ms / 2)
    # Of three dense networks one was slow: the third root of 1.5 is left.
    thin = row(frame, "thin.width_9", "static", "int8")
    assert thin["ms_per_image"] == pytest.approx(0.8 / 2 / 1.5 ** (1 / 3))
