"""One image file to uint8 RGB.

Fate of every kind of file:

========================= ==================================================================
RGB, YCbCr, CMYK          converted to RGB (CMYK with Pillow's formula, without ICC profiles)
grey, 1-bit               the three channels equal
palette                   looked up
transparency of any kind  composited on white
16-bit grey               divided by 257 and rounded, so that 65535 becomes 255
16-bit colour             the high byte, as Pillow decodes it
EXIF orientation          applied
animated, several pages   the first frame
not square                the central square whose side is the shorter side
float or 32-bit grey      unreadable: white is not defined (integers up to 65535 are 16-bit)
truncated, broken, empty  unreadable
over Pillow's pixel limit unreadable (``PIL.Image.MAX_IMAGE_PIXELS``, 89 million by default)
========================= ==================================================================
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ssl_kedro.images.errors import UnreadableImageError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
)

# Other decoders stay shut: a file called .jpg may hold PostScript, which Pillow would run.
# Registered here, since Pillow's own registration on first use is not made for threads.
Image.init()
_FORMATS = tuple(
    name for name in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM") if name in Image.OPEN
)

# What Pillow's decoders raise on damaged data, found by corrupting files at random.
_DECODER_ERRORS = (
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

_ORIENTATION = 0x0112


def decoded_image(path: Path, size: int) -> np.ndarray:
    """One file as uint8 (3, size, size), RGB, row 0 at the top.

    The image is resized with an antialiased bilinear kernel so that its shorter side is
    ``size``, and cropped to the central square. JPEG files more than four times as large
    are decoded at a reduced scale (at least twice ``size``), which is faster.

    Args:
        path: of the file; its content decides the format, not its name.
        size: side of the result in pixels.

    Raises:
        UnreadableImageError: the file cannot be decoded; the text is the reason.
    """
    try:
        data = path.read_bytes()
        if not data:
            raise UnreadableImageError("empty file")
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            return _decoded(image, size)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image of a known format, or a broken header") from error
    except _DECODER_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImageError(f"cannot be decoded: {reason}") from error


def resized_square(image: Image.Image, size: int) -> Image.Image:
    """Central square of an image at size x size pixels, antialiased bilinear."""
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def _decoded(image: Image.Image, size: int) -> np.ndarray:
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise UnreadableImageError(f"{width} x {height} pixels, more than the limit of {limit}")
    image.draft(None, (2 * size, 2 * size))
    image.load()
    upright: Image.Image = image
    if image.getexif().get(_ORIENTATION, 1) != 1:
        upright = ImageOps.exif_transpose(image)
    pixels = np.asarray(resized_square(_rgb(upright), size))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB; see the table at the top of this file."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels, whose white is not defined")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImageError("32-bit integer pixels outside 0 to 65535")
    # 65535 = 255 * 257; adding half of 257 before the division rounds to the nearest.
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
