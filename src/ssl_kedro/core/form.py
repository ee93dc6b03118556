"""How a picture becomes a row of a store: its central square, or the whole of it.

A whole picture is squeezed into a square, with the width and height that it had beside the pixels:
rows keep one length, and whoever crops it knows which pixels are how wide. Such a row is uint8
(3 S S + 4,), the square (3, S, S) and then width and height, each as two bytes, the higher first.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

# An array or, above this layer, a tensor.
Rows = TypeVar("Rows")

_SIDES = 4  # bytes
_MOST = 2**16 - 1


@dataclass(frozen=True)
class Form:
    """What is stored of a picture.

    Args:
        size: side of the central square in px.
        resize: shorter side in px that the picture is brought to before the square is cut out;
            None = ``size``. At least that.
        whole: store the whole picture instead, squeezed into a square of ``resize`` px.
    """

    size: int
    resize: int | None = None
    whole: bool = False

    @property
    def side(self) -> int:
        """Side of what is stored in px."""
        return (self.resize or self.size) if self.whole else self.size

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Of what is stored, uint8."""
        return (3 * self.side**2 + _SIDES,) if self.whole else (3, self.side, self.side)

    @property
    def row_bytes(self) -> int:
        """Of what is stored."""
        return math.prod(self.row_shape)

    def cut(self, width: float, height: float) -> tuple[float, float, float, float]:
        """Where the central square lies in a picture: left, top, right, bottom in its px.

        With ``resize``, that of torchvision's ``Resize(resize)`` and ``CenterCrop(size)``, whose
        longer side and corner are whole px of the resized picture.
        """
        short = min(width, height)
        if self.resize is None:
            left, top = (width - short) / 2, (height - short) / 2
            return left, top, left + short, top + short
        sides = [int(self.resize * side / short) for side in (width, height)]
        left, top = (round((side - self.size) / 2) for side in sides)
        across, down = width / sides[0], height / sides[1]
        right, bottom = left + self.size, top + self.size
        return left * across, top * down, right * across, bottom * down


def is_whole(images: np.ndarray) -> bool:
    """Whether rows of images hold whole pictures."""
    return images.ndim == 2


def with_sides(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The row of a whole picture.

    Args:
        pixels: uint8 (3, S, S).
        width: of the picture, in px; beyond 65,535 both sides are halved until they fit.
        height: the same.
    """
    while max(width, height) > _MOST:
        width, height = max(1, width // 2), max(1, height // 2)
    sides = np.array([width, height], ">u2").view(np.uint8)
    return np.concatenate([pixels.reshape(-1), sides])


def pixels_of(rows: Rows) -> Rows:
    """Squares (N, 3, S, S) of whole pictures' rows (N, 3 S S + 4), an array or a tensor."""
    found: Any = rows
    side = math.isqrt((found.shape[1] - _SIDES) // 3)
    pixels: Rows = found[:, :-_SIDES].reshape(len(found), 3, side, side)
    return pixels


def sides_of(rows: Rows) -> tuple[Rows, Rows]:
    """Heights and widths (N,) of whole pictures in px, floating point."""
    found: Any = rows
    width, height = (found[:, -_SIDES::2] * 256.0 + found[:, 1 - _SIDES :: 2]).T
    return height, width
