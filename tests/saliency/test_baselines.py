from __future__ import annotations

import math

import numpy as np
import pytest

from saliency.scoring_for_tests import scores_by_mode
from ssl_kedro.saliency.baselines import (
    ceiling_scores,
    equator_prior,
    mean_map,
    uniform_map,
)
from ssl_kedro.saliency.maps import MODES
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.spherical.sphere import pixel_solid_angles


def mass(map_: np.ndarray) -> float:
    return float((map_ * pixel_solid_angles(*map_.shape).numpy()).sum())


def test_uniform() -> None:
    found = uniform_map(6, 12)
    assert found.shape == (6, 12)
    assert np.unique(found).tolist() == [np.float32(1 / (4 * math.pi))]
    assert mass(found) == pytest.approx(1)


def gaussian_equator(height: int, width: int, sigma_deg: float = 20.0) -> np.ndarray:
    """A Gaussian of latitude, of mass 1."""
    latitude = 90 - (np.arange(height) + 0.5) * (180 / height)
    found = np.repeat(np.exp(-0.5 * (latitude / sigma_deg) ** 2)[:, None], width, axis=1)
    return found / mass(found)


def test_prior_is_the_mean_over_longitude_by_hand() -> None:
    """Two maps of 2 rows: each row has half the sphere, so mass is the mean x 4 pi."""
    maps = [np.array([[1.0, 3, 0, 0], [0, 0, 0, 0]]), np.array([[100.0] * 4, [300.0] * 4])]
    found = equator_prior(maps, 2, 4, smoothing_deg=0, uniform_share=0)
    rows = np.array([1 + 0.25, 0 + 0.75]) / 2
    np.testing.assert_allclose(found, np.repeat(rows[:, None], 4, axis=1) / (2 * math.pi))
    shared = equator_prior(maps, 2, 4, smoothing_deg=0, uniform_share=0.5)
    np.testing.assert_allclose(shared, (found + uniform_map(2, 4)) / 2, rtol=1e-6)


def test_mean_map_by_hand() -> None:
    maps = [np.array([[1.0, 3, 0, 0], [0, 0, 0, 0]]), np.array([[100.0] * 4, [300.0] * 4])]
    # Every pixel has an eighth of the sphere.
    expected = (maps[0] / 4 + maps[1] / 1600) / 2 * 8 / (4 * math.pi)
    np.testing.assert_allclose(mean_map(maps, 2, 4), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="found no training maps"):
        mean_map([], 2, 4)


def test_prior_finds_the_function_of_latitude_back() -> None:
    generator = np.random.default_rng(0)
    wanted = gaussian_equator(64, 128, sigma_deg=25)
    maps = [wanted * generator.gamma(1.0, size=(64, 128)) for _ in range(40)]
    found = equator_prior(maps, 64, 128, uniform_share=0)
    assert mass(found) == pytest.approx(1)
    assert np.ptp(found, axis=1).max() == 0
    assert np.abs(found - wanted).max() < 0.03 * wanted.max()
    small = equator_prior(maps, 16, 32, uniform_share=0)
    assert np.abs(small - gaussian_equator(16, 32, sigma_deg=25)).max() < 0.05 * wanted.max()


@pytest.mark.parametrize("smoothing_deg", [0.0, 3.0, 40.0])
def test_a_uniform_training_set_gives_a_uniform_prior(smoothing_deg: float) -> None:
    found = equator_prior([np.full((20, 40), 7)], 32, 64, smoothing_deg=smoothing_deg)
    np.testing.assert_allclose(found, uniform_map(32, 64), rtol=1e-6)


def test_no_direction_is_impossible() -> None:
    point = np.zeros((32, 64))
    point[16] = 1
    found = equator_prior([point], 32, 64)
    assert found.min() >= np.float32(0.01 / (4 * math.pi))


def test_what_cannot_be_a_prior() -> None:
    with pytest.raises(ValueError, match=r"found no training maps; .* uniform_map"):
        equator_prior([], 8, 16)
    with pytest.raises(ValueError, match="training map 2 is zero everywhere"):
        equator_prior([np.ones((4, 8)), np.zeros((4, 8))], 8, 16)
    with pytest.raises(ValueError, match=r"found -1 and 0\.01"):
        equator_prior([np.ones((4, 8))], 8, 16, smoothing_deg=-1)


def viewed(centres: list[tuple[float, float]], viewers: int, seed: int = 0) -> Fixations:
    """Every viewer looks 20 times near the same places."""
    generator = np.random.default_rng(seed)
    place = generator.integers(0, len(centres), (viewers, 20)).reshape(-1)
    where = np.array(centres)[place] + generator.normal(0, 3, (len(place), 2))
    return Fixations(where[:, 0], where[:, 1], np.repeat(np.arange(viewers), 20))


def test_viewers_who_agree_have_a_high_ceiling() -> None:
    prior = gaussian_equator(32, 64)
    fixations = viewed([(-60, 0), (30, 40)], 30)
    found = ceiling_scores(
        fixations, np.random.default_rng(0), height=32, sigma_deg=6, repeats=3, equator_prior=prior
    )
    by_prior = scores_by_mode(prior, None, fixations, equator_prior=prior)
    for mode in MODES:
        assert found[mode]["cc"] > 0.97
        assert found[mode]["sim"] > 0.9
        assert found[mode]["auc_judd"] > 0.95 > by_prior[mode]["auc_judd"]
        assert found[mode]["info_gain"] > 2
        assert math.isnan(found[mode]["sauc"])


def test_viewers_who_disagree_have_none() -> None:
    generator = np.random.default_rng(0)
    latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, 4000)))
    fixations = Fixations(generator.uniform(-180, 180, 4000), latitude, np.arange(4000) % 40)
    found = ceiling_scores(fixations, generator, height=32, repeats=5)
    assert found["sphere"]["cc"] == pytest.approx(0, abs=0.05)
    assert found["sphere"]["auc_judd"] == pytest.approx(0.5, abs=0.02)


def test_halves_are_of_viewers() -> None:
    """Two viewers at two places: the halves never see what the other half sees."""
    fixations = Fixations(np.repeat([-90.0, 90.0], 5), np.zeros(10), np.repeat(np.array([8, 3]), 5))
    found = ceiling_scores(fixations, np.random.default_rng(0), height=32, repeats=4)
    assert found["sphere"]["cc"] < 0
    assert found["sphere"]["sim"] < 0.02


def test_the_uniform_share_changes_no_ranks() -> None:
    fixations = viewed([(-60, 0), (30, 40)], 10)
    pure, mixed = (
        ceiling_scores(
            fixations,
            np.random.default_rng(0),
            height=32,
            repeats=2,
            uniform_share=share,
            equator_prior=uniform_map(32, 64),
        )
        for share in (0, 0.01)
    )
    for mode in ("planar", "sphere"):
        for name in ("auc_judd", "nss", "cc"):
            assert mixed[mode][name] == pytest.approx(pure[mode][name], abs=1e-6)


def test_equal_generators_draw_equal_halves() -> None:
    fixations = viewed([(0, 0), (90, 10)], 5)
    one, same, other = (
        ceiling_scores(fixations, np.random.default_rng(seed), height=16, repeats=2)
        for seed in (1, 1, 2)
    )
    assert one["sphere"]["kld"] == same["sphere"]["kld"] != other["sphere"]["kld"]


def test_one_viewer_has_no_ceiling() -> None:
    alone = viewed([(0, 0)], 1)
    for fixations in (alone, alone.of(np.zeros(0, np.int64))):
        found = ceiling_scores(fixations, np.random.default_rng(0))
        assert all(math.isnan(found[mode][name]) for mode in MODES for name in metrics())
    with pytest.raises(ValueError, match=r"found 0 and 0\.01"):
        ceiling_scores(alone, np.random.default_rng(0), repeats=0)
