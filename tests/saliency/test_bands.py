"""Scores by bands of latitude against loops over pixels and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ssl_kedro.saliency.bands import Band, band_scores, latitude_bands

HEIGHT, WIDTH = 36, 72
BANDS = latitude_bands([30, 60])


def latitudes(height: int) -> np.ndarray:
    return 90 - (np.arange(height) + 0.5) * 180 / height


def slow_correlation(one: np.ndarray, other: np.ndarray, band: Band) -> float:
    """Pearson's of what is left of the mean of each row, each pixel as often as it is large."""
    values, weights = [], []
    for i, latitude in enumerate(latitudes(HEIGHT)):
        if band.low_deg <= latitude < band.high_deg:
            top, bottom = math.radians(90 - i * 5), math.radians(90 - (i + 1) * 5)
            for j in range(WIDTH):
                values.append(
                    (one[i, j] - sum(one[i]) / WIDTH, other[i, j] - sum(other[i]) / WIDTH)
                )
                weights.append(math.sin(top) - math.sin(bottom))
    x, y = np.array(values).T
    covariance = np.cov(x, y, aweights=np.array(weights), ddof=0)
    return float(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))


def test_bands_are_the_same_on_both_sides() -> None:
    assert (Band(60, 90), Band(30, 60), Band(-30, 30), Band(-60, -30), Band(-90, -60)) == BANDS
    for edges in ([], [60, 30], [0, 30], [90], [30, 30]):
        with pytest.raises(ValueError, match="ascending"):
            latitude_bands(edges)


def test_correlations_within_bands() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((HEIGHT, WIDTH))
    prediction = truth + rng.random((HEIGHT, WIDTH)) * np.linspace(0, 3, HEIGHT)[:, None]
    found = band_scores(7 * prediction, truth, BANDS)
    for band, score in zip(BANDS, found, strict=True):
        assert score.cc_along == pytest.approx(slow_correlation(truth, prediction, band), abs=1e-9)
    assert [one.cc_along for one in found] == sorted((one.cc_along for one in found), reverse=True)  # type: ignore[type-var]


def test_an_even_map_has_the_shares_of_the_bands_and_no_correlation() -> None:
    truth = np.random.default_rng(0).random((HEIGHT, WIDTH))
    found = band_scores(np.ones((HEIGHT, WIDTH)), truth, BANDS)
    for band, score in zip(BANDS, found, strict=True):
        low, high = (math.sin(math.radians(end)) for end in (band.low_deg, band.high_deg))
        assert score.predicted == pytest.approx((high - low) / 2, abs=1e-9)
        assert score.cc_along is None
    assert sum(score.truth for score in found) == pytest.approx(1)


def test_a_pole_may_be_right_where_the_rest_is_wrong() -> None:
    truth = np.random.default_rng(1).random((HEIGHT, WIDTH)) + 0.01
    prediction = truth.copy()
    prediction[latitudes(HEIGHT) < 60] = truth[latitudes(HEIGHT) < 60][:, ::-1]
    zenith, *others = band_scores(prediction, truth, BANDS)
    assert zenith.cc_along == pytest.approx(1)
    assert max(one.cc_along for one in others) < 0.5  # type: ignore[type-var]


def test_a_band_without_a_row_is_refused() -> None:
    maps = np.ones((4, 8))
    with pytest.raises(ValueError, match=r"between 80 and 90 degrees, found none of 4"):
        band_scores(maps, maps, latitude_bands([80]))


def test_latitude_alone_says_nothing_along_its_circles() -> None:
    """Though both fall towards the pole, and correlate as they are."""
    rng = np.random.default_rng(2)
    falling = np.cos(np.radians(latitudes(HEIGHT)))[:, None] ** 2 * np.ones((1, WIDTH))
    truth = falling * (1 + 0.1 * rng.random((HEIGHT, WIDTH)))
    zenith = latitudes(HEIGHT) >= 60
    assert np.corrcoef(truth[zenith].ravel(), falling[zenith].ravel())[0, 1] > 0.9
    assert [score.cc_along for score in band_scores(falling, truth, BANDS)] == [None] * 5
    right = band_scores(truth, truth, BANDS)
    assert [score.cc_along for score in right] == pytest.approx([1] * 5)
