"""The node of ``--tags assemble``, and the page that it writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
from kedro.pipeline import Node, node

from ssl_kedro import __version__
from ssl_kedro.core.errors import first_few
from ssl_kedro.datasets.rooms import Room
from ssl_kedro.pipelines.assembly.parameters import ASSEMBLE, AssembleParameters
from ssl_kedro.pipelines.assembly.rows import (
    AssembledRow,
    Run,
    assembled_frame,
    assembled_rows,
    chosen_run,
    columns,
)
from ssl_kedro.pipelines.assembly.tables import Assembly, SpanningTable
from ssl_kedro.pipelines.entrance import given, refuse_others
from ssl_kedro.reporting.html import Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, listed
from ssl_kedro.reporting.table import LESS_PUBLISHED, PUBLISHED, RUN, shown


class _Assembled(Protocol):
    """Parameters of a pipeline whose tables are assembled."""

    @property
    def assemble(self) -> AssembleParameters: ...

    @property
    def further_tags(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class _Part:
    """One table with the run of each data set."""

    table: SpanningTable
    runs: Mapping[str, Run | None]
    rows: Sequence[AssembledRow]

    @property
    def frame(self) -> pd.DataFrame:
        return assembled_frame(self.table, self.rows)

    @property
    def there(self) -> dict[str, Run]:
        """Runs by data set, where there are some."""
        return {name: run for name, run in self.runs.items() if run is not None}

    @property
    def missing(self) -> dict[str, list[AssembledRow]]:
        """Rows of which something is missing, by data set."""
        found: dict[str, list[AssembledRow]] = {}
        for row in self.rows:
            if row.missing:
                found.setdefault(row.dataset, []).append(row)
        return found


def assemble_nodes(assembly: Assembly, parameters: _Assembled, asked: Sequence[str]) -> list[Node]:
    """The one node that puts a pipeline's tables together; nothing is trained or evaluated.

    Args:
        assembly: of the pipeline.
        parameters: of the run.
        asked: tags of the run.

    Raises:
        ConfigError: other tags of the pipeline beside this one, or a data set that is not known.
    """
    refuse_others([ASSEMBLE], asked, parameters.further_tags)
    assembly.check_named(parameters.assemble.runs)
    key = assembly.pipeline
    made = {table.name: f"{key}.assembled_{table.name}" for table in assembly.tables}
    return [
        node(
            given(assemble, assembly=assembly),
            {"parameters": f"params:{key}.assemble", "rooms": f"{key}.rooms"},
            made | {"report": f"{key}.assembled"},
            name=assemble.__name__,
            namespace=key,
            tags=[ASSEMBLE],
        )
    ]


def assemble(
    parameters: AssembleParameters, rooms: Sequence[Room], *, assembly: Assembly
) -> dict[str, Any]:
    """Each table by its name, and the page as "report"."""
    named, parts = parameters.runs, []
    for table in assembly.tables:
        runs = {n: chosen_run(assembly, table, n, rooms, named) for n in table.datasets}
        parts.append(_Part(table, runs, list(assembled_rows(assembly, table, runs))))
    return {part.table.name: part.frame for part in parts} | {"report": _page(assembly, parts)}


def _page(assembly: Assembly, parts: Sequence[_Part]) -> str:
    used = {run.room.name: run for part in parts for run in part.there.values()}
    some = [part.table.number for part in parts if part.there]
    figures = sum(len(row.table.figures) for part in parts for row in part.rows)
    lacking = sum(len(row.missing) for part in parts for row in part.rows)
    empty = sum(
        sum(row.printed[figure.name] is None for figure in row.table.figures)
        for part in parts
        for row in part.rows
    )
    printed = figures - empty
    lead = [
        (
            "Assembled",
            f"{printed - lacking} of the {printed} figures that the thesis prints in "
            f"{len(parts)} tables are measured, by {len(used)} runs"
            + (f", in Table{'s' * (len(some) > 1)} {listed(some)}." if some else "."),
        ),
        ("Made by", _code(used)),
    ]
    origin = f"{assembly.pipeline}, from the runs of this project, ssl_kedro {__version__}"
    sections = [_section(part) for part in parts]
    title = "Tables of the thesis over data sets"
    return rendered(Report(title, lead, origin, sections=sections, terms=assembly.terms))


def _code(used: Mapping[str, Run]) -> str:
    """Whether all runs are of this version, and of one commit."""
    if not used:
        return "No run is there. Each table says which command makes its figures."
    others = [
        f"{name} ({run.made.version})"
        for name, run in used.items()
        if run.made.version != __version__
    ]
    commits = {run.made.commit for run in used.values()}
    said = f"Other versions of ssl_kedro than this one: {first_few(others)}." if others else ""
    if not others:
        said = f"All runs are of this version, {__version__}."
    return f"{said} They are of {len(commits)} commits." if len(commits) > 1 else said


def _section(part: _Part) -> Section:
    """A table, which runs it is made of, how they differ, and what makes the rest."""
    table, frame = part.table, part.frame
    told = [str(table.printed.attrs["note"])]
    commands = []
    for dataset, rows in part.missing.items():
        run = part.runs[dataset]
        count = sum(map(len, (row.missing for row in rows)))
        where = f"in {run.room.name}" if run is not None else "for there is no run"
        told.append(f"{dataset}: {count} figures are missing, {where}.")
        commands.append(f"{rows[0].command}  # {dataset}")
    groups = {"": "", RUN: "These runs", PUBLISHED: PUBLISHED, LESS_PUBLISHED: "Less published"}
    tables = [
        shown(columns(table), frame, groups, breaks=[table.dataset]),
        *([_runs(part)] if part.there else []),
        *_different(part),
    ]
    title = f"Table {table.number}: {table.printed.attrs['title']}"
    return Section(title, told, tables, code="\n".join(commands))


def _runs(part: _Part) -> Table:
    """What made each data set's figures."""
    rows = [
        [
            dataset,
            run.room.name,
            f"{run.made.time:%Y-%m-%d %H:%M}" if run.made.time else DASH,
            run.made.version,
            run.made.commit.partition("+")[0][:8] + "+" * ("+" in run.made.commit),
            "its own record" if run.made.by_origin else "the room's manifest",
            run.differs(dataset) or "in nothing that is compared",
        ]
        for dataset, run in part.there.items()
    ]
    heads = ("Data set", "Run", "Made", "Version", "Commit", "By", "Differs from the thesis in")
    return Table(heads, rows, left=len(heads), wrap=True)


def _different(part: _Part) -> list[Table]:
    """Parameters in which the runs of a table differ from one another."""
    given = {run.room.name: run.made.parameters for run in part.there.values()}
    keys = dict.fromkeys(key for one in given.values() for key in one)
    rows = []
    for key in keys:
        values = [str(one.get(key, DASH)) for one in given.values()]
        if len({*values}) > 1:
            rows.append([key, *values])
    told = "Parameters that are not the same in all of these runs."
    return [
        Table(("Parameter", *given), rows, left=1 + len(given), wrap=True, caption=told)
    ] * bool(rows)
