"""Writing files so that a reader sees either the old content or the new, never a part."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_kedro.core.errors import UserError


class DamagedFileError(UserError, ValueError):
    """A file whose content is not what its place says."""


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Temporary path beside ``path`` that takes its place when the block ends well.

    On an error the temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
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
        if path.exists():
            path.replace(previous)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)
