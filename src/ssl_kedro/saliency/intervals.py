"""Bootstrap confidence intervals of mean scores over images."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean over images and the interval that holds it.

    Args:
        mean: of the images that have a score; NaN if none has.
        low: lower end; NaN with fewer than two images, or groups, to draw from.
        high: upper end.
        count: images that have a score.
    """

    mean: float
    low: float
    high: float
    count: int


def bootstrap_interval(
    scores: np.ndarray,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Percentile interval of the mean of images drawn with replacement (Efron, 1979).

    Images whose score is NaN are left out before anything is drawn. With few images (below
    about 20) percentile intervals are too narrow: they say what these images allow, not more.

    Args:
        scores: one an image, float (N,); or the differences of two models on the same images:
            an interval that does not hold 0 tells the models apart even where the intervals of
            their means overlap.
        generator: draws the resamples; equal states give equal intervals.
        confidence: share of the resampled means inside, in (0, 1).
        resamples: how many.
        groups: of each image, e.g. its scene; whole groups are drawn, since frames of one
            video are not independent. None = every image on its own.

    Returns:
        Mean and interval.

    Raises:
        ValueError: scores that are not (N,), infinite scores, a number of groups other than N,
            confidence outside (0, 1), no resamples.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or np.isinf(scores).any():
        raise ValueError(
            f"expected finite scores (N,), NaN where there is none; found shape {scores.shape}"
            f" with {int(np.isinf(scores).sum())} infinite"
        )
    if groups is not None and len(groups) != len(scores):
        raise ValueError(f"expected a group for each of {len(scores)} scores, found {len(groups)}")
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(
            f"expected confidence between 0 and 1 and at least one resample, found {confidence} "
            f"and {resamples}"
        )
    there = ~np.isnan(scores)
    sums, counts = _by_group(scores, there, groups)
    count = int(there.sum())
    mean = float(scores[there].mean()) if count else float("nan")
    if len(sums) < 2:
        return Interval(mean, float("nan"), float("nan"), count)
    means = _resampled_means(sums, counts, generator, resamples)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean, float(low), float(high), count)


def _by_group(
    scores: np.ndarray, there: np.ndarray, groups: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the scores of each group that has any."""
    values = scores[there]
    if groups is None:
        return values, np.ones(len(values))
    numbers: dict[Hashable, int] = {}
    kept = (groups[at] for at in np.flatnonzero(there).tolist())
    member = np.array([numbers.setdefault(group, len(numbers)) for group in kept], dtype=np.int64)
    return np.bincount(member, weights=values), np.bincount(member).astype(np.float64)


def _resampled_means(
    sums: np.ndarray, counts: np.ndarray, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    means = np.empty(resamples)
    block = max(1, _BLOCK // len(sums))
    for start in range(0, resamples, block):
        part = means[start : start + block]
        drawn = generator.integers(0, len(sums), size=(len(part), len(sums)))
        part[:] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means
