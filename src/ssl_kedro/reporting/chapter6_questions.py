"""The thesis' open questions, as ablations against dual gating, paired by seed.

Every question's frame has one row a budget and model, in percent and percentage points: a measure,
``<measure>_std`` over seeds, ``<measure>_against_dual``, ``<measure>_against_dual_std`` and
``<measure>_against_dual_n``, the number of seeds that both have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssl_kedro.reporting.chapter6_results import (
    PairedDifference,
    by_seed,
    difference_over_seeds,
    mean_and_std,
    paired_difference,
)

# Measure -> metric and branch of the runs.
_ACCURACIES = {
    "dense_linear": ("linear_top1", "dense"),
    "dense_knn": ("knn_top1", "dense"),
    "gated_linear": ("linear_top1", "gated"),
    "gated_knn": ("knn_top1", "gated"),
}
_GATED = {name: where for name, where in _ACCURACIES.items() if name.startswith("gated")}
_REDUCTION = {"flop_reduction": ("flop_reduction", "gated")}
_CHANNELS = {"always_off": ("always_off", "gated"), "dependent": ("dependent", "gated")}


def question_1(runs: pd.DataFrame) -> pd.DataFrame:
    """Does the dense branch lose nothing when two dense views are compared as well?

    Args:
        runs: of vicreg, dual and dense_anchored; fractions.

    Returns:
        The measures dense_linear, dense_knn, gated_linear and gated_knn, each also
        ``_against_vicreg`` (dense VICReg of the same seed) with ``_std`` and ``_n``, and
        training_seconds_ratio to dual gating of the same seed.
    """
    frame = _comparison(runs, ("dual", "dense_anchored"), _ACCURACIES)
    for name, (metric, branch) in _ACCURACIES.items():
        differences = [
            paired_difference(runs, model, "vicreg", metric, branch, int(budget), "dense")
            for model, budget in _model_and_budget(frame)
        ]
        frame = frame.assign(**_difference_columns(f"{name}_against_vicreg", differences))
    ratios = [_seconds_ratio(runs, *pair) for pair in _model_and_budget(frame)]
    return frame.assign(training_seconds_ratio=ratios)


def question_2(runs: pd.DataFrame) -> pd.DataFrame:
    """Does a channel-diversity term wake dead channels, and at what price?

    Args:
        runs: of dual and channel_diversity; fractions.

    Returns:
        The measures always_off and dependent (shares of all inner channels), gated_linear,
        gated_knn and flop_reduction.
    """
    return _comparison(runs, ("dual", "channel_diversity"), _CHANNELS | _GATED | _REDUCTION)


def question_3(runs: pd.DataFrame) -> pd.DataFrame:
    """Do non-symmetric methods work in the dual setting?

    Args:
        runs: of dual and any of simsiam_dual and byol_dual; fractions.

    Returns:
        The measures dense_linear, dense_knn, gated_linear, gated_knn and flop_reduction.
    """
    return _comparison(runs, ("dual", "simsiam_dual", "byol_dual"), _ACCURACIES | _REDUCTION)


def question_4(runs: pd.DataFrame) -> pd.DataFrame:
    """Does dual ascent meet the budget, and what does a FLOP buy then?

    Args:
        runs: of dual (fixed penalty) and dual_ascent; fractions.

    Returns:
        The measures realised_cost (share of the dense cost), distance (from the budget, in
        points, unsigned; also distance_max over seeds), gated_linear and gated_knn; and for
        dual_ascent gated_linear_at_equal_cost, the difference to the fixed penalty's
        accuracy interpolated at each seed's own realised cost, with ``_std`` and ``_n``.
    """
    with_costs = _with_costs(runs)
    measures = {name: (name, "gated") for name in ("realised_cost", "distance")} | _GATED
    frame = _comparison(with_costs, ("dual", "dual_ascent"), measures)
    pairs = _model_and_budget(frame)
    frame["distance_max"] = [
        100 * max(by_seed(with_costs, model, "distance", "gated", budget).values())
        for model, budget in pairs
    ]
    differences = [_at_equal_cost(with_costs, model, budget) for model, budget in pairs]
    return frame.assign(**_difference_columns("gated_linear_at_equal_cost", differences))


def accuracy_at_cost(
    runs: pd.DataFrame, model: str, cost: float, metric: str = "linear_top1"
) -> dict[int, float]:
    """Accuracy that a model would have at a cost: linear between its own budgets.

    Args:
        runs: one row a model, budget, seed and branch; fractions.
        model: whose gated branch is meant.
        cost: share of the dense cost.
        metric: column of the runs.

    Returns:
        By seed; NaN where the cost lies outside what the seed's models realised.
    """
    rows = runs[(runs["model"] == model) & (runs["branch"] == "gated")]
    found = {}
    for seed, of_seed in rows.groupby("seed"):
        points = sorted(zip(1 - of_seed["flop_reduction"], of_seed[metric], strict=True))
        costs, values = [point[0] for point in points], [point[1] for point in points]
        value = np.interp(cost, costs, values, left=math.nan, right=math.nan)
        found[int(str(seed))] = float(value)
    return found


def _at_equal_cost(runs: pd.DataFrame, model: str, budget: int) -> PairedDifference:
    """Gated linear accuracy less the fixed penalty's at the same realised cost, by seed."""
    if model == "dual":
        return PairedDifference(math.nan, math.nan, 0)
    costs = by_seed(runs, model, "realised_cost", "gated", budget)
    fixed = {
        seed: accuracy_at_cost(runs, "dual", cost).get(seed, math.nan)
        for seed, cost in costs.items()
    }
    return difference_over_seeds(by_seed(runs, model, "linear_top1", "gated", budget), fixed)


def _with_costs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with realised_cost and its distance from the budget, both as fractions."""
    cost = 1 - runs["flop_reduction"]
    budget = runs["budget_percent"].astype("Float64").to_numpy(float, na_value=math.nan) / 100
    return runs.assign(realised_cost=cost, distance=(cost - budget).abs())


def _seconds_ratio(runs: pd.DataFrame, model: str, budget: int) -> float:
    """Mean over seeds of the training time, relative to dual gating's of the same seed."""
    ours = by_seed(runs, model, "training_seconds", "gated", budget)
    dual = by_seed(runs, "dual", "training_seconds", "gated", budget)
    return mean_and_std([ours[seed] / dual[seed] for seed in ours.keys() & dual.keys()])[0]


def _comparison(
    runs: pd.DataFrame, models: Sequence[str], measures: Mapping[str, tuple[str, str]]
) -> pd.DataFrame:
    """One row a budget and model with every measure, and its difference to dual gating."""
    present = set(zip(runs["model"], runs["budget_percent"].fillna(-1), strict=True))
    budgets = sorted({int(budget) for _, budget in present if budget >= 0})
    rows: list[dict[str, Any]] = []
    for budget in budgets:
        for model in models:
            if (model, budget) not in present:
                continue
            seeds = len(by_seed(runs, model, "training_seconds", "gated", budget))
            row = {"budget_percent": budget, "model": model, "seeds": seeds}
            for name, (metric, branch) in measures.items():
                values = by_seed(runs, model, metric, branch, budget)
                mean, std = mean_and_std(list(values.values()))
                against = PairedDifference(math.nan, math.nan, 0)
                if model != "dual":
                    against = paired_difference(runs, model, "dual", metric, branch, budget)
                row |= {name: 100 * mean, f"{name}_std": 100 * std}
                columns = _difference_columns(f"{name}_against_dual", [against])
                row |= {column: value[0] for column, value in columns.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def _model_and_budget(frame: pd.DataFrame) -> list[tuple[str, int]]:
    return [
        (str(model), int(budget))
        for model, budget in zip(frame["model"], frame["budget_percent"], strict=True)
    ]


def _difference_columns(
    name: str, differences: Sequence[PairedDifference]
) -> dict[str, list[float]]:
    """Columns of differences in percentage points."""
    return {
        name: [100 * difference.mean for difference in differences],
        f"{name}_std": [100 * difference.std for difference in differences],
        f"{name}_n": [difference.n for difference in differences],
    }
