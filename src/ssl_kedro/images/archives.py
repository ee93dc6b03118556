"""Images in one archive, .zip or .tar: unpacked once, into a folder beside the memory maps.

Only images and tables come out, by names that lie inside the folder; links and devices do not.
An archive that has changed since is unpacked anew.
"""

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from ssl_kedro.core.errors import first_line
from ssl_kedro.core.files import replaced_folder, storage_told
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.images.files import is_image, is_visible_folder
from ssl_kedro.images.load import DataConfig

_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    """Whether a path is that of an archive, by its name."""
    return path.name.lower().endswith(_ENDINGS) and not path.is_dir()


def unpacked(path: Path, config: DataConfig) -> Path:
    """Folder of the images of an archive.

    Args:
        path: of the archive.
        config: its ``cache_dir`` takes the folder.

    Raises:
        ImageSourceError: it is damaged, encrypted, or has no image in it.
        StorageError: the disk cannot take it.
    """
    state = path.stat()
    told = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    name = f"unpacked-{hashlib.sha256(told.encode()).hexdigest()[:20]}"
    folder = Path(config.cache_dir) / name
    if folder.is_dir():
        return _inner(folder)
    with storage_told(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{name}.lock")):
            if not folder.is_dir():
                with replaced_folder(folder) as part:
                    _unpack(path, part, config)
    return _inner(folder)


def _inner(folder: Path) -> Path:
    """The folder, or the one in it where it holds nothing else: archives are often packed so."""
    found = list(folder.iterdir())
    parts = ("train", "test")
    alone = len(found) == 1 and found[0].is_dir() and found[0].name not in parts
    return found[0] if alone else folder


def _unpack(path: Path, folder: Path, config: DataConfig) -> None:
    count = 0
    try:
        with progress_bar(None, f"unpacking {path.name}", "files") as bar:
            for name, content in _members(path):
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    shutil.copyfileobj(content, file)
                count += is_image(place.name)
                bar.update()
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError) as error:
        raise _error(config, f"one that cannot be read ({first_line(error)})") from error
    if not count:
        raise _error(config, "no image in it")


def _error(config: DataConfig, found: str) -> Exception:
    kinds = ", ".join(_ENDINGS)
    return config.error("root", found, f"an archive of images ({kinds})", "unpack it by hand")


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each file that is wanted."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir() and _wanted(info.filename):
                    with archive.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None and _wanted(member.name):
                yield member.name, file


def _wanted(name: str) -> bool:
    """Whether a member is an image or a table that stays inside the folder, and is not hidden."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    visible = all(map(is_visible_folder, path.parts))
    return inside and visible and (is_image(path.name) or path.suffix.lower() == ".csv")
