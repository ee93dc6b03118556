"""What a part of chapter 6 is: the models that it compares, and its table, in one declaration."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

import pandas as pd

from ssl_kedro.core.plugins import modules
from ssl_kedro.pipelines.dual_gating.row import Row, each_model
from ssl_kedro.pipelines.gated import rows
from ssl_kedro.reporting.differences import paired
from ssl_kedro.reporting.table import RUN, Column, beside_published, computed

LESS_DUAL = "Less dual gating"


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


_KINDS = ("table", "figure", "question", "method")


@dataclass(frozen=True)
class Part:
    """A part of chapter 6: a table, a figure, an open question or a further method.

    A module of ``ssl_kedro.pipelines.dual_gating.parts`` names its own in ``PARTS``; further ones
    come from other packages by entry points of that group. The name is that of a tag, of the CSV
    file and of an entry of the parameter ``parts``; a table's begins with "table_", "question_" or
    "method_".

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
                f"part {self.name!r}: expected a name that begins with table_, figure_, "
                "question_ or method_, as its file and its tag do"
            )

    @property
    def kind(self) -> str:
        """Table, figure, question or method."""
        return self.name.split("_", 1)[0]

    def table(self, row: Row) -> pd.DataFrame:
        """The CSV file's frame.

        Args:
            row: what all rows have in common.
        """
        runs = row.runs.assign(budget_percent=row.runs["budget_percent"].astype("Int64"))
        common = replace(row, runs=runs, number=self.number)
        made = each_model(common, self.models) if self.rows is None else self.rows(common)
        return computed(self.columns, made)


@cache
def parts() -> dict[str, Part]:
    """All parts by name: tables, then figures, questions and methods."""
    found = [
        part
        for module in modules("ssl_kedro.pipelines.dual_gating.parts")
        for part in getattr(module, "PARTS", ())
    ]
    found.sort(key=lambda part: (_KINDS.index(part.kind), part.name))
    return {part.name: part for part in found}


MODEL: Column[Row] = rows.MODEL
BUDGET: Column[Row] = rows.BUDGET
SEEDS: Column[Row] = Column("seeds", lambda row: row.seeds)


def measured(
    name: str, metric: str, branch: str, heading: str = "", group: str = ""
) -> tuple[Column[Row], ...]:
    """A mean over seeds and its deviation."""
    return (
        Column(name, lambda row: row.mean(metric, branch), heading, group),
        Column(f"{name}_std", lambda row: row.std(metric, branch)),
    )


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
