"""Where the loop reports each epoch: a file for people, subscribers for trackers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

Row = Mapping[str, float]


class EpochLog:
    """Append-only record of per-epoch metrics, one JSON object a line.

    The file can be followed while a run is going (``tail -f``). Whoever wants the rows as
    they come, such as a tracking server's client, subscribes.

    Args:
        path: file to append to; None keeps the rows in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._subscribers: list[Callable[[Row], None]] = []

    def subscribe(self, callback: Callable[[Row], None]) -> None:
        """Call callback with every row appended from now on."""
        self._subscribers.append(callback)

    def restart(self, rows: list[dict[str, float]]) -> None:
        """Replace what is written by rows: none for a new run, the history for a resumed one."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def append(self, row: Row) -> None:
        """Write one epoch's metrics; ``row["epoch"]`` counts from 1."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(dict(row)) + "\n")
        for callback in self._subscribers:
            callback(row)
