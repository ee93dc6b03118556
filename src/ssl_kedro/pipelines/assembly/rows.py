"""Rows of a table over data sets: as printed, each beside the run that measured it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from ssl_kedro.core.errors import InputError, nearest
from ssl_kedro.datasets.rooms import Made, Room
from ssl_kedro.pipelines.assembly.parameters import data_key
from ssl_kedro.pipelines.assembly.tables import Assembly, Figure, SpanningTable
from ssl_kedro.reporting.published import changes, compared, published_recipe
from ssl_kedro.reporting.table import RUN, Column, beside_published, budget, computed, word

_HEADINGS = {
    "dataset": "Data set",
    "source": "Trained on",
    "target": "Evaluated on",
    "method": "Model",
    "row": "Encoder",
    "branch": "Branch",
    "level": "Protocol",
    "budget_percent": "Budget",
    "dimension": "d",
}
_WHOLE = {"budget_percent": budget, "dimension": word}
# Parameters that leave images out, which no recipe of the thesis does.
_LIMITS = ("data.limit", "data.eval_limit")


@dataclass(frozen=True)
class Run:
    """A room whose table stands for a data set."""

    assembly: Assembly
    table: SpanningTable
    room: Room

    @cached_property
    def made(self) -> Made:
        """What made the table."""
        return self.room.made(self.table.name)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table, with the columns that are needed.

        Raises:
            InputError: it lacks some.
        """
        frame, table = self.room.table(self.table.name), self.table
        wanted = {*table.keys.values(), *(one.column or one.name for one in table.figures)}
        wanted |= {self.assembly.task} - {""}
        if lacking := sorted(wanted - {*frame.columns}):
            raise InputError(
                self.room.path(table.name),
                f"no column {', '.join(lacking)}",
                f"Table {table.number} as this version of ssl_kedro writes it",
                "run what makes it again, or name another run in assemble.runs",
            )
        return frame

    def is_on(self, dataset: str) -> bool:
        """Whether the images were those of a data set of the thesis."""
        if self.assembly.task:
            return bool((self.frame[self.assembly.task] == dataset).any())
        return bool(self.made.parameters.get("data.source") == data_key(dataset))

    def rows(self, dataset: str) -> dict[tuple[str, ...], Mapping[Any, Any]]:
        """Measured rows of a data set by what tells them apart.

        Raises:
            InputError: two of them are told apart by nothing.
        """
        frame, task = self.frame, self.assembly.task
        found: dict[tuple[str, ...], Mapping[Any, Any]] = {}
        for row in (frame[frame[task] == dataset] if task else frame).to_dict("records"):
            key = tuple(
                self.assembly.names.get(text := _text(row[column]), text)
                for column in self.table.keys.values()
            )
            if key in found and any(key):
                raise InputError(
                    self.room.path(self.table.name),
                    f"two rows of {', '.join(filter(None, key))} on {dataset}",
                    "one, as the thesis has it",
                    "give one encoder alone that name, and run it again",
                )
            found[key] = row
        return found

    def differs(self, dataset: str) -> str:
        """Settings of the run that are not those of the thesis, in words."""
        given, chapter = self.made.parameters, self.assembly.chapter
        if not given:
            return "nothing says how it was made"
        size = given.get("data.size")
        run = dict(given) | {"image_size": size, "view_size": given.get("views.size") or size}
        run["data.source"] = dataset if self.is_on(dataset) else given.get("data.source")
        run = {key: value for key, value in run.items() if value is not None}
        said: list[str] = []
        if chapter:
            recipe = published_recipe(chapter, dataset)
            said.append(changes(compared(recipe, run)))
            for method in dict.fromkeys(self.table.printed["method"]):
                own = f"methods.{method}."
                of_method = {k.removeprefix(own): v for k, v in run.items() if k.startswith(own)}
                if found := changes(compared(recipe, of_method)):
                    said.append(f"{method}: {found}")
        said += [f"{key} {run[key]}" for key in _LIMITS if key in run]
        return "; ".join(filter(None, said))


@dataclass(frozen=True)
class AssembledRow:
    """A printed row, and what a run measured for it.

    Args:
        table: it is of.
        printed: the thesis' figures.
        run: of its data set; None = there is none.
        found: the run's row; empty where it has none.
        command: what makes it.
    """

    table: SpanningTable
    printed: Mapping[str, Any]
    run: Run | None
    found: Mapping[Any, Any]
    command: str

    @property
    def dataset(self) -> str:
        """Of the run."""
        return str(self.printed[self.table.dataset])

    @property
    def comparable(self) -> bool:
        """Whether the difference to the printed row means something."""
        if self.run is None or not self.run.is_on(self.dataset):
            return False
        return self.table.comparable(self.printed)

    def measured(self, figure: Figure) -> float:
        """A figure of the run; NaN without one."""
        return float(self.found.get(figure.column or figure.name, math.nan))

    def published(self, figure: Figure) -> float:
        """A figure of the thesis; NaN without one."""
        value = self.printed[figure.name]
        return math.nan if value is None else float(value)

    @property
    def missing(self) -> list[str]:
        """Headings of figures that the thesis prints and no run has."""
        return [
            figure.heading
            for figure in self.table.figures
            if not math.isnan(self.published(figure)) and math.isnan(self.measured(figure))
        ]


def chosen_run(
    assembly: Assembly,
    table: SpanningTable,
    dataset: str,
    rooms: Sequence[Room],
    named: Mapping[str, str],
) -> Run | None:
    """The run that stands for a data set: the one that is named, else the latest on it.

    Raises:
        InputError: there is no room of that name.
        DamagedFileError: a file of a room, which might be the latest, cannot be read.
    """
    runs = {room.name: Run(assembly, table, room) for room in rooms}
    name = named.get(data_key(dataset))
    if name is not None:
        if name not in runs:
            key = f"{assembly.pipeline}.assemble.runs.{data_key(dataset)}"
            found = f"{name!r}, where {assembly.pipeline} has left no results"
            there = nearest(name, sorted(runs)) if runs else "there is none"
            raise InputError(key, found, f"a room: {there}", "name one, or run it first")
        return runs[name] if runs[name].room.has(table.name) else None
    having = [run for run in runs.values() if run.room.has(table.name) and run.is_on(dataset)]
    return max(
        having, key=lambda run: run.made.time or datetime.min.replace(tzinfo=UTC), default=None
    )


def assembled_rows(
    assembly: Assembly, table: SpanningTable, runs: Mapping[str, Run | None]
) -> Iterator[AssembledRow]:
    """All printed rows, each with what the run of its data set has for it."""
    found = {name: run.rows(name) if run is not None else {} for name, run in runs.items()}
    for record in table.printed.to_dict("records"):
        printed = {str(name): value for name, value in record.items()}
        dataset = printed[table.dataset]
        key = tuple(_text(printed[name]) for name in table.keys)
        run = runs[dataset]
        command = assembly.command(table, dataset, run.room if run is not None else None)
        yield AssembledRow(table, printed, run, found[dataset].get(key, {}), command)


def assembled_frame(table: SpanningTable, rows: Sequence[AssembledRow]) -> pd.DataFrame:
    """The CSV file's frame."""
    return computed(columns(table), rows)


def columns(table: SpanningTable) -> tuple[Column[AssembledRow], ...]:
    """What tells rows apart, how they were measured, figures beside published, what made them."""
    figures = [_figure(one) for one in table.figures]
    return (
        *(_key(name) for name in dict.fromkeys([table.dataset, *table.keys])),
        *(_kept(name, heading) for name, heading in table.kept.items()),
        *(measured for measured, _, _ in figures),
        *(published for _, published, _ in figures),
        *(difference for _, _, difference in figures),
        *(one for figure in table.figures for one in _deviations(figure)),
        Column("run", lambda of: of.run and of.run.room.name),
        Column("made", lambda of: of.run and of.run.made.time),
        Column("version", lambda of: of.run and of.run.made.version),
        Column("commit", lambda of: of.run and of.run.made.commit),
        Column("differs", lambda of: of.run and of.run.differs(of.dataset)),
        Column("missing", lambda of: "; ".join(of.missing)),
        Column("command", lambda of: of.command if of.missing else ""),
    )


def _key(name: str) -> Column[AssembledRow]:
    whole = name in _WHOLE
    return Column(
        name,
        lambda of: of.printed[name],
        _HEADINGS[name],
        text=_WHOLE.get(name, lambda value, _: str(value).replace("_", " ")),
        dtype="Int64" if whole else "",
        left=not whole,
    )


def _kept(name: str, heading: str) -> Column[AssembledRow]:
    return Column(name, lambda of: of.found.get(name), heading, RUN, _said)


def _figure(figure: Figure) -> tuple[Column[AssembledRow], ...]:
    def measured(of: AssembledRow) -> float:
        return of.measured(figure)

    def published(of: AssembledRow) -> float:
        return of.published(figure)

    return (
        Column(figure.name, measured, figure.heading, RUN),
        *beside_published(figure.name, figure.heading, measured, published),
    )


def _deviations(figure: Figure) -> tuple[Column[AssembledRow], ...]:
    """Columns that the page prints behind a figure, as their names say."""
    if not figure.std:
        return ()
    return (
        Column(f"{figure.name}_std", lambda of: of.found.get(figure.std)),
        Column(f"published_{figure.name}_std", lambda of: of.printed.get(figure.std)),
    )


def _said(value: Any, _: float = math.nan) -> str:
    """A fact of a run's table in a word."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return _text(value)


def _text(value: Any) -> str:
    """A key as text: numbers alike whether they were read as whole ones or not, nothing as ""."""
    if value is None or (isinstance(value, Real) and math.isnan(value)):
        return ""
    return f"{value:g}" if isinstance(value, Real) else str(value)
