"""Gates that should decide alike for both views of an image, beside those that need not."""

import math
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.gated.records import Evaluation, TrainingRecord
from ssl_kedro.pipelines.gated.rows import BUDGET, MODEL, ModelRow, each_model
from ssl_kedro.pipelines.gated.variants import budget_percent, name_of
from ssl_kedro.reporting.differences import PairedDifference, paired
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.table import RUN, Column, computed, shown

CONSISTENCY = "consistency"
FREE, CONSISTENT = "simsiam_gating", "simsiam_gating_consistent"
_LESS = "Less free gates"
_MEASURES = {
    "knn_top1": ("knn", "1-NN"),
    "flop_reduction": ("reduction", "FLOP reduction"),
    "agreement": ("agreement", "Decided alike"),
}


def _less(metric: str) -> tuple[Column[ModelRow], ...]:
    """Difference to gates without the constraint."""
    name, heading = _MEASURES[metric]

    def difference(row: ModelRow) -> PairedDifference:
        return row.less(FREE, metric)

    return paired(f"{name}_against_free", difference, heading, _LESS, counted=False)


def _measured(metric: str) -> tuple[Column[ModelRow], ...]:
    """Mean and deviation over seeds."""
    return (
        Column(metric, lambda row: row.mean(metric), _MEASURES[metric][1], RUN),
        Column(f"{metric}_std", lambda row: row.std(metric)),
    )


COLUMNS: tuple[Column[ModelRow], ...] = (
    BUDGET,
    MODEL,
    *(column for metric in _MEASURES for column in _measured(metric)),
    *(column for metric in _MEASURES for column in _less(metric)),
    Column("seeds", lambda row: len(row.by_seed("flop_reduction"))),
)


def consistency(**found: Evaluation | TrainingRecord) -> pd.DataFrame:
    """One row a budget and model, over seeds; percent and percentage points.

    Args:
        found: evaluation and training of each model, by its name in the metrics, its seed and what
            it is: "simsiam_gating.budget_30.seed_0.evaluation".
    """
    runs: dict[str, dict[str, Any]] = {}
    for name, one in found.items():
        run = name.rpartition(".")[0]
        key, _, seed = run.rpartition(".seed_")
        row = runs.setdefault(run, {"model": name_of(key), "seed": int(seed), "branch": "gated"})
        if isinstance(one, TrainingRecord):
            # Trainings of earlier versions know it only where it was trained for.
            row["agreement"] = one.history[-1].get("gate_agreement", math.nan)
        else:
            nearest, reduction = one.branches["gated"].knn_top1, one.macs.flop_reduction
            row["knn_top1"] = math.nan if nearest is None else nearest
            row["flop_reduction"] = math.nan if reduction is None else reduction
            row["budget_percent"] = budget_percent(key)
    frame = pd.DataFrame(list(runs.values()))
    return computed(COLUMNS, each_model(ModelRow(frame), (FREE, CONSISTENT)))


def consistency_section(table: pd.DataFrame | None) -> list[Section]:
    """The table with what it shows; nothing where it was not made."""
    if table is None:
        return []
    groups = {group: group for group in ("", RUN, _LESS)}
    seeds = int(table["seeds"].max())
    over = f"Mean ± standard deviation over {seeds} seeds" if seeds > 1 else "One seed"
    caption = (
        f"{over}; 1-NN, FLOPs (MACs) reductions and shares in percent, differences in percentage "
        "points. Decided alike: gates with the same decision for both views of an image of the "
        "training, without the noise of the training; mean over blocks and the last epoch."
    )
    shown_table = shown(COLUMNS, table, groups, ("budget_percent",), caption)
    return [Section("Gates that decide alike for two views", tables=[shown_table])]
