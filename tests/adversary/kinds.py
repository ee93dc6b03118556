"""Images that are odd or broken, and what should become of each in a folder that is read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Read like any other; left out and listed by name; taken for no image, its kind told; ends the run
# by its name. Of folders of classes, of panoramas that all have to be there, and of prediction.
USED, SKIPPED, PASSED, REFUSED = "used", "skipped", "passed over", "refused"
GOOD = (USED, USED, USED)
NO_IMAGE = (SKIPPED, REFUSED, SKIPPED)
NO_PIXELS = (SKIPPED, SKIPPED, SKIPPED)
OTHER = (PASSED, PASSED, PASSED)
SIZE = (64, 32)


@dataclass(frozen=True)
class Kind:
    """One odd file.

    Args:
        name: of the kind.
        file: its name, which starts with "odd".
        content: bytes, or what makes it at a path.
        fates: in class folders, folders of panoramas, and prediction.
    """

    name: str
    file: str
    content: bytes | Callable[[Path], None]
    fates: tuple[str, str, str]

    def put(self, folder: Path) -> None:
        """Make the file."""
        path = folder / self.file
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            self.content(path)


def picture(
    form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = SIZE, **save: Any
) -> bytes:
    """A file of noise."""
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(values[..., 0].astype(np.float32))
    else:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, form, **save)
    return stream.getvalue()


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the picture
    return picture("JPEG", size=SIZE[::-1], exif=exif)


def _damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(255 - value for value in data[at : at + 20]) + data[at + 20 :]


def _claiming(width: int, height: int) -> bytes:
    """A PNG whose header is right and claims a size."""
    import zlib  # noqa: PLC0415

    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    data = picture()
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def _frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [Image.new("RGB", SIZE)] * 2}


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def kinds() -> list[Kind]:
    """All of them."""
    png, jpg, tif = picture(), picture("JPEG"), picture("TIFF")
    latin = os.fsdecode(b"odd\xe9.png")
    found = [
        ("CMYK", "odd.jpg", picture("JPEG", "CMYK"), GOOD),
        ("palette", "odd.png", picture(mode="P"), GOOD),
        ("transparent", "odd.png", picture(mode="RGBA"), GOOD),
        ("16 bits", "odd.png", picture(mode="I;16"), GOOD),
        ("animated", "odd.gif", picture("GIF", **_frames()), GOOD),
        ("several pages", "odd.tif", picture("TIFF", **_frames()), GOOD),
        ("rotated by EXIF", "odd.jpg", _rotated(), GOOD),
        ("WebP", "odd.webp", picture("WEBP"), GOOD),
        ("BMP called .jpg", "odd.jpg", picture("BMP"), GOOD),
        ("name not UTF-8", latin, png, GOOD),
        ("line feed in its name", "odd\nname.png", png, GOOD),
        ("HTML in its name", "odd<img src=x>&amp;.png", png, GOOD),
        ("garbage at its end", "odd.jpg", jpg + bytes(1000), GOOD),
        ("empty", "odd.jpg", b"", NO_IMAGE),
        ("text called .jpg", "odd.jpg", b"no image at all\n" * 9, NO_IMAGE),
        ("zeros", "odd.png", bytes(4096), NO_IMAGE),
        ("signature alone", "odd.png", png[:8], NO_IMAGE),
        ("cut in its header", "odd.jpg", jpg[:20], NO_IMAGE),
        ("PostScript called .jpg", "odd.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n", NO_IMAGE),
        ("AVIF called .png", "odd.png", picture("AVIF"), NO_IMAGE),
        ("wrong checksum of its header", "odd.png", _damaged(png, 16), NO_IMAGE),
        ("broken, name not UTF-8", latin, b"text", NO_IMAGE),
        ("broken, HTML in its name", "odd<b>&.png", b"text", NO_IMAGE),
        ("JPEG cut in half", "odd.jpg", jpg[: len(jpg) // 2], NO_PIXELS),
        ("PNG cut in half", "odd.png", png[: len(png) // 2], NO_PIXELS),
        ("TIFF cut in half", "odd.tif", tif[: len(tif) // 2], NO_PIXELS),
        ("damaged pixels", "odd.png", _damaged(png, len(png) // 2), NO_PIXELS),
        ("floats", "odd.tif", picture("TIFF", "F"), NO_PIXELS),
        ("bomb", "odd.png", _claiming(60000, 30000), (SKIPPED, REFUSED, REFUSED)),
        ("square", "odd.png", picture(size=(32, 32)), (USED, REFUSED, REFUSED)),
        ("one pixel", "odd.png", picture(size=(1, 1)), (USED, USED, REFUSED)),
        ("pipe", "odd.jpg", os.mkfifo, NO_IMAGE),
        ("link to itself", "odd.jpg", _link("odd.jpg"), NO_IMAGE),
        ("link to nothing", "odd.jpg", _link("gone.jpg"), NO_IMAGE),
        ("link to a device", "odd.jpg", _link("/dev/zero"), NO_IMAGE),
        ("folder", "odd.jpg", os.mkdir, OTHER),
        ("HEIC", "odd.heic", b"\0\0\0\x18ftypheic" + bytes(99), OTHER),
        ("AVIF", "odd.avif", picture("AVIF"), OTHER),
        ("JPEG 2000", "odd.jp2", picture("JPEG2000"), OTHER),
        ("no extension", "odd", png, OTHER),
    ]
    return [Kind(*each) for each in found]
