"""Scores of many predictions, their means over images, and what is gained over a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.saliency.intervals import Interval, bootstrap_interval, paired_interval
from ssl_kedro.saliency.maps import Mode
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.scores import scores_by_mode

# By mode and metric one score an image, NaN where it has none.
Scores = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class PanoramaTruth:
    """What one prediction is compared with.

    Args:
        truth: density per solid angle (h, 2h).
        fixations: sets that are scored one by one, as of two eyes; None = not known.
        others: fixations of the other tested images, for sAUC; None where there are none.
        prior: what the equator prior of its training images says, (h, 2h).
    """

    truth: np.ndarray
    fixations: Fixations | Sequence[Fixations] | None
    others: Fixations | None
    prior: np.ndarray


def score_all(
    predictions: Iterable[np.ndarray], panoramas: Sequence[PanoramaTruth], modes: Sequence[Mode]
) -> Scores:
    """Scores of one model on all images.

    Args:
        predictions: one map (h, 2h) an image.
        panoramas: what they are compared with.
        modes: of scoring.
    """
    return transposed(
        [
            scores_by_mode(
                prediction,
                panorama.truth,
                panorama.fixations,
                equator_prior=panorama.prior,
                other_fixations=panorama.others,
                modes=modes,
            )
            for prediction, panorama in zip(predictions, panoramas, strict=True)
        ],
        modes,
    )


def transposed(
    found: Sequence[Mapping[Mode, Mapping[str, float]]], modes: Sequence[Mode]
) -> Scores:
    """Scores by mode and metric, from scores by image."""
    return {
        mode: {metric: [one[mode][metric] for one in found] for metric in metrics()}
        for mode in modes
    }


def intervals(
    scores: Scores, scenes: Sequence[str], seed: int, *, confidence: float, resamples: int
) -> dict[str, dict[str, Interval]]:
    """Mean of each metric and the interval that scenes drawn at random would give."""
    return {
        mode: {
            metric: bootstrap_interval(
                np.array(values, dtype=np.float64),
                numpy_generator(seed, "bootstrap"),
                confidence=confidence,
                resamples=resamples,
                groups=scenes,
            )
            for metric, values in of_mode.items()
        }
        for mode, of_mode in scores.items()
    }


def gains(
    scores: Scores,
    baseline: Scores,
    scenes: Sequence[str],
    seed: int,
    *,
    confidence: float,
    resamples: int,
) -> dict[str, dict[str, Interval]]:
    """Paired differences to a baseline, scores - baseline; see :func:`intervals`."""
    return {
        mode: {
            metric: paired_interval(
                np.array(values, dtype=np.float64),
                np.array(baseline[mode][metric], dtype=np.float64),
                numpy_generator(seed, "bootstrap"),
                confidence=confidence,
                resamples=resamples,
                groups=scenes,
            )
            for metric, values in of_mode.items()
        }
        for mode, of_mode in scores.items()
    }
