"""Writing files so that a reader sees either the old content or the new, never a part.

A store is a folder with an array and a description of what it was made from. The array grows as it
is made and is read by memory map afterwards; the folder gets its name when it is complete.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.errors import UserError


class DamagedFileError(UserError, ValueError):
    """A file whose content is not what its place says."""


# What files and folders may not be used for by others; there is no asking without setting it.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Temporary path beside ``path`` that takes its place when the block ends well.

    On an error the temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _let_others_read(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Temporary folder beside ``path`` that takes its place when the block ends well.

    A folder cannot be replaced in one step where one exists: the old one is renamed first
    and removed last, so that a kill in between leaves it on disk under its second name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    previous = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for written in temporary.rglob("*"):
            _let_others_read(written)
        if path.exists():
            path.replace(previous)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def _let_others_read(path: Path) -> None:
    """Give a file the mode of every new file; some libraries let nobody but the owner read."""
    if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o777 == 0o600:
        path.chmod(0o666 & ~_UMASK)


def finish_replacing(root: Path) -> list[str]:
    """Bring to an end what killed processes left half replaced below a folder nobody writes to now.

    A folder whose new content had not got its name yet gets its old content back; what else they
    left is removed.

    Returns:
        What was done, a line each.
    """
    done = []
    for left in sorted([*root.rglob(".*.old"), *root.rglob(".*.tmp")]):
        name, process, kind = left.name.removeprefix(".").rsplit(".", 2)
        if not process.isdecimal():
            continue
        path = left.with_name(name)
        if kind == "old" and not path.exists():
            left.replace(path)
            done.append(f"{path}: its content of before was brought back")
        elif left.is_dir():
            shutil.rmtree(left)
            done.append(f"{left}: removed")
        else:
            left.unlink()
            done.append(f"{left}: removed")
    return done


class GrowingArray(AbstractContextManager["GrowingArray"]):
    """An ``.npy`` file whose number of rows is known when the last of them is there.

    The header is written again then; NumPy pads it so that another number needs no more room.
    Ordinary writes: a full disk kills a process that maps a file.

    Args:
        path: of the file.
        row_shape: of one row.
        kind: of the numbers, "|u1" or "<f4".
    """

    def __init__(self, path: Path, row_shape: Sequence[int], kind: str) -> None:
        self.path = path
        self.rows = 0
        self._row_shape = tuple(row_shape)
        self._kind = np.dtype(kind)
        self._file = path.open("wb")
        self._write_header()

    def add(self, rows: np.ndarray) -> None:
        """Append rows (K, *row_shape).

        Raises:
            ValueError: rows of another shape.
        """
        if rows.shape[1:] != self._row_shape:
            raise ValueError(f"expected rows of shape {self._row_shape}, found {rows.shape[1:]}")
        self._file.write(np.ascontiguousarray(rows, dtype=self._kind).data)
        self.rows += len(rows)

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
        self._array, self._description = array, description

    def array(self) -> np.ndarray:
        """What it holds, a read-only memory map."""
        return np.asanyarray(np.load(self.folder / self._array, mmap_mode="r", allow_pickle=False))

    def described(self) -> dict[str, Any] | None:
        """Its description, None where there is none or one of the files was damaged."""
        try:
            self.array()
            found = json.loads((self.folder / self._description).read_text(encoding="utf-8"))
        except (OSError, ValueError):
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
            (temporary / self._description).write_text(json.dumps(description), encoding="utf-8")
