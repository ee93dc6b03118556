from __future__ import annotations

import math

import numpy as np
import pytest

from ssl_kedro.saliency.ground_truth import saliency_map, saliency_maps
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.spherical.sphere import pixel_directions, pixel_solid_angles


def at(longitude: list[float], latitude: list[float]) -> Fixations:
    return Fixations(np.array(longitude), np.array(latitude), np.zeros(len(longitude), np.int64))


def random_fixations(count: int, seed: int = 0) -> Fixations:
    generator = np.random.default_rng(seed)
    latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, count)))
    return Fixations(generator.uniform(-180, 180, count), latitude, np.zeros(count, np.int64))


def slow_map(fixations: Fixations, height: int, width: int, sigma_deg: float) -> np.ndarray:
    """Each fixation by itself: angles between vectors, normalised over the whole sphere."""
    directions = pixel_directions(height, width).numpy()
    areas = pixel_solid_angles(height, width).numpy()
    total = np.zeros((height, width))
    for a, b in zip(fixations.longitude_deg, fixations.latitude_deg, strict=True):
        row = min(math.floor((90 - b) * height / 180), height - 1)
        column = math.floor((a + 180) * width / 360) % width
        centre = directions[row, column]
        sine = np.linalg.norm(np.cross(directions, centre), axis=-1)
        angle = np.degrees(np.arctan2(sine, directions @ centre))
        gaussian = np.exp(-(angle**2) / (2 * sigma_deg**2))
        total += gaussian / (gaussian * areas).sum()
    return total / len(fixations)


@pytest.mark.parametrize("sigma_deg", [3.34, 12.0, 90.0])
@pytest.mark.parametrize("size", [(32, 64), (24, 37), (9, 18)])
def test_equals_one_gaussian_after_the_other(sigma_deg: float, size: tuple[int, int]) -> None:
    fixations = random_fixations(60)
    expected = slow_map(fixations, *size, sigma_deg)
    found = saliency_map(fixations, *size, sigma_deg=sigma_deg)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-12 * expected.max())


@pytest.mark.parametrize("latitude", [90.0, 89.9, 60.0, 0.0, -45.0, -90.0])
@pytest.mark.parametrize("longitude", [-180.0, 0.0, 179.9, 180.0])
def test_every_fixation_has_the_same_mass(longitude: float, latitude: float) -> None:
    areas = pixel_solid_angles(90, 180).numpy()
    found = saliency_map(at([longitude], [latitude]), 90, 180)
    assert float((found * areas).sum()) == pytest.approx(1, abs=1e-6)
    both = saliency_map(at([longitude, 10.0], [latitude, 5.0]), 90, 180)
    alone = saliency_map(at([10.0], [5.0]), 90, 180)
    np.testing.assert_allclose(both, (found + alone) / 2, rtol=1e-5, atol=1e-9)


def test_spread_of_one_fixation_is_sigma() -> None:
    """For small sigma: mean squared distance 2 sigma^2, peak 1 / (2 pi sigma^2)."""
    height, sigma = 360, math.radians(4)
    areas = pixel_solid_angles(height, 2 * height).numpy()
    directions = pixel_directions(height, 2 * height).numpy()
    for latitude in (0.25, 60.25):
        found = saliency_map(at([0.25], [latitude]), height, 2 * height, sigma_deg=4)
        row = int((90 - latitude) * 2)
        assert found.argmax() == row * 2 * height + height
        assert found.max() == pytest.approx(1 / (2 * math.pi * sigma**2), rel=5e-3)
        distance = np.arccos(np.clip(directions @ directions[row, height], -1, 1))
        assert (found * areas * distance**2).sum() == pytest.approx(2 * sigma**2, rel=5e-3)


def test_a_fixation_at_the_pole_looks_the_same_from_everywhere() -> None:
    found = saliency_map(at([77.0], [90.0]), 180, 360, sigma_deg=8)
    # The pixel's centre is half a degree off the pole.
    assert np.ptp(found[:15] / found[:15].mean(axis=1, keepdims=True)) < 0.25
    assert found[0].min() > 0.95 * found.max()


def test_turning_the_fixations_turns_the_map() -> None:
    fixations = random_fixations(40, seed=2)
    turned = Fixations(
        (fixations.longitude_deg + 180 + 90) % 360 - 180, fixations.latitude_deg, fixations.viewer
    )
    upside_down = Fixations(fixations.longitude_deg, -fixations.latitude_deg, fixations.viewer)
    found = saliency_map(fixations, 48, 96)
    peak = float(found.max())
    np.testing.assert_allclose(
        saliency_map(turned, 48, 96), np.roll(found, 24, axis=1), rtol=1e-5, atol=1e-11 * peak
    )
    np.testing.assert_allclose(
        saliency_map(upside_down, 48, 96), found[::-1], rtol=1e-5, atol=1e-11 * peak
    )


def test_sets_together_equal_sets_alone() -> None:
    sets = [random_fixations(count, seed=count) for count in (1, 5, 50)]
    together = saliency_maps(sets, 40, 80)
    for fixations, found in zip(sets, together, strict=True):
        np.testing.assert_allclose(found, saliency_map(fixations, 40, 80), rtol=1e-5)
    assert (together >= 0).all()
    assert (together == 0).any()


def test_what_cannot_be_mapped() -> None:
    fixations = at([0.0], [0.0])
    with pytest.raises(ValueError, match=r"sigma_deg = 0: expected a positive angle"):
        saliency_map(fixations, 8, 16, sigma_deg=0)
    with pytest.raises(ValueError, match="at least 1 x 1, found 8 x 0"):
        saliency_map(fixations, 8, 0)
    with pytest.raises(ValueError, match="set 2 of 2 has no fixations"):
        saliency_maps([fixations, at([], [])], 8, 16)
