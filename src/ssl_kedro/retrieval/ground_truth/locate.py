"""Image files on disk, found by the names that ground truths use.

Ground truths name images with or without an extension, with or without folders, and the images
lie in one folder or in one folder for each landmark. The tree is listed once; each name is then
one or two look-ups.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ssl_kedro.core.errors import first_few, shown
from ssl_kedro.images.files import EXTENSIONS, images_below
from ssl_kedro.retrieval.ground_truth.model import GroundTruthError


class ImageTree:
    """The images below a folder.

    Hidden files and folders, and files without a known image extension, are passed over, as in
    image sources. Links to folders are followed, each folder once.

    Args:
        root: the folder.

    Raises:
        GroundTruthError: it is not a folder, or holds no image.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            found = "a file" if root.exists() else "no such folder"
            expected, remedy = "the folder of images", "set the path to that folder"
            raise GroundTruthError(found, expected, remedy, root)
        self.paths = tuple(images_below(root, follow_links=True))
        if not self.paths:
            expected = f"files with one of the extensions {', '.join(sorted(EXTENSIONS))}"
            raise GroundTruthError("no image", expected, "unpack the data set's images there", root)
        self._by_tail = cache(self._tails)

    def matches(self, name: str) -> list[str]:
        """Paths that a name can mean, relative to the root; best kind of match only.

        In this order: the path itself, the path without its extension, then the same two for
        the path's last parts.

        Args:
            name: with or without extension and folders, with forward slashes.
        """
        key = _lower_extension(name)
        for depth in (0, name.count("/") + 1):
            whole, bare = self._by_tail(depth)
            if found := whole.get(key) or bare.get(key):
                return found
        return []

    def _tails(self, depth: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Paths by their last ``depth`` parts (0: all), with and without extension."""
        whole: dict[str, list[str]] = {}
        bare: dict[str, list[str]] = {}
        for path in self.paths:
            parts = path.split("/")
            if len(parts) < depth:
                continue
            tail = _lower_extension(shown("/".join(parts[-depth:])))
            whole.setdefault(tail, []).append(path)
            bare.setdefault(tail[: tail.rindex(".")], []).append(path)
        return whole, bare


def located(root: Path, names: Sequence[str]) -> list[Path]:
    """The image file of each name, wherever it lies below a folder.

    A name is a path below the root or below a folder in it, with or without extension; Paris6k
    for example has one folder for each landmark, and its names have neither folder nor
    extension.

    Args:
        root: folder of images.
        names: as a ground truth spells them.

    Returns:
        A file for each name, in the same order.

    Raises:
        GroundTruthError: names without a file, or with several.
    """
    tree = ImageTree(root)
    found = [tree.matches(name) for name in names]
    missing = [name for name, paths in zip(names, found, strict=True) if not paths]
    if missing:
        raise GroundTruthError(
            f"no file for {len(missing)} of {len(names)} images "
            f"({first_few(map(repr, missing))}) among the "
            f"{len(tree.paths)} images there and in folders below, such as {tree.paths[0]!r}",
            "a file of that name, with or without extension and folders",
            "complete the folder, or set the path to the right one",
            root,
        )
    several = [(name, paths) for name, paths in zip(names, found, strict=True) if len(paths) > 1]
    if several:
        name, paths = several[0]
        raise GroundTruthError(
            f"several files for {len(several)} of {len(names)} images; {name!r} can be "
            f"{first_few(map(repr, paths))}",
            "one file for each name",
            "take the copies out, or set the path to one folder of images",
            root,
        )
    return [root / path for (path,) in found]


def _lower_extension(name: str) -> str:
    """The name with a known extension in lower case; others are part of the name."""
    stem, dot, extension = name.rpartition(".")
    return f"{stem}.{extension.lower()}" if dot + extension.lower() in EXTENSIONS else name
