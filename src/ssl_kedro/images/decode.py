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
not square                the central square whose side is the shorter side, or what a form says
float or 32-bit grey      unreadable: white is not defined (integers up to 65535 are 16-bit)
truncated, broken, empty  unreadable
over the pixel limit      unreadable (``PIL.Image.MAX_IMAGE_PIXELS``, 89 million by default, where
                          the caller states none)
========================= ==================================================================

Memory: Pillow keeps 4 bytes a pixel of what it decodes. A JPEG is decoded at an eighth of its sides
where that is enough (a progressive one also needs 2 bytes a coefficient: 3 to 6 a pixel); nothing
else can be. Images that are large even so are decoded one at a time, however many threads ask.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ssl_kedro.core.form import Form, with_sides
from ssl_kedro.images.files import (
    DECODER_ERRORS,
    UnreadableImageError,
    opened_file,
    opened_image,
    reason_of,
)

# Decoded pixels above which an image waits until no other such one is in memory: 128 MB.
_LARGE_PX = 2**25
_large = Lock()


def decoded_image(source: Path | Image.Image, size: int | Form) -> np.ndarray:
    """One image as uint8 (3, size, size), RGB, row 0 at the top, or as a form has it.

    The image is resized with an antialiased bilinear kernel so that its shorter side is
    ``size``, and cropped to the central square. JPEG files more than four times as large
    are decoded at a reduced scale (at least twice ``size``), which is faster.

    Args:
        source: a file, whose content decides the format, not its name; or a picture in memory,
            of any mode, which is not changed.
        size: side of the result in pixels, or what is to be kept of the picture.

    Raises:
        UnreadableImageError: it cannot be decoded; the text is the reason.
    """
    if isinstance(source, Image.Image):
        with _faults_told():
            return _formed(source, size)
    with _opened(source) as image, _drafted(image, _least(size), None):
        return _formed(image, size)


def decoded_inside(path: Path, offset: int, count: int, size: int | Form) -> np.ndarray:
    """One image inside of a larger file, as :func:`decoded_image`.

    Args:
        path: of the file.
        offset: of the image's first byte.
        count: bytes of the image.
        size: as there.

    Raises:
        UnreadableImageError: it cannot be decoded; the text is the reason.
    """
    with _faults_told():
        with opened_file(path) as file:
            file.seek(offset)
            data = file.read(count)
        if len(data) < count:
            raise UnreadableImageError(f"the file ends {count - len(data)} bytes too early")
    return decoded_bytes(data, size)


def decoded_bytes(data: bytes, size: int | Form) -> np.ndarray:
    """One image file in memory, as :func:`decoded_image`.

    Raises:
        UnreadableImageError: it cannot be decoded; the text is the reason.
    """
    with _faults_told(), _header_read(data) as image, _drafted(image, _least(size), None):
        return _formed(image, size)


def decoded_part(
    path: Path,
    resize: "Resize",
    box: Sequence[float] | None = None,
    max_pixels: float | None = None,
) -> np.ndarray:
    """One file, or a box of it, as uint8 (3, H, W), RGB, without cropping to a square.

    Args:
        path: of the file.
        resize: to which height and width.
        box: left, top, right, bottom in px of the upright image; rounded, clipped to it.
        max_pixels: of the file; None = Pillow's limit.

    Raises:
        UnreadableImageError: the file cannot be decoded, or the box is empty.
    """
    # A box is in pixels of the full image, so that a reduced one would not do.
    least = None if box is not None else 2 * resize.side
    with _opened(path) as image, _drafted(image, least, max_pixels):
        whole = _upright(image)
        cut = (0, 0, *whole.size) if box is None else _within(box, whole.size)
        shape = resize.shape(cut[2] - cut[0], cut[3] - cut[1])
        return _pixels(whole.resize(shape, Image.Resampling.BILINEAR, box=cut))


def decoded_thumbnail(path: Path, side: int) -> np.ndarray:
    """One file as uint8 (3, H, W), RGB, whole; the longer of H and W is ``side`` px at most.

    Raises:
        UnreadableImageError: it cannot be decoded; the text is the reason.
    """
    with _opened(path) as image, _drafted(image, 2 * side, None):
        whole = _upright(image)
        whole.thumbnail((side, side), Image.Resampling.BILINEAR)
        return _pixels(whole)


@dataclass(frozen=True)
class Resize:
    """To which size images are brought.

    Args:
        side: in px.
        keep_aspect: bring the longer side to ``side`` and the other in proportion; else both
            (which distorts, as thesis 3.4.1 does: a fixed resolution of 724 x 724).
    """

    side: int
    keep_aspect: bool = False

    def shape(self, width: float, height: float) -> tuple[int, int]:
        """Width and height of the result in px."""
        if not self.keep_aspect:
            return self.side, self.side
        scale = self.side / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))


def _within(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(float(value)) for value in box)
    left, right = max(0, left), min(size[0], right)
    top, bottom = max(0, top), min(size[1], bottom)
    if left >= right or top >= bottom:
        raise UnreadableImageError(
            f"the box {tuple(map(float, box))} holds no pixel of an image of {size[0]} x {size[1]}"
        )
    return left, top, right, bottom


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A file with its header read, while it is decoded."""
    with _faults_told():
        with opened_file(path) as file:
            data = file.read()
        with _header_read(data) as image:
            yield image


def _header_read(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImageError("empty file")
    return opened_image(BytesIO(data))


@contextmanager
def _faults_told() -> Iterator[None]:
    """Every fault of a file or decoder as an UnreadableImageError."""
    try:
        yield
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image of a known format, or a broken header") from error
    except DECODER_ERRORS as error:
        raise UnreadableImageError(f"cannot be decoded: {reason_of(error)}") from error


def _least(size: int | Form) -> int:
    """Sides in px that a picture is decoded at, at least."""
    return 2 * (size if isinstance(size, int) else max(size.size, size.resize or 0))


def _formed(image: Image.Image, size: int | Form) -> np.ndarray:
    whole = _upright(image)
    form = Form(size) if isinstance(size, int) else size
    if not form.whole:
        return _pixels(resized_square(whole, form))
    squeezed = whole.resize((form.side, form.side), Image.Resampling.BILINEAR)
    return with_sides(_pixels(squeezed), *whole.size)


def resized_square(image: Image.Image, form: Form) -> Image.Image:
    """Central square of an image at size x size pixels, antialiased bilinear."""
    width, height = image.size
    if width == height == form.size and form.resize is None:
        return image
    box = form.cut(width, height)
    return image.resize((form.size, form.size), Image.Resampling.BILINEAR, box=box)


@contextmanager
def _drafted(image: Image.Image, least: int | None, max_pixels: float | None) -> Iterator[None]:
    """While an opened image is decoded: its size checked, a JPEG's scale chosen, memory bounded.

    Args:
        image: not loaded.
        least: sides in px that a JPEG has at a reduced scale, at least; None = at full scale.
        max_pixels: more are refused; None = Pillow's limit.
    """
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS if max_pixels is None else max_pixels
    if limit is not None and width * height > limit:
        raise UnreadableImageError(f"{width} x {height} pixels, more than the limit of {limit:.0f}")
    if least is not None:
        image.draft(None, (least, least))
    # The coefficients of a progressive JPEG are all kept, at whatever scale it is decoded.
    whole = (width, height) if image.info.get("progressive") else image.size
    if whole[0] * whole[1] <= _LARGE_PX:
        yield
        return
    with _large:
        yield


def _upright(image: Image.Image) -> Image.Image:
    """The whole image in RGB, the way up that it was taken."""
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return _rgb(image)


def _pixels(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


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
