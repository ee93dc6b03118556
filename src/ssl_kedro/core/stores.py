"""Arrays that grow in a file, and stores of them.

A store is a folder with an array and a description of what it was made from. The array grows as it
is made and is read by memory map afterwards; the folder gets its name when it is complete.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.files import DamagedFileError, reading, replaced_folder


class GrowingArray(AbstractContextManager["GrowingArray"]):
    """An ``.npy`` file whose number of rows is known when the last of them is there.

    The header is written again then; NumPy pads it so that another number needs no more room.
    Ordinary writes: a full disk kills a process that maps a file.

    Args:
        path: of the file.
        row_shape: of one row.
        kind: of the numbers, "|u1" or "<f4".
        rows: that an earlier writer of the file has left, and that stay; what comes behind goes.

    Raises:
        ValueError: the file holds fewer rows.
    """

    def __init__(self, path: Path, row_shape: Sequence[int], kind: str, rows: int = 0) -> None:
        self.path = path
        self.rows = rows
        self._row_shape = tuple(row_shape)
        self._kind = np.dtype(kind)
        self._file = path.open("r+b" if rows else "wb")
        self._write_header()
        end = self._file.tell() + rows * self._kind.itemsize * math.prod(row_shape)
        if self._file.seek(0, os.SEEK_END) < end:
            self._file.close()
            raise ValueError(f"{path}: fewer than {rows} rows")
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, rows: np.ndarray) -> None:
        """Append rows (K, *row_shape).

        Raises:
            ValueError: rows of another shape.
        """
        if rows.shape[1:] != self._row_shape:
            raise ValueError(f"expected rows of shape {self._row_shape}, found {rows.shape[1:]}")
        self._file.write(np.ascontiguousarray(rows, dtype=self._kind).data)
        self.rows += len(rows)

    def flush(self) -> None:
        """Have what was added survive a loss of power."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __exit__(self, *_: object) -> None:
        """Write how many rows there are."""
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        shape = (self.rows, *self._row_shape)
        described = {"descr": self._kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, described)


class MappedStore:
    """A folder with an array and a description, made once for what it was made from.

    Args:
        folder: where; need not exist yet.
        array: name of the array's file.
        description: name of the description's file.
    """

    def __init__(
        self, folder: Path, array: str = "images.npy", description: str = "description.json"
    ) -> None:
        self.folder = folder
        self._array, self.description_name = array, description

    def array(self) -> np.ndarray:
        """What it holds, a read-only memory map."""
        return np.asanyarray(np.load(self.folder / self._array, mmap_mode="r", allow_pickle=False))

    def described(self) -> dict[str, Any] | None:
        """Its description, None where there is none or one of the files was damaged."""
        try:
            with reading(self.folder, "an array and its description", "It is made again"):
                self.array()
                found = json.loads(
                    (self.folder / self.description_name).read_text(encoding="utf-8")
                )
        except (DamagedFileError, FileNotFoundError):
            return None
        return found if isinstance(found, dict) else None

    @contextmanager
    def written(
        self, row_shape: Sequence[int], kind: str
    ) -> Iterator[tuple[GrowingArray, dict[str, Any]]]:
        """An array to add rows to and a description to fill in; what was there stays until then."""
        with replaced_folder(self.folder) as temporary:
            description: dict[str, Any] = {}
            with GrowingArray(temporary / self._array, row_shape, kind) as array:
                yield array, description
            (temporary / self.description_name).write_text(
                json.dumps(description), encoding="utf-8"
            )
