"""Arrays and grey pictures whose values are data, read without running anything they contain.

Photographs lose nothing that matters when they become 8-bit RGB; a map of 16 bits does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError

import numpy as np
from PIL import Image

from ssl_kedro.images.errors import UnreadableImageError
from ssl_kedro.images.files import DECODER_ERRORS, FORMATS, opened_image, reason_of
from ssl_kedro.saliency.sources.errors import SaliencyDataError

# Of a map, far above any that is published: 16384 x 8192.
_MOST_PX = 2**27


def mapped_array(path: Path) -> np.ndarray:
    """The numbers in a ``.npy`` file; each is read when it is used.

    Raises:
        SaliencyDataError: not such a file, damaged, or not of real numbers.
    """
    try:
        # Python objects cannot be mapped.
        values = np.lib.format.open_memmap(path, mode="r")
    except (*DECODER_ERRORS, TokenError) as error:
        raise SaliencyDataError(
            path,
            found=f"no array of numbers ({reason_of(error)})",
            expected="an array saved by numpy.save, without Python objects",
            remedy="save the numbers again with numpy.save(path, array, allow_pickle=False)",
        ) from error
    if values.dtype.kind not in "fiub":
        raise SaliencyDataError(
            path,
            found="values that are not real numbers",
            expected="an array of real numbers",
            remedy="save the numbers alone with numpy.save",
        )
    return values


def grey_values(path: Path) -> np.ndarray:
    """Values of a grey picture, (height, width), in the type they are stored in.

    Pictures with three equal channels are grey too, and transparency is left out of account.

    Raises:
        UnreadableImageError: it cannot be decoded, or has colours.
    """
    with opened(path) as image:
        if image.width * image.height > _MOST_PX:
            raise UnreadableImageError(
                f"{path}: {image.width} x {image.height} px, more than the {_MOST_PX} that a map "
                "may have; save it at a smaller size"
            )
        image.load()
        values = np.asarray(image)
        if image.mode in ("RGB", "RGBA", "LA", "La", "P", "PA", "CMYK", "YCbCr"):
            colours = np.asarray(image.convert("RGB"))
            if (colours != colours[..., :1]).any():
                raise UnreadableImageError(
                    f"{path}: a picture with colours, whose order as a map is not known; "
                    "save the map in grey"
                )
            values = colours[..., 0]
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture with its header read; faults are UnreadableImageErrors that name the file."""
    try:
        with path.open("rb") as file, opened_image(file, FORMATS) as image:
            yield image
    except UnreadableImageError:
        raise
    except DECODER_ERRORS as error:
        raise UnreadableImageError(f"{path}: cannot be decoded: {reason_of(error)}") from error
