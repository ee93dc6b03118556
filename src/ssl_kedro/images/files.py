"""Finding and opening image files of any size, and what is wrong with those that cannot be read.

Only their header is read, and nothing is run. Pillow refuses images of more than 179 million pixels
when it opens them, a limit of the whole process; here each caller states its own, and checks it
before it decodes.
"""

import errno
import logging
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import UserError, first_few, shown

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
)

# Other decoders stay shut: a file called .jpg may hold PostScript, which Pillow would run.
# Registered here, since Pillow's own registration on first use is not made for threads.
Image.init()
FORMATS = tuple(
    name for name in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM") if name in Image.OPEN
)

_SIDEWAYS = frozenset({5, 6, 7, 8})

# What Pillow's plugins raise where a file is not theirs after all; as in Image.open.
_NOT_THIS_ONE = (SyntaxError, IndexError, TypeError, struct.error)

# What Pillow's decoders raise on damaged data, found by corrupting files at random.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class UnreadableImageError(UserError, ValueError):
    """One file that cannot be decoded; its text is the reason.

    Cause: the file is empty, cut off, far too large, or not an image.
    Remedy: replace or remove it. Runs skip up to ``data.max_skipped`` of such files and list
    them.
    """


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image; hidden ones are not."""
    return not name.startswith(".") and _ends_in(name, EXTENSIONS)


def _ends_in(name: str, endings: frozenset[str]) -> bool:
    # A fifth of the time that a path takes, which is seconds for a million names.
    return os.path.splitext(name)[1].lower() in endings  # noqa: PTH122


def is_visible_folder(name: str) -> bool:
    """Whether a folder's name is that of one to look into."""
    return not name.startswith((".", "__MACOSX"))


def images_below(root: Path, folder: str = "", *, follow_links: bool = False) -> list[str]:
    """All images at any depth below a folder of a root; hidden ones left out.

    Args:
        root: that paths are relative to, with forward slashes, sorted.
        folder: below the root; "" = the root itself.
        follow_links: to folders, each folder once.
    """
    return sorted(_images_below(root, folder, follow_links))


def any_image_below(root: Path, folder: str) -> bool:
    """Whether :func:`images_below` would find one; looks no further than the first."""
    return any(True for _ in _images_below(root, folder, follow_links=False))


def _images_below(root: Path, folder: str, follow_links: bool) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(root / folder.lstrip("/"), followlinks=follow_links):
        if follow_links:
            status = os.stat(place)  # noqa: PTH116  os.walk gives strings
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
        # In this order the first of several links to a folder is the one that counts.
        folders[:] = sorted(filter(is_visible_folder, folders))
        prefix = os.path.relpath(place, root).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        yield from (prefix + name for name in names if is_image(name))


def passed_over(root: Path, known: frozenset[str] = EXTENSIONS) -> dict[str, int]:
    """How many files below a folder are of a kind that is not read; the log says so once.

    Args:
        root: the folder; links to folders are not followed, hidden files are left out.
        known: endings of what is read.

    Returns:
        Numbers by ending, "" where a name has none, the most frequent first.
    """
    found: Counter[str] = Counter()
    for _, folders, names in os.walk(root):
        folders[:] = filter(is_visible_folder, folders)
        others = (name for name in names if name[0] != "." and not _ends_in(name, known))
        found.update(shown(PurePosixPath(name).suffix.lower()) for name in others)
    counts = dict(found.most_common())
    if counts:
        _say(f"Passed over in {shown(str(root))}: {counted_kinds(counts)}")
    return counts


def counted_kinds(counts: Mapping[str, int]) -> str:
    """What :func:`passed_over` has found, in words: "12 .heic files, 1 file without an ending"."""
    return first_few(
        (
            f"{count} {ending} file{'s' * (count > 1)}"
            if ending
            else f"{count} file{'s' * (count > 1)} without an ending"
            for ending, count in counts.items()
        ),
        most=10,
    )


@cache
def _say(text: str) -> None:
    """Each text once: the parts of a source are read one by one."""
    logging.getLogger(__name__).warning(text)


def opened_file(path: Path) -> BinaryIO:
    """A file for :func:`opened_image`.

    Raises:
        OSError: it cannot be opened, or is a pipe, socket or device, whose reading may never end.
    """
    if not path.is_file() and path.exists() and not path.is_dir():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")


def opened_image(file: BinaryIO) -> Image.Image:
    """An image with its header read, as ``Image.open`` without its limit on pixels.

    Args:
        file: at its start; stays open, and belongs to the caller.

    Raises:
        UnidentifiedImageError: none of ``FORMATS``, or a broken header.
    """
    prefix = file.read(16)
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        # Some plugins answer with a text: that they know the file, but cannot read it here.
        answer = accept is None or accept(prefix)
        if isinstance(answer, str) or not answer:
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except _NOT_THIS_ONE:
            continue
    raise UnidentifiedImageError("not an image of a known format, or a broken header")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height the way up that an image was taken; decodes nothing.

    Args:
        image: opened, not loaded.
    """
    # Pillow decodes a PNG to look for an orientation behind its pixels, where it hardly ever is.
    told = image.format != "PNG" or "exif" in image.info
    if told and image.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS:
        return image.height, image.width
    return image.size


def reason_of(error: Exception) -> str:
    """Why an image could not be decoded, in the words of what failed."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def check_skipped(
    skipped: Sequence[Sequence[str]], count: int, allowed: float, label: str, parameter: str
) -> None:
    """Refuse to go on once too many images were unreadable.

    Args:
        skipped: name and reason of each unreadable image so far.
        count: all images.
        allowed: share of them that may be unreadable; below 0 = not even none.
        label: of the collection, for the message.
        parameter: that sets the share, for the message.

    Raises:
        ConfigError: naming the first few.
    """
    if len(skipped) <= allowed * count:
        return
    named = "; ".join(f"{name} ({reason})" for name, reason in skipped[:5])
    raise ConfigError(
        "max_skipped",
        allowed,
        f"at most {max(allowed, 0):.2%} of the {count} images of {label} to be unreadable, found "
        f"{len(skipped)} so far: {named}. Repair or remove these files, or raise {parameter} to "
        f"go on without them",
    )
