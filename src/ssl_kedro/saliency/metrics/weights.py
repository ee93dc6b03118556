"""How much each row of an equirectangular map counts, by mode."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ssl_kedro.spherical.sphere import pixel_solid_angles

Mode = Literal["planar", "sphere", "authors"]
MODES: tuple[Mode, ...] = get_args(Mode)


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
