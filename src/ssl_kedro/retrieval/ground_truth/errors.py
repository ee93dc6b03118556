"""What can be wrong with a ground truth."""

from __future__ import annotations

from pathlib import Path

from ssl_kedro.core.errors import InputError


class GroundTruthError(InputError):
    """A ground truth that cannot be used.

    Args:
        path: the file or folder at fault, or None where there is none.
        found: what was found there.
        expected: what is needed.
        remedy: what to do.
    """

    def __init__(self, path: Path | None, found: str, expected: str, remedy: str) -> None:
        self.path = path
        super().__init__(path or "the ground truth", found, expected, remedy)
