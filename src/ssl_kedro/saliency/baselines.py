"""What a model has to be printed beside: uniform, equator prior, mean map, other viewers."""

import math
from collections.abc import Iterable

import numpy as np

from ssl_kedro.saliency.ground_truth import SIGMA_DEG, saliency_maps
from ssl_kedro.saliency.maps import MODES, Mode, checked_map, resized
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.scores import PanoramaTruth, scores_by_mode
from ssl_kedro.spherical.sphere import pixel_solid_angles


def uniform_map(height: int, width: int) -> np.ndarray:
    """The same density in every direction, float32 (height, width), 1 / (4 pi)."""
    return np.full((height, width), 1 / (4 * math.pi), dtype=np.float32)


def equator_prior(
    training_maps: Iterable[np.ndarray],
    height: int,
    width: int,
    *,
    smoothing_deg: float = 3.0,
    uniform_share: float = 0.01,
) -> np.ndarray:
    """Mean density of the training maps at each latitude.

    Every map has the same mass, whatever its scale. The profile is smoothed by a Gaussian of
    latitude that weighs rows by their solid angle, which leaves a uniform profile as it is:
    near the poles a row holds so little that few maps decide its value. A small uniform share
    keeps directions that nobody trained on from being impossible, which would make one fixation
    there outweigh all others in information gain.

    Args:
        training_maps: densities per solid angle (h, 2h), sizes may differ. Maps of test
            images have no place here.
        height: rows wanted.
        width: columns wanted.
        smoothing_deg: standard deviation of the smoothing in degrees; 0 = none.
        uniform_share: share of the mass that is uniform, in [0, 1].

    Returns:
        float32 (height, width), per steradian, equal along a row; x solid angles it sums to 1.

    Raises:
        ValueError: no map, one that is no density, or a parameter out of range.
    """
    if smoothing_deg < 0 or not 0 <= uniform_share <= 1:
        raise ValueError(
            "expected smoothing_deg of at least 0 and uniform_share in [0, 1], found "
            f"{smoothing_deg} and {uniform_share}"
        )
    areas = _row_areas(height)
    profile = _mean_density(training_maps, height, width).mean(axis=1)
    if smoothing_deg:
        latitude = 90 - (np.arange(height) + 0.5) * (180 / height)
        apart = (latitude[:, None] - latitude) / smoothing_deg
        weights = np.exp(-0.5 * apart**2) * areas
        profile = weights @ profile / weights.sum(axis=1)
    profile /= areas @ profile
    profile = (1 - uniform_share) * profile + uniform_share / (4 * math.pi)
    profile /= areas @ profile
    return np.repeat(profile[:, None], width, axis=1).astype(np.float32)


def mean_map(training_maps: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """Mean density of the training maps, where panoramas share a front, float32 (height, width).

    Viewers begin in one direction and many stay near it: where that is the middle of every
    panorama, this knows more than the equator prior without seeing any image. Masses, units and
    errors are those of :func:`equator_prior`.
    """
    return _mean_density(training_maps, height, width).astype(np.float32)


def ceiling_scores(
    fixations: Fixations,
    generator: np.random.Generator,
    *,
    height: int = 128,
    sigma_deg: float = SIGMA_DEG,
    repeats: int = 10,
    uniform_share: float = 0.01,
    equator_prior: np.ndarray | None = None,
    other_fixations: Fixations | None = None,
    modes: tuple[Mode, ...] = MODES,
) -> dict[Mode, dict[str, float]]:
    """How well half of the viewers predict the other half: no model is expected to do better.

    The viewers are halved at random (of an odd number one half has one more), the map of each
    half is scored against map and fixations of the other, both ways, and the scores of all
    repeats are averaged. A half holds fewer viewers than the whole: a lower bound of the
    ceiling, to compare with models scored at the same size. The uniform share keeps directions
    where one half did not look from being impossible; it changes no ranks, deviations or
    correlations in `planar` and `sphere` mode.

    Args:
        fixations: of one panorama, by viewer.
        generator: draws the halves.
        height: rows of the maps, which are twice as wide.
        sigma_deg: of the Gaussian; see `saliency_map`.
        repeats: random halvings.
        uniform_share: share of the predicting map that is uniform, in [0, 1].
        equator_prior: for information gain; see `scores_by_mode`.
        other_fixations: for sAUC.
        modes: of scoring.

    Returns:
        By mode, by metric; all NaN with fewer than two viewers.

    Raises:
        ValueError: no repeats, or uniform_share outside [0, 1].
    """
    if repeats < 1 or not 0 <= uniform_share <= 1:
        raise ValueError(
            f"expected at least one repeat and uniform_share in [0, 1], found {repeats} and "
            f"{uniform_share}"
        )
    viewers = np.unique(fixations.viewer)
    if len(viewers) < 2:
        return {mode: dict.fromkeys(metrics(), float("nan")) for mode in modes}
    halves: list[Fixations] = []
    for _ in range(repeats):
        first = np.isin(fixations.viewer, generator.permutation(viewers)[: len(viewers) // 2])
        halves += [fixations.of(first), fixations.of(~first)]
    maps = saliency_maps(halves, height, 2 * height, sigma_deg=sigma_deg)
    found = []
    for at, map_ in enumerate(maps):
        other = at ^ 1  # halves stand in pairs
        truth = PanoramaTruth(maps[other], [halves[other]], other_fixations, equator_prior)
        # In single precision the uniform part would swallow the ranks of the tails.
        predicted = (1 - uniform_share) * map_.astype(np.float64) + uniform_share / (4 * math.pi)
        found.append(scores_by_mode(predicted, truth, modes))
    return {
        mode: {name: float(np.mean([one[mode][name] for one in found])) for name in metrics()}
        for mode in modes
    }


def _mean_density(training_maps: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """Mean of maps that are each given mass 1, float64 (height, width)."""
    areas = _row_areas(height) / width
    total, count = np.zeros((height, width)), 0
    for count, training_map in enumerate(training_maps, start=1):
        values = resized(checked_map(f"training map {count}", training_map), height, width)
        total += values / (areas @ values.sum(axis=1))
    if not count:
        raise ValueError(
            "found no training maps; expected at least one, or use uniform_map instead"
        )
    return total / count


def _row_areas(height: int) -> np.ndarray:
    """Steradians of each row, sum 4 pi."""
    return pixel_solid_angles(height, 1)[:, 0].numpy()
