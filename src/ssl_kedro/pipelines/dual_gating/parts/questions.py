"""The thesis' open questions, as ablations against dual gating, paired by seed.

Every table has one row a budget and model, in percent and percentage points: a measure,
``<measure>_std`` over seeds, ``<measure>_against_dual``, ``<measure>_against_dual_std`` and
``<measure>_against_dual_n``, the number of seeds that both have.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd

from ssl_kedro.pipelines.dual_gating.part import (
    BUDGET,
    LESS_DUAL,
    MODEL,
    SEEDS,
    Claim,
    Measure,
    Part,
)
from ssl_kedro.pipelines.dual_gating.row import Row, each_model
from ssl_kedro.pipelines.gated.variants import FAMILIES
from ssl_kedro.reporting.differences import (
    UNKNOWN,
    PairedDifference,
    mean_and_std,
    paired,
    paired_difference,
)
from ssl_kedro.reporting.number_format import DASH
from ssl_kedro.reporting.table import Column

_LESS_VICREG, _AT_EQUAL_COST = "Less dense VICReg", "Less dual gating at the same cost"


_DENSE, _GATED = "Dense branch", "Gated branch"
_DENSE_LINEAR = Measure("dense_linear", "linear_top1", "dense", _DENSE, "Linear", "Dense, linear")
_DENSE_KNN = Measure("dense_knn", "knn_top1", "dense", _DENSE, "1-NN", "Dense, 1-NN")
_GATED_LINEAR = Measure("gated_linear", "linear_top1", "gated", _GATED, "Linear", "Gated, linear")
_GATED_KNN = Measure("gated_knn", "knn_top1", "gated", _GATED, "1-NN", "Gated, 1-NN")
_ACCURACIES = (_DENSE_LINEAR, _DENSE_KNN, _GATED_LINEAR, _GATED_KNN)
_FLOPS = "FLOP reduction"
_REDUCTION = Measure("flop_reduction", "flop_reduction", "gated", _GATED, _FLOPS, _FLOPS)
_OFF, _DEPENDENT = "Always off", "Dependent"
_CHANNELS = (
    Measure("always_off", "always_off", "gated", "Channels", _OFF, _OFF, lower_is_better=True),
    Measure("dependent", "dependent", "gated", "Channels", _DEPENDENT, _DEPENDENT),
)
_FROM_BUDGET = "Distance from budget"
_COSTS = (
    Measure("realised_cost", "realised_cost", "gated", "Realised cost", "Mean"),
    Measure(
        "distance", "distance", "gated", _FROM_BUDGET, "Mean", "Distance", lower_is_better=True
    ),
)


def _columns(*measures: Measure) -> tuple[Column[Row], ...]:
    return (
        replace(BUDGET, dtype=""),
        MODEL,
        SEEDS,
        *chain.from_iterable(measure.columns for measure in measures),
    )


def _against_vicreg(measure: Measure) -> tuple[Column[Row], ...]:
    """Difference to dense VICReg of the same seed."""
    return paired(
        f"{measure.name}_against_vicreg",
        lambda row: row.less("vicreg", measure.metric, measure.branch, "dense"),
        measure.compared,
        _LESS_VICREG,
    )


def _seconds_ratio(row: Row) -> float:
    """Mean over seeds of the training time, relative to dual gating's of the same seed."""
    ours, dual = row.by_seed("training_seconds"), row.by_seed("training_seconds", model="dual")
    return mean_and_std(ours[seed] / dual[seed] for seed in ours.keys() & dual.keys())[0]


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


def _at_equal_cost(row: Row) -> PairedDifference:
    """Gated linear accuracy less the fixed penalty's at the cost that each seed realised."""
    if row.model == "dual":
        return UNKNOWN
    fixed = {
        seed: accuracy_at_cost(row.runs, "dual", cost).get(seed, math.nan)
        for seed, cost in row.by_seed("realised_cost").items()
    }
    return paired_difference(row.by_seed("linear_top1"), fixed)


def _with_costs(row: Row) -> Iterator[Row]:
    """Rows whose runs have realised_cost and its distance from the budget, both as fractions."""
    cost = 1 - row.runs["flop_reduction"]
    percents = row.runs["budget_percent"].astype("Float64").to_numpy(float, na_value=math.nan)
    runs = row.runs.assign(realised_cost=cost, distance=(cost - percents / 100).abs())
    yield from each_model(replace(row, runs=runs), ("dual", "dual_ascent"))


PARTS = (
    Part(
        "question_1",
        ("vicreg", "dual", "dense_anchored"),
        "Open question: a dense branch that loses nothing",
        (
            *_columns(*_ACCURACIES),
            *chain.from_iterable(_against_vicreg(measure) for measure in _ACCURACIES),
            Column("training_seconds_ratio", _seconds_ratio, "Time / dual gating", "Training"),
        ),
        groups=("", _DENSE, _GATED, "Training"),
        compared=("", _LESS_VICREG, LESS_DUAL),
        rows=lambda row: each_model(row, ("dual", "dense_anchored")),
        note="Training time is relative to dual gating of the same budget and seed.",
        judged_by="by linear accuracy of the dense branch, ",
        claims=(
            Claim(
                "the anchor against plain dual gating",
                "dense_anchored",
                "dense_linear_against_dual",
            ),
            Claim(
                "against VICReg trained on its own, the anchored dense branch",
                "dense_anchored",
                "dense_linear_against_vicreg",
                "differs",
            ),
        ),
        costs=False,
    ),
    Part(
        "question_2",
        ("dual", "channel_diversity"),
        "Open question: channel diversity",
        _columns(*_CHANNELS, _GATED_LINEAR, _GATED_KNN, _REDUCTION),
        groups=("", "Channels", _GATED),
        compared=("", LESS_DUAL),
        note="Channels: shares of all inner channels over the evaluation images.",
        judged_by="by the share of channels that are always off, ",
        claims=(
            Claim(
                "the diversity term",
                "channel_diversity",
                "always_off_against_dual",
                "helps if lower",
            ),
            Claim(
                "gated linear accuracy", "channel_diversity", "gated_linear_against_dual", "differs"
            ),
        ),
    ),
    Part(
        "question_3",
        ("dual", "simsiam_dual", "byol_dual"),
        "Open question: non-symmetric methods",
        _columns(*_ACCURACIES, _REDUCTION),
        groups=("", _DENSE, _GATED),
        compared=("", LESS_DUAL),
        judged_by="by gated linear accuracy against dual gating with VICReg: ",
        claims=(
            Claim("SimSiam dual", "simsiam_dual", "gated_linear_against_dual"),
            Claim("BYOL dual", "byol_dual", "gated_linear_against_dual"),
        ),
    ),
    Part(
        "question_4",
        ("dual", "dual_ascent"),
        "Open question: a budget that is met",
        (
            *_columns(*_COSTS, _GATED_LINEAR, _GATED_KNN),
            Column(
                "distance_max",
                lambda row: 100 * max(row.by_seed("distance").values()),
                "Largest",
                _FROM_BUDGET,
            ),
            *paired("gated_linear_at_equal_cost", _at_equal_cost, "Linear", _AT_EQUAL_COST),
        ),
        groups=("", "Realised cost", _FROM_BUDGET, _GATED),
        compared=("", LESS_DUAL, _AT_EQUAL_COST),
        rows=_with_costs,
        note=(
            "Cost: mean gated MACs, share of the dense encoder's. At the same cost: less the "
            "accuracy of the fixed penalty, interpolated between its budgets at the cost that each "
            f"seed realised; a {DASH} where that lies outside them."
        ),
        judged_by="by the distance between realised cost and budget, ",
        claims=(
            Claim("dual ascent", "dual_ascent", "distance_against_dual", "helps if lower"),
            Claim(
                "at equal realised cost its gated linear accuracy",
                "dual_ascent",
                "gated_linear_at_equal_cost",
                "differs",
            ),
        ),
    ),
    Part(
        "question_5",
        ("dual", *(f"{family}_dual" for family in FAMILIES)),
        "Open question: further methods in the dual setting",
        _columns(*_ACCURACIES, _REDUCTION),
        groups=("", _DENSE, _GATED),
        compared=("", LESS_DUAL),
        judged_by="by gated linear accuracy against dual gating with VICReg: ",
        claims=tuple(
            Claim(f"{title} dual", f"{family}_dual", "gated_linear_against_dual", "differs")
            for family, title in FAMILIES.items()
        ),
    ),
    Part(
        "question_6",
        ("dual", "rotnet_dual"),
        "Open question: RotNet as a proxy loss of the dense branch",
        _columns(*_ACCURACIES, _REDUCTION),
        groups=("", _DENSE, _GATED),
        compared=("", LESS_DUAL),
        judged_by="by linear accuracy of the dense branch, ",
        claims=(Claim("RotNet", "rotnet_dual", "dense_linear_against_dual"),),
    ),
)
