"""Data that lie elsewhere: brought to this machine once, and again where they have changed.

Whatever fsspec can list has a place such as ``s3://bucket/folder``. Readers of images and tables
want paths of this machine, and read each file more than once, so that a copy is kept below
``data/01_raw/downloads`` (ADR 25).
"""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar

from filelock import FileLock
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import get_filesystem_class

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError, UserError, first_line
from ssl_kedro.core.extras import how_to_install
from ssl_kedro.core.files import StorageError, free_bytes, replaced_file, storage_told
from ssl_kedro.core.progress import progress_bar

DOWNLOADS = Path("data/01_raw/downloads")
# What file systems tell of a file that changes with its content, besides its size.
_TELLING = (
    *("etag", "md5hash", "generation"),
    *("lastmodified", "last_modified", "mtime", "modified", "updated", "created"),
)
# By file below a root, "" where the root is a file: size, None = unknown, and the above.
Listing: TypeAlias = dict[str, tuple[int | None, str]]
_BATCH = 128
_OUR_DISK = {errno.ENOSPC, errno.EROFS, errno.EDQUOT}


class RemoteError(InputError):
    """Data elsewhere that cannot be reached, read or written.

    Cause: a wrong address, missing credentials, no network, or files that changed while they
    came.
    Remedy: check address and credentials (docs/remote.md), and run again: what has come is
    kept.
    """


def is_remote(place: str | None) -> bool:
    """Whether a place is a URL, not a path of this machine."""
    return place is not None and "://" in place


def check_scheme(key: str, place: str | None) -> None:
    """Refuse a place of which it is known without asking that it cannot be read.

    Raises:
        ConfigError: a scheme that there is not or whose package is missing, or a password in it.
    """
    for part in (place or "").split("::") if is_remote(place) else ():
        scheme, path = split_protocol(part)
        try:
            get_filesystem_class(scheme or path)
        except (ImportError, ValueError) as error:
            how = f"; {how_to_install('s3fs')}" if scheme in ("s3", "s3a") else ""
            expected = f"a path of this machine, or a URL it can read: {first_line(error)}{how}"
            raise ConfigError(key, place, expected) from error
        user, at, _ = path.partition("/")[0].rpartition("@")
        if at and ":" in user:
            hidden = f"{scheme}://...{path.removeprefix(user)}"
            expected = "no password, which would be tracked; give it as credentials in the catalog"
            raise ConfigError(key, hidden, expected)


C = TypeVar("C")


def at_hand(config: C, storage_options: Mapping[str, Any] | None, *fields: str) -> C:
    """A configuration whose places are all on this machine.

    Args:
        config: a dataclass.
        storage_options: see :func:`local_copy`.
        fields: of it that are places.

    Raises:
        RemoteError: as :func:`local_copy`.
    """
    places = {name: getattr(config, name) for name in fields}
    found = {
        name: str(local_copy(place, storage_options))
        for name, place in places.items()
        if is_remote(place)
    }
    return dataclasses.replace(config, **found) if found else config  # type: ignore[type-var]


def local_copy(place: str, storage_options: Mapping[str, Any] | None = None) -> Path:
    """Path of a file or folder on this machine, downloaded if it is elsewhere.

    Files that an earlier call has brought and that have not changed since are not brought again,
    also where that call was interrupted; those that are gone there are removed here.

    Args:
        place: path or URL.
        storage_options: of the file system: credentials, ``endpoint_url``, ...

    Raises:
        RemoteError: it cannot be reached or read, or holds nothing.
        StorageError: this machine's disk cannot take it.
    """
    if not is_remote(place):
        return Path(place).expanduser()
    with reached(place):
        system, root = url_to_fs(place, **(storage_options or {}))
        if isinstance(system, LocalFileSystem):
            return Path(root)
        system.invalidate_cache()
        there = _listing(system, root)
    if not there:
        raise RemoteError(place, "nothing there", "files", "correct the address")
    key = hashlib.sha256(place.rstrip("/").encode()).hexdigest()[:16]
    copy = DOWNLOADS / key / (PurePosixPath(root).name or "files")
    with storage_told(copy):
        DOWNLOADS.mkdir(parents=True, exist_ok=True)
        with FileLock(DOWNLOADS / f"{key}.lock"):
            lacking = _lacking(copy, there, _recorded(copy))
            with replaced_file(DOWNLOADS / f"{key}.json") as temporary:
                temporary.write_text(json.dumps({"of": place, "files": there}), encoding="utf-8")
            with reached(place):
                _bring(system, root, copy, {name: there[name] for name in lacking})
    return copy


@contextmanager
def reached(place: object) -> Iterator[None]:
    """Have one sentence told of whatever goes wrong with a file system elsewhere.

    Each has errors of its own (S3's are no ``OSError``), so that all kinds are caught.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or getattr(error, "errno", None) in _OUR_DISK:
            raise
        missing = isinstance(error, FileNotFoundError)
        raise RemoteError(
            place,
            "nothing there" if missing else f"{type(error).__name__}: {first_line(error)}",
            "a place that can be reached with these credentials",
            "check address, credentials and network, and run again",
        ) from error


def _listing(system: Any, root: str) -> Listing:
    """Files at a place; none where there is nothing."""
    there: Listing = {}
    for name, found in system.find(root, detail=True).items():
        if name.endswith("/"):  # an empty object that S3's own pages make for a folder
            continue
        relative = name[len(root) :].lstrip("/")
        if ".." in relative.split("/"):
            raise RemoteError(root, f"a file called {relative!r}", "no '..' in names", "rename it")
        told = found if found.get("size") is not None else system.info(name)
        lower = {key.lower(): str(value) for key, value in told.items()}
        there[relative] = told.get("size"), "|".join(lower.get(key, "") for key in _TELLING)
    return there


def _recorded(copy: Path) -> Listing:
    """The listing that what lies in a copy is of."""
    try:
        record = json.loads(copy.parent.with_suffix(".json").read_text(encoding="utf-8"))
        return {name: tuple(told) for name, told in record["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _lacking(copy: Path, there: Listing, recorded: Listing) -> list[str]:
    """Files that are to come, after those that have changed, are gone or were damaged are removed.

    Each file that is here then is one of the new listing, so that nothing has to be written down
    while the others come.
    """
    root = copy.absolute().as_posix()
    kept = set()
    for path, found in LocalFileSystem().find(root, detail=True).items():
        name = path[len(root) :].lstrip("/")
        if recorded.get(name) == there.get(name) and _whole(found["size"], there.get(name)):
            kept.add(name)
        else:
            Path(path).unlink()
    return [name for name in there if name not in kept]


def _whole(size: int, told: tuple[int | None, str] | None) -> bool:
    return told is not None and told[0] in (None, size)


def _bring(system: Any, root: str, copy: Path, there: Listing) -> None:
    """Download files below a root, or the root itself where it is one."""
    if not there:
        return
    size = sum(told[0] or 0 for told in there.values())
    if size > (free := free_bytes(copy)):
        raise StorageError.of(copy, os.strerror(errno.ENOSPC), size, free)
    logging.getLogger(__name__).info("%s: downloading %d files", root, len(there))
    arriving = copy.with_name(f"{copy.name}.arriving")
    with progress_bar(len(there), "downloading", "files") as bar:
        for start in range(0, len(there), _BATCH):
            shutil.rmtree(arriving, ignore_errors=True)
            arriving.mkdir(parents=True)
            names = list(there)[start : start + _BATCH]
            parts = [arriving / str(number) for number in range(len(names))]
            there_as = [f"{root.rstrip('/')}/{name}" if name else root for name in names]
            system.get(there_as, list(map(str, parts)))
            for part, name in zip(parts, names, strict=True):
                if not _whole(part.stat().st_size, there[name]):
                    raise RemoteError(root, f"{name} changing", "files at rest", "run again")
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                part.replace(copy / name)
            bar.update(len(names))
    arriving.rmdir()
