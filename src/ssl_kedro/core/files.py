"""Writing files so that a reader sees either the old content or the new, never a part."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from ssl_kedro.core.errors import UserError, first_line


class DamagedFileError(UserError, ValueError):
    """A file whose content is not what its place says.

    Cause: a file was cut off, overwritten or written by another program.
    Remedy: delete what the message names and run again; results are made anew.
    """


class StorageError(UserError, OSError):
    """A disk that is full, read-only, or not to be written to.

    Cause: the disk has less room than the results need, or belongs to somebody else.
    Remedy: free as many bytes as the message says, or run from a folder on another disk.
    Earlier results are whole.
    """

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
