"""Maps of a network into vectors: MAC, SPoC, GeM, and the regions of R-MAC.

Convention: maps are (N, C, h, w), row 0 at the top; a region is (top, left, side) in cells.
"""

from collections.abc import Iterable
from functools import lru_cache, reduce
from itertools import pairwise

import torch
from torch import Tensor

# Neighbouring regions should share this much of their area (Tolias et al. 2016).
_OVERLAP = 0.4
# The longer side takes up to so many regions more than the shorter one.
_MOST_ADDED = 6


@lru_cache
def rmac_regions(height: int, width: int, levels: int = 3) -> tuple[tuple[int, int, int], ...]:
    """Square regions of R-MAC, from large to small (Tolias et al. 2016, section 3.2).

    At level l the side is 2 min(h, w) / (l + 1), rounded down; l regions stand along the
    shorter side and l + m - 1 along the longer, evenly placed, where m in 2..7 is the number
    with which large neighbours overlap by nearest to 40 %. A square map has m = 1.

    Args:
        height: h of the map.
        width: w of the map.
        levels: L.

    Returns:
        (top, left, side) of each region: 14 for a square map at L = 3, 20 for 4:3 and 3:2,
        26 for 2:1. Where a level's side is below one cell it is left out.

    Raises:
        ValueError: an empty map, or no level.
    """
    if height < 1 or width < 1 or levels < 1:
        raise ValueError(
            f"expected a map of at least 1 x 1 and at least one level, found {height} x {width} "
            f"and {levels} levels"
        )
    short, long = min(height, width), max(height, width)
    added = 0
    if long > short:
        # m regions of side `short` along `long` overlap by 1 - step / short.
        steps = {m - 1: (long - short) / (m - 1) for m in range(2, _MOST_ADDED + 2)}
        added = min(steps, key=lambda m: abs(1 - steps[m] / short - _OVERLAP))
    rows_added, columns_added = (added, 0) if height > width else (0, added)
    regions = []
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        if side < 1:
            break
        regions += [
            (top, left, side)
            for top in _places(height, side, level + rows_added)
            for left in _places(width, side, level + columns_added)
        ]
    return tuple(regions)


def _places(length: int, side: int, count: int) -> list[int]:
    """Evenly spread first cells of ``count`` stretches of ``side`` within ``length``."""
    if count == 1:
        return [(length - side) // 2]
    return [int(index * (length - side) / (count - 1)) for index in range(count)]


def region_maxima(maps: Tensor, levels: int = 3) -> Tensor:
    """Maximum of each channel over each region of R-MAC.

    The maximum over a square is that over its rows of maxima over columns, and regions share
    both: the map is read once, cut where any region begins or ends.

    Args:
        maps: (N, C, h, w).
        levels: L.

    Returns:
        (N, R, C) in the maps' type, regions in the order of :func:`rmac_regions`.
    """
    _check(maps)
    regions = rmac_regions(maps.shape[2], maps.shape[3], levels)
    found: dict[tuple[int, int, int], Tensor] = {}
    rows = {(top, top + side) for top, _, side in regions}
    for (top, bottom), band in _stretch_maxima(maps, 2, rows).items():
        side = bottom - top
        columns = {(left, left + side) for t, left, s in regions if (t, s) == (top, side)}
        for (left, _), values in _stretch_maxima(band, 2, columns).items():
            found[top, left, side] = values
    return torch.stack([found[region] for region in regions], dim=1)


def _stretch_maxima(
    x: Tensor, dim: int, stretches: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], Tensor]:
    """Maxima over several stretches [first, end) of one dimension, which falls away.

    Slice by slice: ten times as fast as ``amax`` over a middle dimension.
    """
    wanted = list(stretches)
    cuts = sorted({cut for stretch in wanted for cut in stretch})
    pieces = {
        (first, end): reduce(torch.maximum, [x.select(dim, at) for at in range(first, end)])
        for first, end in pairwise(cuts)
        if any(low <= first and end <= high for low, high in wanted)
    }
    return {
        (low, high): reduce(
            torch.maximum,
            [piece for (first, end), piece in pieces.items() if low <= first and end <= high],
        )
        for low, high in wanted
    }


def maximum(maps: Tensor) -> Tensor:
    """MAC: maximum of each channel, (N, C, h, w) -> (N, C) (Razavian et al. 2016)."""
    _check(maps)
    return maps.amax(dim=(2, 3))


def average(maps: Tensor) -> Tensor:
    """SPoC without its centre prior: mean of each channel, (N, C) (Babenko & Lempitsky 2015)."""
    _check(maps)
    return maps.mean(dim=(2, 3))


def generalised_mean(maps: Tensor, power: float = 3.0, floor: float = 1e-6) -> Tensor:
    """GeM: (mean of x^p)^(1/p) of each channel, (N, C) (Radenovic et al. 2019, eq. 3).

    Args:
        maps: (N, C, h, w); values below ``floor`` count as ``floor``.
        power: p, above 0; 1 is the mean, growing p approaches the maximum.
        floor: keeps the root's gradient finite.

    Raises:
        ValueError: p is not above 0.
    """
    _check(maps)
    if power <= 0:
        raise ValueError(f"expected a power above 0, found {power}")
    return maps.clamp(min=floor).pow(power).mean(dim=(2, 3)).pow(1 / power)


def _check(maps: Tensor) -> None:
    if maps.ndim != 4 or 0 in maps.shape[2:]:
        raise ValueError(f"expected maps of shape (N, C, h, w), found {tuple(maps.shape)}")
