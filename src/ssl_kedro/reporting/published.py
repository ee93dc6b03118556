"""The thesis' published figures, as printed."""

from __future__ import annotations

import json
from importlib.resources import files

import pandas as pd

TABLES = (
    *("3.1", "3.2", "3.3", "3.4", "4.1", "4.2", "4.3", "4.4"),
    *("5.1", "6.1", "6.2", "6.3", "6.4", "6.5", "6.6"),
)


def published_table(table: str) -> pd.DataFrame:
    """One table of the thesis, in long form; accuracies and reductions in percent.

    The frame's ``attrs`` hold "title" and "note": what the transcription had to decide and
    where the print contradicts itself.

    Args:
        table: "3.1" to "3.4", "4.1" to "4.4", "5.1" or "6.1" to "6.6".

    Raises:
        ValueError: there is no such table.
    """
    if table not in TABLES:
        raise ValueError(f"table {table!r} is not published here; known: {', '.join(TABLES)}")
    name = f"table_{table.replace('.', '_')}.json"
    content = json.loads((files(__package__) / "published" / name).read_text(encoding="utf-8"))
    frame = pd.DataFrame(content["rows"], columns=content["columns"])
    frame.attrs |= {"title": content["title"], "note": content["note"]}
    return frame
