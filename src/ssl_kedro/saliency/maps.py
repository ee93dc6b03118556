"""Maps that can be scored: what they must be, how one takes another's size, what a row counts."""

import math
from typing import Literal, get_args

import numpy as np

from ssl_kedro.spherical.sphere import pixel_solid_angles

Mode = Literal["planar", "sphere", "authors"]
MODES: tuple[Mode, ...] = get_args(Mode)


def checked_map(name: str, array: np.ndarray) -> np.ndarray:
    """A map as float64 (h, 2h); the array itself is never written to.

    Args:
        name: what it is, for messages, e.g. "the prediction".
        array: numbers or booleans (h, 2h), h at least 2, density per solid angle.

    Raises:
        ValueError: another shape or type, a value that is negative or not finite, or zeros only.
    """
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] != 2 * array.shape[0]:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (h, 2h), one equirectangular map of at "
            "least 2 rows: drop axes of length 1 and resize it to twice as wide as high"
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has type {array.dtype}; expected real numbers")
    values = np.ascontiguousarray(array, dtype=np.float64)
    low, high = float(values.min()), float(values.max())  # not finite if any value is not
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"{name} has {bad} values that are not finite; expected densities")
    if low < 0:
        raise ValueError(
            f"{name} has negative values down to {low:g}; expected densities: undo any "
            "standardisation or logarithm before scoring"
        )
    if high == 0:
        raise ValueError(f"{name} is zero everywhere; expected a density with some mass")
    return values


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map at another size: bilinear, half-pixel centres, wrapped across the seam.

    Growing interpolates between the two nearest centres of each axis. Shrinking widens the
    triangle to the new pixel, so that nothing falls between the samples (what Pillow's BILINEAR
    does). Longitude wraps; above the first and below the last row the row itself is repeated.
    Values are densities and stay so: no factor of the pixels' areas. Equal neighbours give
    exactly their value, so ties stay ties.

    Args:
        values: float (h, w).
        height: rows wanted.
        width: columns wanted.

    Returns:
        float64 (height, width), a new array unless the size is right already.
    """
    if height < 1 or width < 1:
        raise ValueError(f"expected a size of at least 1 x 1, found {height} x {width}")
    values = np.asarray(values, dtype=np.float64)
    if values.shape[0] != height:
        index, weight = _taps(values.shape[0], height)
        values = _weighted(values, np.clip(index, 0, values.shape[0] - 1), weight)
    if values.shape[1] != width:
        index, weight = _taps(values.shape[1], width)
        across = _weighted(np.ascontiguousarray(values.T), index % values.shape[1], weight)
        values = np.ascontiguousarray(across.T)
    return values


def _taps(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices, which may lie outside, and weights (after, taps) of a triangle filter."""
    scale = before / after
    reach = max(1.0, scale)
    centre = (np.arange(after) + 0.5) * scale - 0.5
    first = np.ceil(centre - reach)
    index = first[:, None] + np.arange(math.floor(2 * reach) + 1)
    weight = np.clip(1 - np.abs(index - centre[:, None]) / reach, 0, None)
    return index.astype(np.int64), weight / weight.sum(axis=1, keepdims=True)


def _weighted(rows: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted means of rows, as one row plus differences from it: exact where all are equal."""
    base = rows[index[:, 0]]
    result: np.ndarray = base.copy()
    for tap in range(1, index.shape[1]):
        result += weight[:, tap, None] * (rows[index[:, tap]] - base)
    np.maximum(result, 0, out=result)  # a sum that rounds to just below zero is no density
    return result


def pixel_shares(mode: Mode, height: int, width: int) -> np.ndarray:
    """Share of the whole that one pixel of each row has.

    `planar`: all pixels alike. `sphere`: their solid angle. `authors`: sin(linspace(0, pi, H)),
    which gives the rows at both poles nothing.

    Returns:
        float64 (height,); times width they sum to 1.

    Raises:
        ValueError: another mode.
    """
    if mode == "planar":
        rows = np.ones(height)
    elif mode == "sphere":
        rows = pixel_solid_angles(height, 1)[:, 0].numpy()
    elif mode == "authors":
        rows = np.sin(np.linspace(0, np.pi, height))
        # sin(x) and sin(pi - x) round differently: rows that mirror each other would not tie.
        rows = np.minimum(rows, rows[::-1])
    else:
        raise ValueError(f"mode = {mode!r}: expected one of {', '.join(MODES)}")
    shares: np.ndarray = rows / (rows.sum() * width)
    return shares


def weighted_mean(values: np.ndarray, shares: np.ndarray) -> float:
    """Mean of a map (h, w) whose rows' pixels have these shares (h,)."""
    return float(shares @ values.sum(axis=1))


def weighted_product(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> float:
    """Mean of the product of two maps, without making it."""
    return float(shares @ np.einsum("ij,ij->i", first, second))
