"""Predictions by bands of latitude: how well the poles are predicted (thesis 4.5.2, Figure 4.7)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.saliency.maps import checked_map, pixel_shares, resized, weighted_product

# Rows whose deviation is this small beside their values are even up to rounding.
_EVEN = 1e-9


@dataclass(frozen=True)
class Band:
    """Latitudes from ``low_deg`` up to ``high_deg``, in degrees, the zenith at 90."""

    low_deg: float
    high_deg: float


def latitude_bands(edges_deg: Sequence[float]) -> tuple[Band, ...]:
    """Bands from the zenith to the nadir, the same on both sides of the equator.

    Args:
        edges_deg: distances from the equator at which bands meet, ascending, in (0, 90).

    Raises:
        ValueError: edges that are none, or not ascending.
    """
    edges = [*edges_deg]
    if not edges or edges != sorted(set(edges)) or not 0 < edges[0] <= edges[-1] < 90:
        raise ValueError(f"expected ascending latitudes between 0 and 90, found {edges}")
    ends = [-90, *(-edge for edge in reversed(edges)), *edges, 90]
    bands = [Band(low, high) for low, high in itertools.pairwise(ends)]
    return tuple(reversed(bands))


@dataclass(frozen=True)
class BandScore:
    """One prediction in one band.

    Args:
        truth: share of all looks that fall there.
        predicted: share that the prediction expects there.
        cc_along: correlation of both maps along the band's circles of latitude, by solid angle;
            None where one of them does not vary along any.
    """

    truth: float
    predicted: float
    cc_along: float | None


def band_scores(
    prediction: np.ndarray, truth: np.ndarray, bands: Sequence[Band]
) -> list[BandScore]:
    """Scores in each band; a row belongs to the band that holds its middle.

    Towards a pole densities fall, so that latitude alone correlates with where people look within a
    band as well. Each row's mean is therefore taken from both maps: what is left is whether the
    right places along a circle of latitude are expected, of which an equator prior says nothing.

    Args:
        prediction: density per solid angle (h, 2h) of any size and scale.
        truth: the same, at whose size both are compared.
        bands: of latitude.

    Raises:
        ValueError: maps as for :func:`~ssl_kedro.saliency.maps.checked_map`, or a band so narrow
            that no row is in it.
    """
    wanted = checked_map("the truth map", truth)
    height, width = wanted.shape
    found = resized(checked_map("the prediction", prediction), height, width)
    shares = pixel_shares("sphere", height, width)
    masses = [(one * shares[:, None]).sum(axis=1) for one in (wanted, found)]
    looked, expected = (mass / mass.sum() for mass in masses)
    latitude = 90 - (np.arange(height) + 0.5) * (180 / height)
    scores = []
    for band in bands:
        rows = (latitude >= band.low_deg) & (latitude < band.high_deg)
        if not rows.any():
            raise ValueError(
                f"expected rows between {band.low_deg:g} and {band.high_deg:g} degrees, found none "
                f"of {height}: take higher maps or fewer bands"
            )
        cc = _along_circles(wanted[rows], found[rows], shares[rows])
        scores.append(BandScore(float(looked[rows].sum()), float(expected[rows].sum()), cc))
    return scores


def _along_circles(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> float | None:
    maps = [values - values.mean(axis=1, keepdims=True) for values in (first, second)]
    spreads = [weighted_product(one, one, shares) ** 0.5 for one in maps]
    for spread, values in zip(spreads, (first, second), strict=True):
        if spread <= _EVEN * weighted_product(values, values, shares) ** 0.5:
            return None
    return weighted_product(maps[0], maps[1], shares) / float(spreads[0] * spreads[1])
