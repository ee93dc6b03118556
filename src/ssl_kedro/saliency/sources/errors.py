"""What can be wrong with panoramas, saliency maps and fixations."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from ssl_kedro.core.errors import InputError, first_few

T = TypeVar("T")

# Scenes and files that a message names before it counts.
NAMED = 20


class SaliencyDataError(InputError):
    """A file or folder that cannot be used as it is.

    Cause: panoramas, maps or fixations are missing, damaged, or do not belong together.
    Remedy: the message names the file and line; docs/saliency360.md has the layouts.

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
        self.line = line
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(where, found, expected, remedy)


def all_of(root: Path, calls: Iterable[Callable[[], T]]) -> list[T]:
    """What each call gives; where some cannot be used, one error names them all."""
    results, errors = [], []
    for call in calls:
        try:
            results.append(call())
        except SaliencyDataError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        listed = first_few([f"\n  {error}" for error in errors], NAMED, separator="")
        raise SaliencyDataError(
            root,
            found=f"{len(errors)} files that cannot be used",
            expected="panoramas, maps and fixations as documented",
            remedy=f"see what is wrong with each:{listed}\nand mend or remove them",
        )
    return results
