"""What a part of chapter 6 is: the models that it compares, and its table, in one declaration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import pandas as pd

from ssl_kedro.core.plugins import modules
from ssl_kedro.pipelines.dual_gating.report.runs import (
    PairedDifference,
    by_seed,
    mean_and_std,
    paired_difference,
)
from ssl_kedro.pipelines.gated.variants import capitalised_title
from ssl_kedro.reporting.number_format import signed_with_std
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.table import RUN, Column, beside_published, budget, computed

# Every published table has figures for it; it stands in where one has none for the run's data set.
NEAREST_PRINTED = "CIFAR-100"
LESS_DUAL = "Less dual gating"
_PUBLISHED_NAMES = {
    "dual": "dual_gating",
    "barlow_dual": "barlow_dual_gating",
    "simreg": "SimReg",
    "seed": "SEED",
}
UNKNOWN = PairedDifference(math.nan, math.nan, 0)


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
        """Measured values, of another model at the same budget where one is named."""
        return by_seed(self.runs, model or self.model, metric, branch or self.branch, self.percent)

    def mean(self, metric: str, branch: str = "") -> float:
        """Over seeds, in percent."""
        return 100 * mean_and_std(list(self.by_seed(metric, branch).values()))[0]

    def std(self, metric: str, branch: str = "") -> float:
        """Over seeds, in percent; NaN with one."""
        return 100 * mean_and_std(list(self.by_seed(metric, branch).values()))[1]

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
        ours, theirs = branch or self.branch, other_branch or None
        found = paired_difference(self.runs, self.model, other, metric, ours, self.percent, theirs)
        return PairedDifference(100 * found.mean, 100 * found.std, found.n)

    @property
    def _everything_printed(self) -> pd.DataFrame:
        return _published(self.number)

    @property
    def published_dataset(self) -> str:
        """The run's data set where the published table has it, else the nearest that it prints."""
        known = (self._everything_printed["dataset"] == self.dataset).any()
        return self.dataset if known else NEAREST_PRINTED

    @property
    def comparable(self) -> bool:
        """Whether differences to the published figures mean something."""
        return self.is_that_dataset and self.published_dataset == self.dataset

    @property
    def printed(self) -> pd.DataFrame:
        """The published rows of the data set shown."""
        everything = self._everything_printed
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


@dataclass(frozen=True)
class Claim:
    """What a difference answers.

    Args:
        about: beginning of the sentence, "the anchor against plain dual gating".
        model: whose difference.
        column: of the table; with ``_std`` and ``_n`` beside it.
        asked: whether it helps to be higher, or lower, or only whether the two differ.
    """

    about: str
    model: str
    column: str
    asked: str = "helps"


_KINDS = ("table", "figure", "question")


@dataclass(frozen=True)
class Part:
    """A part of chapter 6: a table, a figure or an open question.

    A module of ``ssl_kedro.pipelines.dual_gating.parts`` names its own in ``PARTS``; further ones
    come from other packages by entry points of that group. The name is that of a tag, of the CSV
    file and of an entry of the parameter ``parts``; a table's begins with "table_" or "question_".

    Args:
        name: "table_6_4".
        models: names of the variants that it compares.
        title: of its section in the report; "" where it has no table.
        columns: of its table.
        groups: of columns shown, with what stands above them.
        compared: groups of a second table, of differences to other models.
        rows: what the table has a row for; None = every model at every budget.
        source: what rows are made of, "runs" or "transfer".
        number: of the table of the thesis that stands beside.
        breaks: columns that lines separate rows by.
        note: end of the table's caption.
        judged_by: beginning of its verdict.
        claims: what the verdict says.
        costs: whether its numbers depend on the stem.
    """

    name: str
    models: tuple[str, ...]
    title: str = ""
    columns: tuple[Column[Row], ...] = ()
    groups: tuple[str, ...] = ("", RUN)
    compared: tuple[str, ...] = ()
    rows: Callable[[Row], Iterable[Row]] | None = None
    source: str = "runs"
    number: str = ""
    breaks: tuple[str, ...] = ("budget_percent",)
    note: str = ""
    judged_by: str = ""
    claims: tuple[Claim, ...] = ()
    costs: bool = True

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(
                f"part {self.name!r}: expected a name that begins with table_, figure_ or "
                "question_, as its file and its tag do"
            )

    @property
    def kind(self) -> str:
        """Table, figure or question."""
        return self.name.split("_", 1)[0]

    def table(self, row: Row) -> pd.DataFrame:
        """The CSV file's frame.

        Args:
            row: what all rows have in common.
        """
        common = replace(row, number=self.number)
        rows = each_model(common, self.models) if self.rows is None else self.rows(common)
        return computed(self.columns, rows)


@cache
def parts() -> dict[str, Part]:
    """All parts by name: tables, then figures, then questions."""
    found = [
        part
        for module in modules("ssl_kedro.pipelines.dual_gating.parts")
        for part in getattr(module, "PARTS", ())
    ]
    found.sort(key=lambda part: (_KINDS.index(part.kind), part.name))
    return {part.name: part for part in found}


MODEL: Column[Row] = Column(
    "model", lambda row: row.model, "Model", text=capitalised_title, left=True
)
BUDGET: Column[Row] = Column(
    "budget_percent", lambda row: row.percent, "Budget", text=budget, dtype="Int64"
)
SEEDS: Column[Row] = Column("seeds", lambda row: row.seeds)


def measured(
    name: str, metric: str, branch: str, heading: str = "", group: str = ""
) -> tuple[Column[Row], ...]:
    """A mean over seeds and its deviation."""
    return (
        Column(name, lambda row: row.mean(metric, branch), heading, group),
        Column(f"{name}_std", lambda row: row.std(metric, branch)),
    )


def paired(
    name: str,
    difference: Callable[[Row], PairedDifference],
    heading: str = "",
    group: str = "",
    *,
    counted: bool = True,
    lower_is_better: bool = False,
) -> tuple[Column[Row], ...]:
    """A difference over seeds, its deviation and, if ``counted``, the number of seeds."""
    found: tuple[Column[Row], ...] = (
        Column(
            name,
            lambda row: difference(row).mean,
            heading,
            group,
            signed_with_std,
            lower_is_better=lower_is_better,
        ),
        Column(f"{name}_std", lambda row: difference(row).std),
    )
    return (*found, Column(f"{name}_n", lambda row: difference(row).n)) if counted else found


@dataclass(frozen=True)
class Measure:
    """A metric of a branch: a column, and one of its difference to dual gating.

    Args:
        name: of the column.
        metric: of the runs.
        branch: of the runs.
        group: where the page shows the measure.
        heading: of the measure.
        compared: heading of the difference; "" = not shown.
        lower_is_better: as it says.
        counted: whether the number of seeds stands beside the difference.
    """

    name: str
    metric: str
    branch: str
    group: str
    heading: str
    compared: str = ""
    lower_is_better: bool = False
    counted: bool = True

    @property
    def columns(self) -> tuple[Column[Row], ...]:
        """The measure, and its difference to dual gating."""
        return (
            *measured(self.name, self.metric, self.branch, self.heading, self.group),
            *paired(
                f"{self.name}_against_dual",
                lambda row: row.less("dual", self.metric, self.branch),
                self.compared,
                LESS_DUAL,
                counted=self.counted,
                lower_is_better=self.lower_is_better,
            ),
        )

    @property
    def beside_published(self) -> tuple[Column[Row], ...]:
        """The published figure of the same name, and the difference to it."""
        return beside_published(
            self.name,
            self.heading,
            lambda row: row.mean(self.metric, self.branch),
            lambda row: row.published(self.name),
        )
