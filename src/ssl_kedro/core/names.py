"""Millions of names of files in the memory of their letters."""

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import overload

import numpy as np

_ROWS_AT_ONCE = 2**10


class Names(Sequence[str]):
    """Names one after the other in UTF-8, and where each ends: 8 bytes a name besides its letters.

    As Python strings they would take 60 bytes each besides. Names of files that are no text are
    kept, as :func:`os.fsencode` does it.

    Args:
        text: uint8, all names.
        ends: int64 (N,), offset behind the last byte of each.
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray) -> None:
        self._text, self._ends = text, ends

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Names in the order they come in; not all of them need be there at once."""
        text, ends = bytearray(), array("q")
        for name in names:
            text += name.encode("utf-8", "surrogateescape")
            ends.append(len(text))
        return cls(np.frombuffer(text, np.uint8), np.frombuffer(ends, np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        end = int(self._ends[index])
        row = index % len(self)
        start = int(self._ends[row - 1]) if row else 0
        return self._text[start:end].tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield self._text[start:end].tobytes().decode("utf-8", "surrogateescape")
            start = end

    def chosen(self, rows: np.ndarray) -> "Names":
        """Those of some rows, int (K,), in that order."""
        starts = np.concatenate([np.zeros(1, np.int64), self._ends[:-1]])[rows]
        lengths = self._ends[rows] - starts
        ends = np.cumsum(lengths)
        text = np.empty(int(ends[-1]) if len(rows) else 0, np.uint8)
        for first in range(0, len(rows), _ROWS_AT_ONCE):  # the indices of bytes take 8 times them
            some = slice(first, first + _ROWS_AT_ONCE)
            begin = int(ends[first] - lengths[first])
            shift = np.repeat(starts[some] - (ends[some] - lengths[some]), lengths[some])
            places = shift + np.arange(begin, begin + len(shift))
            text[begin : begin + len(shift)] = self._text[places]
        return Names(text, ends)

    def digest(self) -> str:
        """SHA-256 of all names, hexadecimal."""
        found = hashlib.sha256(self._text.data)
        found.update(self._ends.data)
        return found.hexdigest()


def states(root: Path, names: Names, advance: Callable[[int], object]) -> np.ndarray:
    """Size and time of change of files.

    Args:
        root: folder that the names are below.
        names: of the files.
        advance: told how many more are done, now and then.

    Returns:
        int64 (N, 2), bytes and nanoseconds; -1 where there is none.
    """
    found = np.full((len(names), 2), -1, np.int64)
    place = str(root)
    for row, name in enumerate(names):
        with suppress(OSError, ValueError):  # no name of a file at all
            state = os.stat(f"{place}/{name}")  # noqa: PTH116  a million paths take seconds more
            found[row] = state.st_size, state.st_mtime_ns
        if row % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1:
            advance(_ROWS_AT_ONCE)
    return found
