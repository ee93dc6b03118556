"""Opening an image file of any size: only its header is read, and nothing is run.

Pillow refuses images of more than 179 million pixels when it opens them, whatever is to be done
with them. That is a limit of the whole process; here each caller states its own, and checks it
before it decodes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

_ORIENTATION = 0x0112
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


def opened_image(file: BinaryIO, formats: Sequence[str]) -> Image.Image:
    """An image with its header read, as ``Image.open`` without its limit on pixels.

    Args:
        file: at its start; stays open, and belongs to the caller.
        formats: Pillow's names of the formats that may be tried, already registered.

    Raises:
        UnidentifiedImageError: none of these formats, or a broken header.
    """
    prefix = file.read(16)
    for name in formats:
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
    if told and image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS:
        return image.height, image.width
    return image.size


def reason_of(error: Exception) -> str:
    """Why an image could not be decoded, in the words of what failed."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
