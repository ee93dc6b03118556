"""Points of the front from measurements made by hand."""

from __future__ import annotations

import math
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
    models = {"vicreg": (DENSE, DENSE, 1), "dual.budget_30": (DUAL, DUAL, 1)}
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
    # Of the baseline int8 holds; dual gating's own dense network loses in it, and bf16 is missing.
    assert row(frame, "vicreg", "dense", "f32")["ratio"] == pytest.approx(2 / 8)
    assert row(frame, "dual.budget_30", "gated", "f32")["ratio"] == pytest.approx(8 / 3)
    assert row(frame, "dual.budget_30", "gated", "int8")["ratio"] == pytest.approx(8 / 1.5)
    # A thin network has no dense one of its own: the baseline says what holds.
    thin = row(frame, "thin.width_9", "static", "int8")
    assert thin["ratio"] == pytest.approx(2 / 0.8)
    assert thin["f32_ratio"] == pytest.approx(8 / 0.8)
    # As if all had run at once: half of what it took on the busy machine.
    assert thin["ms_per_image"] == pytest.approx(0.8 / 2)
    slower = row(frame, "thin.width_9", "static", "int8", "openvino")
    assert slower["ms_per_image"] == pytest.approx(1.5 * 0.8 / 2)
    assert not slower["fastest"] and math.isnan(slower["ratio"])
    assert len(frame) == 2 * (len(DENSE) + len(DUAL) + len(THIN))


def test_what_loses_or_is_not_decided_in_int8_is_not_on_the_front() -> None:
    frame = frontier(parameters(), baseline="vicreg", **left())
    offered = {
        (of["model"], of["network"], of["precision"])
        for of in frame[frame["offered"]].to_dict("records")
    }
    assert ("vicreg", "dense", "bf16") in offered  # not decided: bf16 is kept
    assert ("dual.budget_30", "static", "int8") not in offered  # not decided: int8 is not
    assert ("dual.budget_30", "dense", "int8") not in offered
    points = frame[frame["offered"]]
    for one in frame.to_dict("records"):
        no_worse = (points["ms_per_image"] <= one["ms_per_image"]) & (
            points["linear"] >= one["linear"]
        )
        better = (points["ms_per_image"] < one["ms_per_image"]) | (points["linear"] > one["linear"])
        assert one["on_front"] == (one["offered"] and not (no_worse & better).any())


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
    assert (compared.baseline, compared.chosen) == ("dense", "gated int8")
    assert compared.ratio == pytest.approx(8 / 1.5)
    assert found["vicreg"].batches["2"].baseline == "dense int8"
    assert found["thin.width_9"].batches["2"].baseline == "dense int8"


def test_without_labels_neighbours_are_compared() -> None:
    values = left()
    rng = np.random.default_rng(0)
    nearest = rng.integers(0, 1000, 200)
    for name in [name for name in values if name.endswith("answers")]:
        arrays: dict[str, np.ndarray] = values[name]  # type: ignore[assignment]
        moved = {"vicreg": 0, "dual.budget_30": 20, "thin.width_9": 50}[name.split(".seed")[0]]
        found = np.r_[np.full(moved, -1), nearest[moved:]]
        forms = {key.rpartition(".")[0] for key in arrays}
        values[name] = {f"{form}.neighbours": found for form in forms}
    for name in [name for name in values if name.endswith("inference")]:
        measured: Measurement = values[name]  # type: ignore[assignment]
        bare = [
            Form(f.network, f.precision, f.engines, Accuracies(), f.judgement)
            for f in measured.forms
        ]
        values[name] = Measurement(**{**vars(measured), "forms": tuple(bare)})
    frame = frontier(parameters(), baseline="vicreg", **values)
    assert row(frame, "dual.budget_30", "gated", "f32")["neighbours"] == 90
    assert row(frame, "thin.width_9", "static", "int8")["neighbours"] == 75
    found = deployment(parameters(), frame)
    assert (found.measure, found.model, found.precision) == ("neighbours", "vicreg", "int8")


def test_the_section_tells_what_is_offered_and_why_not() -> None:
    frame = frontier(parameters(), baseline="vicreg", **left())
    chosen = deployment(parameters(), frame)
    first, second = frontier_sections(InferenceParameters(), frame, chosen)
    text = " ".join(first.paragraphs)
    assert "1 of 6 networks (1 in int8) lose more than 0.5 points" in text
    assert "2 of 6 networks (1 in bf16, 1 in int8) are not decided" in text
    (table,) = second.tables
    rows = {tuple(row[:2]): row for row in table.rows}
    assert len(rows) == len(DENSE) + len(DUAL) + len(THIN)
    assert rows["dual gating, 30 %, static", "int8"][-2:] == ["not decided", "not offered"]
    assert rows["VICReg (dense)", "int8"][-2:] == ["holds", "deploy"]
    assert "4.00\N{MULTIPLICATION SIGN}" in rows["VICReg (dense)", "int8"]
    page = rendered(Report("t", "l", sections=[first, second]))
    assert page.count("<svg") == 0 and "data:image/svg+xml" in page
    assert frontier_sections(InferenceParameters(), None, None) == []
