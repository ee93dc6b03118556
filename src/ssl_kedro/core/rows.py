"""Memory maps: their rows without pages that become resident, and maps for other processes."""

import io
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeGuard

import numpy as np


def is_whole_map(array: np.ndarray) -> TypeGuard[np.memmap[Any, Any]]:
    """Whether an array is all of a memory map, so that name and offset say where it lies.

    A part of a map keeps the whole's name and offset; only the whole one stands on the mapping.
    """
    if not isinstance(array, np.memmap) or not array.filename or not array.size:
        return False
    return isinstance(array.base, mmap.mmap) and array.flags.c_contiguous


def rows_of(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array, a copy.

    Every page of a map that was ever looked at counts as memory of the process until the system
    wants it back, so that an epoch of random rows would seem to hold all images. Of a whole map the
    rows are therefore read from its file; a file that was cut then is an error, not a crash.

    Args:
        array: (N, ...), ordinary or a memory map.
        rows: int (K,), indices from 0 on.

    Returns:
        (K, ...), of the array's type.
    """
    if not is_whole_map(array) or not len(rows):
        return np.asarray(array[rows])
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    try:
        with io.FileIO(str(array.filename)) as file:
            _read(file, array.offset, rows, found)
    except FileNotFoundError:  # removed since it was mapped, which leaves the map as it is
        return np.asarray(array[rows])
    return found


def _read(file: io.FileIO, offset: int, rows: np.ndarray, found: np.ndarray) -> None:
    size = found.nbytes // len(rows)
    content = found.reshape(-1).view(np.uint8).data
    # Rows that follow one another are read at once.
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1).tolist()
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        file.seek(offset + int(rows[start]) * size)
        _fill(file, content[start * size : end * size])


def _fill(file: io.FileIO, content: memoryview) -> None:
    while len(content):
        count = file.readinto(content)
        if not count:
            raise OSError("a memory map's file has become shorter while it was in use")
        content = content[count:]


def rows_between(array: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Rows from ``first`` to before ``stop``, not copied; of a memory map, a map of its own."""
    if not is_whole_map(array):
        return array[first:stop]
    offset = array.offset + first * (array.nbytes // len(array))
    shape = (stop - first, *array.shape[1:])
    return np.memmap(str(array.filename), array.dtype, "r", offset, shape)


@dataclass(frozen=True)
class ForOthers:
    """An array on its way to another process: where it lies, or itself where that is no file.

    Args:
        array: itself, None where it is mapped from a file.
        path: of the file.
        offset: of its first byte there.
        shape: of it.
        kind: of its numbers, "<f4".
    """

    array: np.ndarray | None
    path: Path | None = None
    offset: int = 0
    shape: tuple[int, ...] = ()
    kind: str = ""

    @classmethod
    def of(cls, array: np.ndarray) -> Self:
        """What another process needs to have the array."""
        # A file that was removed since leaves the map as it is, here alone.
        if not is_whole_map(array) or not (path := Path(str(array.filename)).absolute()).exists():
            return cls(np.asarray(array))
        return cls(None, path, array.offset, array.shape, array.dtype.str)

    def opened(self) -> np.ndarray:
        """The array, a read-only map where it lies in a file."""
        if self.array is not None or self.path is None:
            return np.asarray(self.array)
        return np.memmap(self.path, self.kind, "r", self.offset, self.shape)
