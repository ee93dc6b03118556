"""What can be wrong with a ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class GroundTruthError(ValueError):
    """A ground truth that cannot be used.

    Args:
        path: the file or folder at fault, or None where there is none.
        found: what was found there.
        expected: what is needed.
        remedy: what to do.
    """

    def __init__(self, path: Path | None, found: str, expected: str, remedy: str) -> None:
        self.path = path
        self.found = found
        self.expected = expected
        self.remedy = remedy
        where = "the ground truth" if path is None else str(path)
        super().__init__(f"{where}: found {found}; expected {expected}. To solve it, {remedy}.")


def first_few(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list that may be long, for messages."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
