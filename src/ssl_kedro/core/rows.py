"""Rows of memory maps, without the pages of the map becoming resident."""

import io
import mmap

import numpy as np


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
    # A part of a map keeps the file's name and offset; only the whole one stands on the mapping.
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return np.asarray(array[rows])
    if not array.flags.c_contiguous or array.filename is None or not len(rows):
        return np.asarray(array[rows])
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    try:
        with io.FileIO(array.filename) as file:
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
