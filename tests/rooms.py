"""Rooms as runs leave them, written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ssl_kedro

TABLE_6_1 = ("method", "branch", "budget_percent", "linear_top1", "flop_reduction", "linear_std")


def leave(
    data: Path,
    room: str,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    pipeline: str = "dual_gating",
    made: str = "2026-03-01T12:00:00+00:00",
    version: str = ssl_kedro.__version__,
    commit: str | None = "abcdef1234567890",
    shared: Mapping[str, Any] | None = None,
) -> Path:
    """A table in a room, with the origin that says what made it.

    Args:
        data: the folder of all rooms.
        room: below it; "" = itself.
        table: name of the file.
        columns: of it.
        rows: of it; None is an empty cell.
        pipeline: whose results these are.
        made: when.
        version: of the package.
        commit: of the project.
        shared: parameters below the pipeline's key; None = there is no origin.
    """
    folder = data / room / "08_reporting" / pipeline
    folder.mkdir(parents=True, exist_ok=True)
    cells = [[("" if cell is None else str(cell)) for cell in row] for row in (columns, *rows)]
    path = folder / f"{table}.csv"
    path.write_text("".join(",".join(row) + "\n" for row in cells))
    if shared is not None:
        told = {
            f"{pipeline}.{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in shared.items()
        }
        origin = {"made": made, "node": "part_table", "version": version, "commit": commit}
        beside = path.with_name(f".{path.name}.origin.json")
        beside.write_text(json.dumps(origin | {"shared": told}))
    return path
