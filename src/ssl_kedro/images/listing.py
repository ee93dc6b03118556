"""What lies in an image folder: parts, classes, files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.decode import EXTENSIONS

EVALUATION_PARTS = ("test", "val", "eval")


@dataclass(frozen=True)
class Listing:
    """Files of one part.

    Args:
        paths: relative to the source's root, with forward slashes; sorted within a class.
        labels: index into ``class_names`` for each path; None where unlabelled.
        class_names: names of the class folders, sorted.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...] | None
    class_names: tuple[str, ...]


def existing_root(config: DataConfig, expected: str) -> Path:
    """The configured root, checked to be a folder.

    Args:
        config: of the source.
        expected: what the folder should hold, for messages.

    Raises:
        ImageSourceError: it is not given, missing, or not a folder.
    """
    remedy = "set data.root to that folder"
    if config.root is None or not config.root.strip():
        raise config.root_error("no folder given", expected, remedy)
    root = Path(config.root).expanduser()
    if not root.exists():
        found = f"no such folder (looked in {root.absolute()})"
        raise config.root_error(found, expected, remedy)
    if not root.is_dir():
        raise config.root_error("a file, not a folder", expected, remedy)
    return root


def listed(root: Path, part: str) -> Listing:
    """Images of one part of a root, by class folder if there are any.

    Hidden files and files with other extensions are passed over, and so are folders without
    images.

    Args:
        root: folder of the source.
        part: name of the part's folder, or "" where the root has no parts.
    """
    folder = root / part
    names = sorted(entry.name for entry in os.scandir(folder) if _is_visible_folder(entry))
    classes = [(name, files) for name in names if (files := images_below(root, f"{part}/{name}"))]
    if not classes:
        return Listing(tuple(_direct_images(root, part)), None, ())
    paths = [path for _, files in classes for path in files]
    labels = [label for label, (_, files) in enumerate(classes) for _ in files]
    return Listing(tuple(paths), tuple(labels), tuple(name for name, _ in classes))


def loose_images(root: Path, part: str) -> list[str]:
    """Images that lie directly in a part's folder, outside any class folder."""
    return _direct_images(root, part)


def images_below(root: Path, folder: str = "", *, follow_links: bool = False) -> list[str]:
    """All images at any depth below a folder of a root; hidden ones left out.

    Args:
        root: that paths are relative to, with forward slashes, sorted.
        folder: below the root; "" = the root itself.
        follow_links: to folders, each folder once.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(root / folder.lstrip("/"), followlinks=follow_links):
        if follow_links:
            status = os.stat(place)  # noqa: PTH116  os.walk gives strings
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
        # In this order the first of several links to a folder is the one that counts.
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        prefix = os.path.relpath(place, root).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        found += [prefix + name for name in names if _is_image(name)]
    return sorted(found)


def _is_visible_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in EXTENSIONS


def _direct_images(root: Path, part: str) -> list[str]:
    with os.scandir(root / part) as entries:
        names = [entry.name for entry in entries if _is_image(entry.name) and not entry.is_dir()]
    return sorted(str(PurePosixPath(part, name)) for name in names)
