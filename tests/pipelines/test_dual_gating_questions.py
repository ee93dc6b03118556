from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pandas as pd
import pytest

from pipelines.run_rows import NAN, Row, frame, random_rows, run_row, values_by_seed
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.parts.questions import accuracy_at_cost
from ssl_kedro.pipelines.dual_gating.report.part_sections import verdict as sentence
from ssl_kedro.pipelines.dual_gating.row import Row as Common

SPACE = "\N{NO-BREAK SPACE}"


def question(number: int, runs: pd.DataFrame) -> pd.DataFrame:
    return parts()[f"question_{number}"].table(Common(runs))


def verdict_of(number: int, runs: pd.DataFrame) -> str:
    return sentence(parts()[f"question_{number}"], question(number, runs))


def row_of(table: pd.DataFrame, model: str, budget: int) -> pd.Series:
    found = table[(table["model"] == model) & (table["budget_percent"] == budget)]
    assert len(found) == 1
    return found.iloc[0]


def paired(
    rows: list[Row], ours: tuple[str, str, int], theirs: tuple[str, str, int | None], metric: str
) -> list[float]:
    """Differences in points, seed by seed, by plain search."""
    a, b = values_by_seed(rows, *ours, metric), values_by_seed(rows, *theirs, metric)
    return [100 * (a[seed] - b[seed]) for seed in sorted(a) if seed in b]


def test_question_1_compares_every_branch_with_dense_vicreg_and_with_dual() -> None:
    rows = random_rows(["vicreg", "dual", "dense_anchored", "simreg"], [10, 30], [0, 1, 2])
    table = question(1, frame(rows))
    assert len(table) == 4
    for model in ("dual", "dense_anchored"):
        for name, branch, metric in (
            ("dense_linear", "dense", "linear_top1"),
            ("dense_knn", "dense", "knn_top1"),
            ("gated_linear", "gated", "linear_top1"),
            ("gated_knn", "gated", "knn_top1"),
        ):
            row = row_of(table, model, 10)
            values = [100 * v for v in values_by_seed(rows, model, branch, 10, metric).values()]
            assert row[name] == pytest.approx(statistics.mean(values))
            assert row[f"{name}_std"] == pytest.approx(statistics.stdev(values))
            less = paired(rows, (model, branch, 10), ("vicreg", "dense", None), metric)
            assert row[f"{name}_against_vicreg"] == pytest.approx(statistics.mean(less))
            assert row[f"{name}_against_vicreg_std"] == pytest.approx(statistics.stdev(less))
            assert row[f"{name}_against_vicreg_n"] == 3
    anchored = row_of(table, "dense_anchored", 30)
    less = paired(rows, ("dense_anchored", "dense", 30), ("dual", "dense", 30), "linear_top1")
    assert anchored["dense_linear_against_dual"] == pytest.approx(statistics.mean(less))
    seconds = [
        values_by_seed(rows, model, "gated", 30, "training_seconds")
        for model in ("dense_anchored", "dual")
    ]
    ratios = [seconds[0][seed] / seconds[1][seed] for seed in (0, 1, 2)]
    assert anchored["training_seconds_ratio"] == pytest.approx(statistics.mean(ratios))
    assert row_of(table, "dual", 30)["training_seconds_ratio"] == pytest.approx(1)


def test_question_2_compares_channels_and_accuracy() -> None:
    rows = random_rows(["dual", "channel_diversity"], [30], [0, 1])
    row = row_of(question(2, frame(rows)), "channel_diversity", 30)
    for name, metric in (
        ("always_off", "always_off"),
        ("dependent", "dependent"),
        ("gated_linear", "linear_top1"),
        ("gated_knn", "knn_top1"),
        ("flop_reduction", "flop_reduction"),
    ):
        less = paired(rows, ("channel_diversity", "gated", 30), ("dual", "gated", 30), metric)
        assert row[f"{name}_against_dual"] == pytest.approx(statistics.mean(less))
        assert row[f"{name}_against_dual_std"] == pytest.approx(statistics.stdev(less))
    assert row["always_off_against_dual_n"] == 2


def test_question_3_shows_the_methods_that_were_run() -> None:
    rows = random_rows(["dual", "simsiam_dual"], [10, 50], [0, 1])
    table = question(3, frame(rows))
    assert list(zip(table["budget_percent"], table["model"], strict=True)) == [
        (10, "dual"),
        (10, "simsiam_dual"),
        (50, "dual"),
        (50, "simsiam_dual"),
    ]
    less = paired(rows, ("simsiam_dual", "dense", 50), ("dual", "dense", 50), "knn_top1")
    row = row_of(table, "simsiam_dual", 50)
    assert row["dense_knn_against_dual"] == pytest.approx(statistics.mean(less))


def costs(model: str, points: Sequence[tuple[int, float, float]], seed: int = 0) -> list[Row]:
    """Gated rows (budget in percent, realised cost, linear accuracy)."""
    return [
        run_row(model, budget, seed, "gated", flop_reduction=1 - cost, linear_top1=accuracy)
        for budget, cost, accuracy in points
    ]


def test_accuracy_at_a_cost_lies_on_the_line_between_budgets() -> None:
    rows = costs("dual", [(50, 0.6, 0.9), (10, 0.2, 0.5), (30, 0.4, 0.8)])
    rows += costs("dual", [(10, 0.1, 0.5), (50, 0.5, 0.7)], seed=1)
    runs = frame(rows)
    assert accuracy_at_cost(runs, "dual", 0.25) == pytest.approx({0: 0.575, 1: 0.575})
    assert accuracy_at_cost(runs, "dual", 0.4) == pytest.approx({0: 0.8, 1: 0.65})
    outside = accuracy_at_cost(runs, "dual", 0.15)
    assert math.isnan(outside[0])
    assert outside[1] == pytest.approx(0.525)


def test_question_4_by_hand() -> None:
    rows, found = [], {0: (0.31, 0.76), 1: (0.28, 0.80)}
    for seed, (cost, accuracy) in found.items():
        rows += costs("dual", [(10, 0.2, 0.6), (30, 0.4, 0.8)], seed)
        rows += costs("dual_ascent", [(10, 0.1, 0.5), (30, cost, accuracy)], seed)
    table = question(4, frame(rows))
    fixed, ascent = row_of(table, "dual", 30), row_of(table, "dual_ascent", 30)
    assert fixed["realised_cost"] == pytest.approx(40)
    assert fixed["distance"] == pytest.approx(10)
    assert ascent["realised_cost"] == pytest.approx(29.5)
    assert ascent["distance"] == pytest.approx(1.5)  # 1 above and 2 below
    assert ascent["distance_max"] == pytest.approx(2)
    assert ascent["distance_against_dual"] == pytest.approx(-8.5)
    # The fixed penalty's line gives .71 at a cost of .31 and .68 at .28.
    assert ascent["gated_linear_at_equal_cost"] == pytest.approx((5 + 12) / 2)
    assert ascent["gated_linear_at_equal_cost_n"] == 2
    # A cost of .1 lies below all that the fixed penalty realised.
    cheap = row_of(table, "dual_ascent", 10)
    assert math.isnan(cheap["gated_linear_at_equal_cost"])
    assert cheap["gated_linear_at_equal_cost_n"] == 0


def anchored(differences: Sequence[float], budget: int = 30) -> list[Row]:
    """Dual gating and the dense anchor with given differences in dense linear accuracy."""
    rows = []
    for seed, difference in enumerate(differences):
        rows.append(run_row("vicreg", None, seed, "dense", linear_top1=0.6))
        for branch in ("dense", "gated"):
            rows.append(run_row("dual", budget, seed, branch))
            value = 0.5 + difference / 100
            rows.append(run_row("dense_anchored", budget, seed, branch, linear_top1=value))
    return rows


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([2, 3, 4], f"helps at 30{SPACE}% (+3.00 ± 1.00 points)"),
        ([-2, -3, -4], f"does not help at 30{SPACE}% (\N{MINUS SIGN}3.00 ± 1.00 points)"),
        ([-2, 1, 4], f"is not shown to help at 30{SPACE}% (+1.00 ± 3.00 points)"),
        ([2, 3], f"is not shown to help at 30{SPACE}% (+2.50 ± 0.71 points)"),
        ([2], f"is not shown to help at 30{SPACE}% (+2.00 points)"),
    ],
)
def test_a_verdict_follows_mean_deviation_and_seeds(differences: list[float], said: str) -> None:
    verdict = verdict_of(1, frame(anchored(differences)))
    seeds = "1 seed" if len(differences) == 1 else f"{len(differences)} seeds"
    assert verdict.startswith(f"Over {seeds}, ")
    assert f"the anchor against plain dual gating {said};" in verdict


def test_verdict_1_also_says_what_is_left_to_the_baseline() -> None:
    verdict = verdict_of(1, frame(anchored([2, 3, 4])))
    left = f"is lower at 30{SPACE}% (\N{MINUS SIGN}7.00 ± 1.00 points)."
    assert verdict.endswith(left)


def test_a_verdict_judges_every_budget_on_its_own() -> None:
    rows = [row for row in anchored([2, 3, 4], 10) if row["model"] != "vicreg"]
    rows += anchored([-2, -3, -4], 30)
    verdict = verdict_of(1, frame(rows))
    assert f"helps at 10{SPACE}%" in verdict
    assert f"does not help at 30{SPACE}%" in verdict


@pytest.mark.parametrize(("off", "said"), [(0.1, "helps"), (0.5, "does not help")])
def test_fewer_dead_channels_are_a_help(off: float, said: str) -> None:
    rows = []
    for seed in range(3):
        rows.append(run_row("dual", 30, seed, "gated", always_off=0.3))
        values = {"always_off": off + seed / 100, "linear_top1": 0.5 - 0.01 * (seed + 1)}
        rows.append(run_row("channel_diversity", 30, seed, "gated", **values))
    verdict = verdict_of(2, frame(rows))
    assert f"the diversity term {said} at" in verdict
    lower = f"gated linear accuracy is lower at 30{SPACE}% (\N{MINUS SIGN}2.00 ± 1.00 points)."
    assert verdict.endswith(lower)


def test_verdict_3_names_each_method() -> None:
    rows = []
    for seed in range(3):
        rows.append(run_row("dual", 30, seed, "gated"))
        worse = 0.3 + 0.01 * seed
        rows.append(run_row("simsiam_dual", 30, seed, "gated", linear_top1=worse))
    verdict = verdict_of(3, frame(rows))
    said = f"SimSiam dual does not help at 30{SPACE}% (\N{MINUS SIGN}19.00 ± 1.00 points)."
    assert verdict.endswith(said)


def test_verdict_4_calls_a_smaller_distance_a_help_and_counts_the_seeds_in_range() -> None:
    rows = []
    for seed in range(3):
        rows += costs("dual", [(10, 0.2, 0.6), (30, 0.4, 0.8)], seed)
        # The first seed's cost lies below what the fixed penalty realised.
        cost = 0.15 if seed == 0 else 0.3
        rows += costs("dual_ascent", [(10, 0.1 + seed / 1000, 0.5), (30, cost, 0.8)], seed)
    verdict = verdict_of(4, frame(rows))
    assert f"dual ascent helps at 10{SPACE}% (\N{MINUS SIGN}9.90 ± 0.10 points)" in verdict
    assert f"accuracy was not measured at 10{SPACE}%" in verdict
    assert f"is not shown to differ at 30{SPACE}% (+10.00 ± 0.00 points, 2 seeds)." in verdict


def test_without_labels_a_verdict_says_that_nothing_was_measured() -> None:
    rows = [row | {"linear_top1": NAN} for row in anchored([1, 2, 3])]
    verdict = verdict_of(1, frame(rows))
    assert verdict.count(f"was not measured at 30{SPACE}%") == 2
    assert "nan" not in verdict
