"""A row of a table of chapter 6, before it is measured: a model at a budget, over its seeds."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import pandas as pd

from ssl_kedro.pipelines.gated.differences import (
    UNKNOWN,
    PairedDifference,
    mean_and_std,
    paired_difference,
)
from ssl_kedro.reporting.published import published_table

# Every published table has figures for it; it stands in where one has none for the run's data set.
NEAREST_PRINTED = "CIFAR-100"
_PUBLISHED_NAMES = {
    "dual": "dual_gating",
    "barlow_dual": "barlow_dual_gating",
    "simreg": "SimReg",
    "seed": "SEED",
}


@dataclass(frozen=True)
class Row:
    """One model at one budget, before it is measured.

    Args:
        runs: all runs, one row a model, budget, seed and branch; fractions.
        model: name of its variant.
        percent: its budget, None without gates.
        branch: that is meant where a column names none.
        number: of the thesis' table that stands beside, "6.4"; "" = none.
        dataset: of the thesis, whose figures stand beside.
        is_that_dataset: whether the run used it.
        published_names: the thesis' name of each data set that has one.
        own_teacher: whether the run's dense baseline taught the students.
        source: of a transfer, what the encoder was trained on.
        target: of a transfer, what it is evaluated on.
    """

    runs: pd.DataFrame
    model: str = ""
    percent: int | None = None
    branch: str = "gated"
    number: str = ""
    dataset: str = ""
    is_that_dataset: bool = False
    published_names: Mapping[str, str] = field(default_factory=dict)
    own_teacher: bool = True
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

    @property
    def seeds(self) -> int:
        """How many trainings there are."""
        return len(self.by_seed("training_seconds"))

    def less(
        self, other: str, metric: str, branch: str = "", other_branch: str = ""
    ) -> PairedDifference:
        """Difference to another model in points, seed by seed; unknown to the model itself."""
        if self.model == other:
            return UNKNOWN
        theirs = self.by_seed(metric, other_branch or branch, other)
        return paired_difference(self.by_seed(metric, branch), theirs)

    @property
    def table_printed(self) -> pd.DataFrame:
        """The published table, of every data set."""
        return _published(self.number)

    @property
    def published_dataset(self) -> str:
        """The run's data set where the published table has it, else the nearest that it prints."""
        known = (self.table_printed["dataset"] == self.dataset).any()
        return self.dataset if known else NEAREST_PRINTED

    @property
    def comparable(self) -> bool:
        """Whether differences to the published figures mean something."""
        return self.is_that_dataset and self.published_dataset == self.dataset

    @property
    def printed(self) -> pd.DataFrame:
        """The published rows of the data set shown."""
        everything = self.table_printed
        return everything[everything["dataset"] == self.published_dataset]

    def published(self, column: str, branch: str = "", model: str = "") -> float:
        """One published figure; NaN where the thesis has none."""
        found = self.published_row(branch, model)[column]
        return float(found.iloc[0]) if len(found) else math.nan

    def published_row(self, branch: str = "", model: str = "") -> pd.DataFrame:
        """The published row of this model, or of another without a budget; at most one."""
        printed, name, percent = self.printed, model or self.model, None if model else self.percent
        budgets = printed["budget_percent"]
        same = printed["method"] == _PUBLISHED_NAMES.get(name, name)
        same &= budgets.isna() if percent is None else budgets == percent
        return printed[same & (printed["branch"] == branch)] if branch else printed[same]


@cache
def _published(number: str) -> pd.DataFrame:
    """A table of the thesis whose rows name their data set, for a transfer the target."""
    return published_table(number).rename(columns={"target": "dataset"})


def each_model(row: Row, models: tuple[str, ...]) -> Iterator[Row]:
    """Rows of the runs' models without a budget, then those of each budget, in the given order."""
    present = set(zip(row.runs["model"], row.runs["budget_percent"].fillna(-1), strict=True))
    for percent in sorted({percent for _, percent in present}):
        for model in models:
            if (model, percent) in present:
                yield replace(row, model=model, percent=None if percent < 0 else int(percent))
