"""Writing files so that a reader sees either the old content or the new, never a part.

A store is a folder with an array and a description of what it was made from. The array grows as it
is made and is read by memory map afterwards; the folder gets its name when it is complete.
"""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeGuard

import numpy as np

from ssl_kedro.core.errors import UserError, first_line


class DamagedFileError(UserError, ValueError):
    """A file whose content is not what its place says."""


class StorageError(UserError, OSError):
    """A disk that is full, read-only, or not to be written to."""

    @classmethod
    def of(cls, path: Path, reason: str, needed: int, free: int) -> Self:
        """What is said of one.

        Args:
            path: of the file or folder that cannot be written.
            reason: in the system's words.
            needed: bytes that it takes, at least.
            free: bytes on that disk.
        """
        return cls(
            f"{path} cannot be written ({reason}): it needs at least {needed / 1e6:,.1f} MB, "
            f"{free / 1e6:,.1f} MB are free there; what was written before is as it was. Free "
            "space, or have it written to another disk"
        )


@contextmanager
def reading(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Within, whatever a damaged file makes its reader raise is one error that names the file.

    Args:
        path: of the file or folder.
        what: it should hold, "a faiss index".
        remedy: what to do, as a sentence of its own without its full stop.

    Raises:
        DamagedFileError: it cannot be read; FileNotFoundErrors and UserErrors pass.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:  # readers of damaged files raise any kind
        found = "a folder" if path.is_dir() else "a file that cannot be read as one"
        raise DamagedFileError(
            f"{path}: expected {what}, found {found}: {first_line(error)}. {remedy}"
        ) from error


# Of these the user can mend the cause. Other libraries say the same words in errors of their own,
# but for NumPy, which says how many numbers it has written.
_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_FAULTS = {os.strerror(code): os.strerror(code) for code in _CODES}
_FAULTS["requested and"] = os.strerror(errno.ENOSPC)

# What files and folders may not be used for by others; there is no asking without setting it.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def storage_told(path: Path, needed: int = 0, temporary: Path | None = None) -> Iterator[None]:
    """Within, a disk that does not take what is written is told with place, need and room.

    Args:
        path: of the file or folder that is written.
        needed: bytes that it takes, as far as that is known.
        temporary: where it is written before it gets its name.

    Raises:
        StorageError: the disk is full, read-only, or not to be written to.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = next((_FAULTS[words] for words in _FAULTS if words in str(error)), None)
        if reason is None:
            raise
        # What is there already goes when the block ends.
        written = 0 if temporary is None else size_of(temporary)
        needed = max(needed, written, size_of(path))
        raise StorageError.of(path, reason, needed, free_bytes(path) + written) from error


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 where there is nothing."""
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:
        return 0


def free_bytes(path: Path) -> int:
    """Room on the disk that a path is on; the path need not be there yet."""
    path = path.absolute()
    return shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free


@contextmanager
def replaced_file(path: Path, needed: int = 0) -> Iterator[Path]:
    """Temporary path beside ``path`` that takes its place when the block ends well.

    On an error the temporary file is removed and ``path`` stays as it was.

    Args:
        path: of the file.
        needed: see :func:`storage_told`.

    Raises:
        StorageError: the disk cannot take the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with storage_told(path, needed, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _let_others_read(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # there is none, or nothing can be removed either
            temporary.unlink()


@contextmanager
def replaced_folder(path: Path, needed: int = 0) -> Iterator[Path]:
    """Temporary folder beside ``path`` that takes its place when the block ends well.

    A folder cannot be replaced in one step where one exists: the old one is renamed first
    and removed last, so that a kill in between leaves it on disk under its second name.
    Arguments and errors are those of :func:`replaced_file`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    previous = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with storage_told(path, needed, temporary):
            temporary.mkdir(parents=True)
            yield temporary
            for written in temporary.rglob("*"):
                _let_others_read(written)
            if path.exists():
                path.replace(previous)
            temporary.replace(path)
    finally:
        if previous.exists() and not path.exists():
            previous.replace(path)
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


def rows_of(array: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Rows from ``first`` to before ``stop``; of a memory map, a map of its own."""
    if not _is_map(array):
        return array[first:stop]
    offset = array.offset + first * (array.nbytes // max(1, len(array)))
    shape = (stop - first, *array.shape[1:])
    return np.memmap(str(array.filename), array.dtype, "r", offset, shape)


def _is_map(array: np.ndarray) -> TypeGuard[np.memmap[Any, Any]]:
    """Whether it is all of a memory map: a part of one keeps the whole's offset."""
    if not isinstance(array, np.memmap) or not array.filename or not array.size:
        return False
    return not isinstance(array.base, np.ndarray) and array.flags.c_contiguous


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
        if not _is_map(array):
            return cls(np.asarray(array))
        path = Path(str(array.filename)).absolute()
        return cls(None, path, array.offset, array.shape, array.dtype.str)

    def opened(self) -> np.ndarray:
        """The array, a read-only map where it lies in a file."""
        if self.array is not None or self.path is None:
            return np.asarray(self.array)
        return np.memmap(self.path, self.kind, "r", self.offset, self.shape)


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
            with reading(self.folder, "an array and its description", "It is made again"):
                self.array()
                found = json.loads((self.folder / self._description).read_text(encoding="utf-8"))
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
            (temporary / self._description).write_text(json.dumps(description), encoding="utf-8")
