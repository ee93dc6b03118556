"""Gates that should decide alike for both views of an image, beside those that need not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.gated.records import Histories
from ssl_kedro.pipelines.gated.variants import capitalised_title
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import signed_with_std
from ssl_kedro.reporting.table import RUN, Column, budget, computed, shown

CONSISTENCY = "consistency"
CONSISTENT = "simsiam_gating_consistent"
_LESS = "Less free gates"


@dataclass(frozen=True)
class _Row:
    """One model at one budget."""

    metrics: Mapping[str, float]
    histories: Histories
    model: str
    percent: int

    def measured(self, name: str, model: str = "") -> float:
        """A metric in percent."""
        key = budget_name(self.percent / 100)
        if (model or self.model) == CONSISTENT:
            key = f"{CONSISTENT}.{key}.gated"
        return 100 * self.metrics.get(f"{key}.{name}", math.nan)

    @property
    def agreement(self) -> float:
        """Share of decisions that were alike for both views in the last epoch, in percent."""
        rows = self.histories[f"{self.model}.{budget_name(self.percent / 100)}"]
        return 100 * rows[-1].get("gate_agreement", math.nan)

    def less_free(self, name: str) -> float:
        """Difference to gates without the constraint, in points."""
        if self.model != CONSISTENT:
            return math.nan
        return self.measured(name) - self.measured(name, "simsiam_gating")


COLUMNS: tuple[Column[_Row], ...] = (
    Column("budget_percent", lambda row: row.percent, "Budget", text=budget, dtype="Int64"),
    Column("model", lambda row: row.model, "Model", text=capitalised_title, left=True),
    Column("knn_top1", lambda row: row.measured("knn_top1"), "1-NN", RUN),
    Column("flop_reduction", lambda row: row.measured("flop_reduction"), "FLOP reduction", RUN),
    Column("agreement", lambda row: row.agreement, "Decided alike", RUN),
    Column(
        "knn_against_free", lambda row: row.less_free("knn_top1"), "1-NN", _LESS, signed_with_std
    ),
    Column(
        "reduction_against_free",
        lambda row: row.less_free("flop_reduction"),
        "FLOP reduction",
        _LESS,
        signed_with_std,
    ),
)


def consistency(
    parameters: DynamicChannelsParameters, metrics: dict[str, float], histories: Histories
) -> pd.DataFrame:
    """One row a budget and model; percent and percentage points."""
    rows = [
        _Row(metrics, histories, model, round(100 * one))
        for one in sorted(parameters.gated_budgets)
        for model in (parameters.gated_method, CONSISTENT)
    ]
    return computed(COLUMNS, rows)


def consistency_section(table: pd.DataFrame | None) -> list[Section]:
    """The table with what it shows; nothing where it was not made."""
    if table is None:
        return []
    groups = {group: group for group in ("", RUN, _LESS)}
    caption = (
        "First seed; 1-NN, FLOPs (MACs) reductions and shares in percent, differences in "
        "percentage points. Decided alike: gates with the same decision for both views of an "
        "image, mean over blocks and the last epoch; it is measured where it is trained for."
    )
    shown_table = shown(COLUMNS, table, groups, ("budget_percent",), caption)
    return [Section("Gates that decide alike for two views", tables=[shown_table])]
