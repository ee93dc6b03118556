"""A row of a table of chapter 6, before it is measured: a model at a budget, over its seeds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import pandas as pd

from ssl_kedro.pipelines.gated.rows import ModelRow, each_model
from ssl_kedro.reporting.published import published_table

__all__ = ["NEAREST_PRINTED", "OWN_TEACHER", "Row", "each_model"]
# Who teaches students where nothing else is said: the run's dense baseline.
OWN_TEACHER = "vicreg"
# Every published table has figures for it; it stands in where one has none for the run's data set.
NEAREST_PRINTED = "CIFAR-100"
# The thesis' names of models, where they are not the runs' own.
PUBLISHED_NAMES = {
    "dual": "dual_gating",
    "barlow_dual": "barlow_dual_gating",
    "simreg": "SimReg",
    "seed": "SEED",
}


@dataclass(frozen=True)
class Row(ModelRow):
    """One model at one budget, before it is measured; further fields are those of ModelRow.

    Args:
        number: of the thesis' table that stands beside, "6.4"; "" = none.
        dataset: of the thesis, whose figures stand beside.
        is_that_dataset: whether the run used it.
        published_names: the thesis' name of each data set that has one.
        teachers: who taught each student: "vicreg" = the run's dense baseline (as where nothing is
            said), the kind of a file, or the catalog name of an encoder.
    """

    number: str = ""
    dataset: str = ""
    is_that_dataset: bool = False
    published_names: Mapping[str, str] = field(default_factory=dict)
    teachers: Mapping[str, str] = field(default_factory=dict)

    @property
    def teacher(self) -> str:
        """Who taught the model, where it is a student."""
        return self.teachers.get(self.model, OWN_TEACHER)

    @property
    def seeds(self) -> int:
        """How many trainings there are."""
        return len(self.by_seed("training_seconds"))

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
        same = printed["method"] == PUBLISHED_NAMES.get(name, name)
        same &= budgets.isna() if percent is None else budgets == percent
        return printed[same & (printed["branch"] == branch)] if branch else printed[same]


@cache
def _published(number: str) -> pd.DataFrame:
    """A table of the thesis whose rows name their data set, for a transfer the target."""
    return published_table(number).rename(columns={"target": "dataset"})
