"""Saliency maps for people to look at: heat maps and overlays.

Pictures are uint8 (3, H, W), RGB, row 0 at the top; maps are float (h, w), not negative, of any
scale and any resolution, and cover the same panorama. Colours say how a place compares with the
most salient places of the same map: two pictures cannot be compared by colour.
"""

from functools import lru_cache

import numpy as np
from PIL import Image

from ssl_kedro.core.extras import require

# The most salient .2 % of the sphere are one colour: a single hot pixel does not dim the rest.
_PERCENTILE = 99.8
# Overlays begin with the first colour that is one: lower ones of the table read as shadow on a
# bright panorama and as nothing on a dark one. They end before the last, which are nearly white:
# a peak on snow must not look like snow.
_FIRST_COLOUR, _LAST_COLOUR = 0.30, 0.90
# Opacity grows as value ** this: below 1, so that weaker places are seen too.
_OPACITY_POWER = 0.6
# Warm pictures (a fire, a lit room) would pass for salience: they lose half of their own colour.
_SATURATION = 0.5
# A line surrounds what is above half of the peak, light with a dark edge for any background.
_CONTOUR = 0.5
_LINE, _EDGE = 250, 20


def resized_map(saliency: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map at another resolution, bilinear between pixel centres, float32 (height, width).

    The left and the right edge are neighbours; beyond the first and the last row the map goes
    on as it is. Meant for enlarging: nothing is averaged where the result is smaller.
    """
    rows, columns = saliency.shape
    y = np.clip((np.arange(height) + 0.5) * rows / height - 0.5, 0, rows - 1)
    x = (np.arange(width) + 0.5) * columns / width - 0.5
    above, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down = (y - above).astype(np.float32)[:, None]
    right = (x - left).astype(np.float32)
    values = saliency.astype(np.float32)
    below = np.minimum(above + 1, rows - 1)
    wide = values[:, left % columns] * (1 - right) + values[:, (left + 1) % columns] * right
    return np.asarray(wide[above] * (1 - down) + wide[below] * down)


def relative_map(saliency: np.ndarray) -> np.ndarray:
    """A map divided by its high percentile and cut off at 1, float32 in [0, 1].

    Zero stays zero, so that a map that is uniform looks uniform and not like noise. The
    percentile is over the sphere: a row counts by the solid angle of its pixels.

    Raises:
        ValueError: not (h, w), negative or not finite values, or nothing above zero.
    """
    if saliency.ndim != 2 or 0 in saliency.shape:
        raise ValueError(f"expected a map of shape (h, w), found {saliency.shape}")
    values = saliency.astype(np.float32)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() <= 0:
        raise ValueError(
            "expected a map of finite values, none negative and some above zero, found "
            f"{values.min():g} to {values.max():g}"
        )
    edges = np.sin(np.linspace(np.pi / 2, -np.pi / 2, len(values) + 1))
    weights = np.repeat(edges[:-1] - edges[1:], values.shape[1])
    peak = np.percentile(values.ravel(), _PERCENTILE, weights=weights, method="inverted_cdf")
    # Less than .2 % of the sphere above zero: the maximum is all there is.
    return np.minimum(values / (peak if peak > 0 else values.max()), 1)


def heat_map(saliency: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map in colours from black over red to light yellow, growing lighter with salience.

    Of a map (h, w) at any size, uint8 (3, height, width).
    """
    values = resized_map(relative_map(saliency), height, width)
    return np.ascontiguousarray(_colours()[:, _levels(values)])


def overlay(picture: np.ndarray, saliency: np.ndarray, opacity: float = 0.8) -> np.ndarray:
    """A panorama under its map: only paler where nobody looks, coloured where many do.

    The opacity of the colours grows with the map, from none at zero; a line surrounds what is
    above half of the peak.

    Args:
        picture: uint8 (3, H, W).
        saliency: (h, w).
        opacity: of the colour at the most salient places, in [0, 1]; 0 leaves the line.

    Returns:
        uint8 (3, H, W), a new array.

    Raises:
        ValueError: a picture of another shape or type, or a map that cannot be scaled.
    """
    if picture.ndim != 3 or picture.shape[0] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"expected a picture uint8 (3, H, W), found {picture.dtype} {picture.shape}"
        )
    values = resized_map(relative_map(saliency), picture.shape[1], picture.shape[2])
    levels = _levels(values)
    share, colour = _blending(opacity)
    # In units of 1/256: the weights sum to 256, so that 16 bits hold every product.
    kept = (256 - share)[levels]
    blended = _paler(picture)
    for channel in range(3):
        total = blended[channel] * kept
        total += colour[channel][levels]
        blended[channel] = total >> 8
    # The innermost pixels of the area, and the next around it.
    inside, width = levels >= round(255 * _CONTOUR), max(1, picture.shape[1] // 500)
    blended[:, ~_eroded(~inside, width) & ~inside] = _EDGE
    blended[:, inside & ~_eroded(inside, width)] = _LINE
    return blended


def _paler(picture: np.ndarray) -> np.ndarray:
    """A copy that has lost a part of its colours, not of its lightness."""
    image = Image.fromarray(picture.transpose(1, 2, 0))
    grey = image.convert("L").convert("RGB")
    paler = Image.blend(grey, image, _SATURATION)
    return np.ascontiguousarray(np.asarray(paler).transpose(2, 0, 1))


def _eroded(inside: np.ndarray, width: int) -> np.ndarray:
    """What stays of an area when a square of 2 ``width`` + 1 px must fit, round the seam."""
    rows = inside.copy()
    for shift in range(1, width + 1):  # first and last rows have no neighbour to be taken by
        rows[shift:] &= inside[:-shift]
        rows[:-shift] &= inside[shift:]
    kept = rows.copy()
    for shift in range(1, width + 1):
        kept &= np.roll(rows, shift, axis=1) & np.roll(rows, -shift, axis=1)
    return kept


@lru_cache(maxsize=1)
def _colours() -> np.ndarray:
    """256 colours of growing lightness, uint8 (3, 256)."""
    require("a heat map", "matplotlib")
    import matplotlib as mpl  # noqa: PLC0415  optional, and slow to import

    table = mpl.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]
    return np.ascontiguousarray((255 * table).round().astype(np.uint8).T)


@lru_cache(maxsize=8)
def _blending(opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the colour, and weight times colour, per level; uint16 (256,), (3, 256)."""
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity = {opacity}: expected 0 to 1")
    level = np.linspace(0, 1, 256)
    share = np.round(256 * opacity * level**_OPACITY_POWER)
    places = 255 * (_FIRST_COLOUR + (_LAST_COLOUR - _FIRST_COLOUR) * level)
    colour = _colours()[:, np.round(places).astype(int)]
    return share.astype(np.uint16), (share * colour).astype(np.uint16)


def _levels(values: np.ndarray) -> np.ndarray:
    return (255 * values + 0.5).astype(np.uint8)
