"""What a table of the thesis over data sets is, and which runs measure it, in one declaration."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import nearest
from ssl_kedro.datasets.rooms import Room
from ssl_kedro.pipelines.assembly.parameters import data_key
from ssl_kedro.reporting.glossary import ENCODERS, Term
from ssl_kedro.reporting.published import published_table


@dataclass(frozen=True)
class Figure:
    """A number of a table.

    Args:
        name: of its column in the thesis' table, and in the assembled one.
        heading: on the page.
        column: of a run's table; "" = the same.
        std: column of its deviation in both, where they have it; "" = none.
    """

    name: str
    heading: str
    column: str = ""
    std: str = ""


@dataclass(frozen=True)
class SpanningTable:
    """A table of the thesis whose rows come from runs on several data sets.

    Args:
        number: "6.1".
        keys: columns that tell a row of one data set from others, by the name of the same column in
            a run's table.
        figures: what is measured.
        dataset: the thesis' column that says which data a row's run is on.
        tagged: whether a run makes it by the tag of its name; else every run does.
        kept: headings of further columns of a run's table that say how it was measured.
        comparable: whether differences to a printed row mean something.
    """

    number: str
    keys: Mapping[str, str]
    figures: tuple[Figure, ...]
    dataset: str = "dataset"
    tagged: bool = False
    kept: Mapping[str, str] = field(default_factory=dict)
    comparable: Callable[[Mapping[str, Any]], bool] = lambda _: True

    @property
    def name(self) -> str:
        """Of a run's file, and of the tag: "table_6_1"."""
        return f"table_{self.number.replace('.', '_')}"

    @cached_property
    def printed(self) -> pd.DataFrame:
        """The thesis' own, with missing values as None."""
        frame = published_table(self.number)
        made = frame.astype(object).where(frame.notna(), None)
        made.attrs = frame.attrs
        return made

    @property
    def datasets(self) -> list[str]:
        """That it spans, in the thesis' order."""
        return [*dict.fromkeys(self.printed[self.dataset])]


@dataclass(frozen=True)
class Assembly:
    """What ``--tags assemble`` makes of a pipeline's runs.

    Args:
        pipeline: its key.
        tables: of the thesis.
        environments: by data set of the thesis, the environment that runs on it.
        chapter: whose published recipe the runs' own are compared with; "" = none.
        task: column of a run's tables that names the data set; "" = a run is on one, which the
            parameter ``data.source`` names.
        names: the thesis' names of models that runs call otherwise.
        terms: that the page may use.
    """

    pipeline: str
    tables: tuple[SpanningTable, ...]
    environments: Mapping[str, str]
    chapter: str = ""
    task: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    terms: Sequence[Term] = ENCODERS

    def check_named(self, runs: Mapping[str, str]) -> None:
        """Refuse data sets that no table has.

        Raises:
            ConfigError: naming the key.
        """
        known = {data_key(name) for name in self.environments}
        for key in runs.keys() - known:
            expected = f"a data set of the thesis: {nearest(key, sorted(known))}"
            raise ConfigError(f"{self.pipeline}.assemble.runs", {key: runs[key]}, expected)

    def command(self, table: SpanningTable, dataset: str, room: Room | None = None) -> str:
        """What makes the figures of a data set, in a room where some of them are there."""
        environment, parameters = self.environments[dataset], []
        if room is not None and room.name.startswith(f"{environment}/"):
            parameters.append(f"run={room.name.removeprefix(f'{environment}/')}")
        if room is not None and "budget_percent" in table.keys:
            of_data = table.printed[table.printed[table.dataset] == dataset]
            shares = sorted(percent / 100 for percent in {*of_data["budget_percent"]} - {None})
            parameters.append(f"{self.pipeline}.budgets={';'.join(map(str, shares))}")
        words = ["kedro", "run", "--pipeline", self.pipeline, "--env", environment]
        words += ["--tags", table.name] * table.tagged
        words += ["--params", ",".join(parameters)] * bool(parameters)
        return shlex.join(words)
