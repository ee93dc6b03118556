"""Predictions by bands of latitude: how well the poles are predicted (thesis 4.5.2, Figure 4.7)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.saliency.maps import checked_map, pixel_shares, resized, weighted_product
from ssl_kedro.saliency.metric import centred


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
        cc: correlation of both maps among the band's pixels, by solid angle; None where one of
            them is the same everywhere there.
    """

    truth: float
    predicted: float
    cc: float | None


def band_scores(
    prediction: np.ndarray, truth: np.ndarray, bands: Sequence[Band]
) -> list[BandScore]:
    """Scores in each band; a row belongs to the band that holds its middle.

    A correlation within a band knows nothing of how the bands compare with each other: latitude
    alone, which is nearly all of what an equator prior knows, is worth next to nothing there.

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
        cc = _correlation(wanted[rows], found[rows], shares[rows] / (shares[rows].sum() * width))
        scores.append(BandScore(float(looked[rows].sum()), float(expected[rows].sum()), cc))
    return scores


def _correlation(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> float | None:
    (one, deviation), (other, others) = centred(first, shares), centred(second, shares)
    if not deviation or not others:
        return None
    return weighted_product(one, other, shares) / (deviation * others)
