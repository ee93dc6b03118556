"""A row of a table over models, budgets and seeds, before it is measured, and columns of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pandas as pd

from ssl_kedro.pipelines.gated.variants import capitalised_title
from ssl_kedro.reporting.differences import (
    UNKNOWN,
    PairedDifference,
    mean_and_std,
    paired_difference,
)
from ssl_kedro.reporting.table import Column, budget, word


@dataclass(frozen=True)
class ModelRow:
    """One model at one budget, before it is measured.

    Args:
        runs: all runs, one row a model, budget, seed and branch; fractions.
        model: name of its variant.
        percent: its budget, None without gates.
        branch: that is meant where a column names none.
        source: of a transfer, what the encoder was trained on.
        target: of a transfer, what it is evaluated on.
    """

    runs: pd.DataFrame
    model: str = ""
    percent: int | None = None
    branch: str = "gated"
    source: str = ""
    target: str = ""

    def by_seed(self, metric: str, branch: str = "", model: str = "") -> dict[int, float]:
        """Measured values, of another model where one is named; one without budgets serves any."""
        runs, budgets = self.runs, self.runs["budget_percent"]
        same = (runs["model"] == (model or self.model)) & (
            runs["branch"] == (branch or self.branch)
        )
        at_budget = (budgets == (self.percent or math.nan)).fillna(False).astype(bool)
        rows = runs[same & (budgets.isna() | at_budget) & runs[metric].notna()]
        values = zip(rows["seed"], rows[metric], strict=True)
        return {int(seed): float(value) for seed, value in values}

    def mean(self, metric: str, branch: str = "") -> float:
        """Over seeds, in percent."""
        return 100 * mean_and_std(self.by_seed(metric, branch).values())[0]

    def std(self, metric: str, branch: str = "") -> float:
        """Over seeds, in percent; NaN with one."""
        return 100 * mean_and_std(self.by_seed(metric, branch).values())[1]

    @property
    def linear_std(self) -> float:
        """Of linear accuracy over seeds, with one seed over the probe's runs; percent."""
        of_probe = list(self.by_seed("linear_std").values())
        return 100 * of_probe[0] if len(of_probe) == 1 else self.std("linear_top1")

    def less(
        self, other: str, metric: str, branch: str = "", other_branch: str = ""
    ) -> PairedDifference:
        """Difference to another model in points, seed by seed; unknown to the model itself."""
        if self.model == other:
            return UNKNOWN
        theirs = self.by_seed(metric, other_branch or branch, other)
        return paired_difference(self.by_seed(metric, branch), theirs)


R = TypeVar("R", bound=ModelRow)


def each_model(row: R, models: tuple[str, ...]) -> Iterator[R]:
    """Rows of the runs' models without a budget, then those of each budget, in the given order."""
    present = set(zip(row.runs["model"], row.runs["budget_percent"].fillna(-1), strict=True))
    for percent in sorted({percent for _, percent in present}):
        for model in models:
            if (model, percent) in present:
                yield replace(row, model=model, percent=None if percent < 0 else int(percent))


def each_branch(row: R, metric: str, models: tuple[str, ...]) -> Iterator[R]:
    """The same, with a row for each branch that the metric was measured of."""
    for one in each_model(row, models):
        for branch in ("dense", "gated"):
            if (found := replace(one, branch=branch)).by_seed(metric):
                yield found


def whole_percent(budget: float | None) -> int | None:
    """A budget as tables have it."""
    return None if budget is None else round(100 * budget)


MODEL: Column[Any] = Column(
    "model", lambda row: row.model, "Model", text=capitalised_title, left=True
)
BRANCH: Column[Any] = Column("branch", lambda row: row.branch, "Branch", text=word, left=True)
BUDGET: Column[Any] = Column(
    "budget_percent", lambda row: row.percent, "Budget", text=budget, dtype="Int64"
)
