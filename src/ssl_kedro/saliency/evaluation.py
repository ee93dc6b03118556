"""Scores of many predictions, and bootstrap intervals of their means over images."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.saliency.ground_truth import Arrays, fixation_sets_of, fixations_of
from ssl_kedro.saliency.maps import Mode
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import joined
from ssl_kedro.saliency.scores import PanoramaTruth, scores_by_mode

# By mode and metric one score an image, None where it has none.
Scores = dict[str, dict[str, list[float | None]]]
# Groups drawn at a time, which bounds the memory.
_BLOCK = 4_000_000


class TruthsOfTested:
    """What each tested panorama is compared with, made when it is asked for.

    Each has the fixations of all others: all at once they would grow with the square of the
    number of frames.

    Args:
        truth: maps and fixations of the stored panoramas.
        rows: which of them are tested.
        priors: of each.
    """

    def __init__(self, truth: Arrays, rows: Sequence[int], priors: Sequence[np.ndarray]) -> None:
        self._truth, self._rows, self._priors = truth, rows, priors
        self._all = joined(fixations_of(truth, row) for row in rows)
        owners = np.asarray(rows, dtype=np.int64)
        self._owner = np.repeat(owners, np.diff(truth["starts"])[owners])

    def __iter__(self) -> Iterator[PanoramaTruth]:
        """In the order of the rows, as often as it is asked for."""
        for row, prior in zip(self._rows, self._priors, strict=True):
            sets = fixation_sets_of(self._truth, row)
            chosen = self._owner != row
            others = self._all.of(chosen) if self._all is not None and chosen.any() else None
            yield PanoramaTruth(self._truth["maps"][row], sets, others, prior)


def score_all(
    predictions: Iterable[np.ndarray], panoramas: Iterable[PanoramaTruth], modes: Sequence[Mode]
) -> Scores:
    """Scores of one model on all images, of one map (h, 2h) each."""
    pairs = zip(predictions, panoramas, strict=True)
    return transposed([scores_by_mode(*pair, modes) for pair in pairs], modes)


def transposed(
    found: Sequence[Mapping[Mode, Mapping[str, float]]], modes: Sequence[Mode]
) -> Scores:
    """Scores by mode and metric, from scores by image."""
    return {
        mode: {
            name: [None if np.isnan(one[mode][name]) else one[mode][name] for one in found]
            for name in metrics()
        }
        for mode in modes
    }


@dataclass(frozen=True)
class Estimate:
    """A mean over images and the interval that holds it; None = not known.

    Args:
        mean: of the images that have a score; None if none has.
        low: lower end; None with fewer than two images, or groups, to draw from.
        high: upper end.
        images: those that have a score.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    images: int = 0


# By mode and metric.
Estimates = dict[str, dict[str, Estimate]]


def bootstrap_interval(
    scores: np.ndarray,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    groups: Sequence[Hashable] | None = None,
) -> Estimate:
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
    there = np.flatnonzero(~np.isnan(scores)).tolist()
    if not there:
        return Estimate()
    mean = float(scores[there].mean())
    number: dict[Hashable, int] = {}
    member = [number.setdefault(at if groups is None else groups[at], len(number)) for at in there]
    if len(number) < 2:
        return Estimate(mean, images=len(there))
    sums, counts = np.bincount(member, weights=scores[there]), np.bincount(member)
    means = np.empty(resamples)
    block = max(1, _BLOCK // len(sums))
    for start in range(0, resamples, block):
        part = means[start : start + block]
        drawn = generator.integers(0, len(sums), size=(len(part), len(sums)))
        part[:] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(mean, float(low), float(high), len(there))


def intervals(
    scores: Scores,
    scenes: Sequence[str],
    seed: int,
    *,
    confidence: float,
    resamples: int,
    baseline: Scores | None = None,
) -> Estimates:
    """Mean of each metric and the interval that scenes drawn at random would give.

    See :func:`bootstrap_interval`; the scores of a baseline are subtracted image by image.
    """

    def gains(mode: str, metric: str) -> np.ndarray:
        own = np.array(scores[mode][metric], dtype=np.float64)
        return own if baseline is None else own - np.array(baseline[mode][metric], np.float64)

    return {
        mode: {
            metric: bootstrap_interval(
                gains(mode, metric),
                numpy_generator(seed, "bootstrap"),
                confidence=confidence,
                resamples=resamples,
                groups=scenes,
            )
            for metric in of_mode
        }
        for mode, of_mode in scores.items()
    }
