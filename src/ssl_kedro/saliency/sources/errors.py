"""What can be wrong with panoramas, saliency maps and fixations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_NAMED = 20


class SaliencyDataError(ValueError):
    """A file or folder that cannot be used as it is.

    Args:
        path: the file or folder at fault.
        found: what was found there.
        expected: what is needed.
        remedy: what to do.
        line: of the file, from 1, where one line is at fault.
    """

    def __init__(
        self, path: Path, found: str, expected: str, remedy: str, line: int | None = None
    ) -> None:
        self.path = path
        self.line = line
        self.found = found
        self.expected = expected
        self.remedy = remedy
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: found {found}; expected {expected}. To solve it, {remedy}.")


def named(names: Sequence[str], most: int = _NAMED) -> str:
    """The names of a list that may be long, for messages: at most so many, then a count."""
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def raise_all(root: Path, errors: Sequence[SaliencyDataError]) -> None:
    """Raise what was found: one error as it is, several as one that lists them."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    listed = "\n".join(f"  {error}" for error in errors[:_NAMED])
    more = f"\n  and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    raise SaliencyDataError(
        root,
        found=f"{len(errors)} files that cannot be used",
        expected="panoramas, maps and fixations as documented",
        remedy=f"see what is wrong with each:\n{listed}{more}\nand mend or remove them",
    )
