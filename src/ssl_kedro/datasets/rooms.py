"""Kedro dataset of the rooms of a project: what earlier runs of a pipeline have left in each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_kedro.core.files import reading
from ssl_kedro.datasets.base import ReadOnlyDataset
from ssl_kedro.datasets.origin import UNKNOWN, Origin, read_origin

# The room of the base environment without a name, which lies above the others.
BASE = "base"
_REPORTS = "08_reporting"
_REMEDY = "Run what makes it again, or remove the file"


@dataclass(frozen=True)
class Made:
    """What made a table.

    Args:
        time: when; None = nothing says so.
        version: of this package.
        commit: of the project.
        parameters: by dotted key below the pipeline's.
        by_origin: whether the file itself says all this, not the manifest of its room, which may be
            that of a later run.
    """

    time: datetime | None
    version: str
    commit: str
    parameters: Mapping[str, Any]
    by_origin: bool


@dataclass(frozen=True)
class Room:
    """What a run of a pipeline has left in a room (ADR 23); files are read when they are asked for.

    Args:
        name: folder below ``data/``, "cifar10/night"; "base" = ``data/`` itself.
        pipeline: whose results are meant.
        folder: of them.
    """

    name: str
    pipeline: str
    folder: Path

    def has(self, table: str) -> bool:
        """Whether a table lies here."""
        return self.path(table).is_file()

    def path(self, table: str) -> Path:
        """Where a table lies."""
        return self.folder / f"{table}.csv"

    def table(self, name: str) -> pd.DataFrame:
        """A table as its run wrote it.

        Raises:
            DamagedFileError: the file is no table.
        """
        path = self.path(name)
        with reading(path, "a table (.csv)", _REMEDY):
            return pd.read_csv(path)

    def made(self, table: str) -> Made:
        """What made a table, from its origin, else from the room's manifest.

        Raises:
            DamagedFileError: there is no origin, and the manifest is no manifest.
        """
        origin = read_origin(_Beside(self.path(table)))
        return self._by_manifest if origin is None else _by_origin(origin, self.pipeline)

    @cached_property
    def _by_manifest(self) -> Made:
        path = self.folder / "run_manifest.json"
        if not path.exists():
            return Made(None, UNKNOWN, UNKNOWN, {}, by_origin=False)
        with reading(path, "the manifest of a run (.json)", _REMEDY):
            found = json.loads(path.read_text("utf-8"))
            return Made(
                datetime.fromisoformat(found["created"]),
                found["versions"]["ssl_kedro"] or UNKNOWN,
                found["git_commit"] or UNKNOWN,
                {str(k): v for k, v in pd.json_normalize(found["parameters"]).iloc[0].items()},
                by_origin=False,
            )


@dataclass(frozen=True)
class _Beside:
    """A file that may have an origin beside it."""

    path: Path

    def read_beside(self) -> bytes:
        return self.path.with_name(f".{self.path.name}.origin.json").read_bytes()


def _by_origin(origin: Origin, pipeline: str) -> Made:
    shared = {key.removeprefix(f"{pipeline}."): value for key, value in origin.shared.items()}
    return Made(
        datetime.fromisoformat(origin.made),
        origin.version,
        origin.commit or UNKNOWN,
        {key: _plain(value) for key, value in shared.items()},
        by_origin=True,
    )


def _plain(text: str) -> Any:
    """A parameter as an origin keeps it: text as it is, everything else as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class RoomsDataset(ReadOnlyDataset[Sequence[Room]]):
    """All rooms in which a pipeline has left results, by name.

    Args:
        filepath: the folder that holds them, ``data``.
        pipeline: its name.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    refusal = "runs leave rooms; nothing is saved to all of them"

    def __init__(
        self, *, filepath: str, pipeline: str, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath, self._pipeline = Path(filepath), pipeline
        self.metadata = metadata

    def load(self) -> Sequence[Room]:
        """The rooms; none of their files is read yet."""
        found = []
        for depth in ("", "*/", "*/*/"):
            for folder in sorted(self._filepath.glob(f"{depth}{_REPORTS}/{self._pipeline}")):
                name = folder.parents[1].relative_to(self._filepath).as_posix()
                found.append(Room(BASE if name == "." else name, self._pipeline, folder))
        return found

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "pipeline": self._pipeline}
