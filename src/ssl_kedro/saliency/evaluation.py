"""Scores of many predictions, their means over images, and differences to a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.saliency.intervals import Interval, bootstrap_interval
from ssl_kedro.saliency.maps import Mode
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import Fixations, joined
from ssl_kedro.saliency.scores import scores_by_mode
from ssl_kedro.saliency.truth import fixation_sets_of, fixations_of

Arrays = dict[str, np.ndarray]
# By mode and metric one score an image, None where it has none.
Scores = dict[str, dict[str, list[float | None]]]


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


class TruthsOfTested(Sequence[PanoramaTruth]):
    """What each tested panorama is compared with, made when it is asked for.

    Each has the fixations of all others: all at once they would grow with the square of the
    number of frames.

    Args:
        truth: maps and fixations of the stored panoramas.
        rows: which of them are tested.
        priors: of each.
    """

    def __init__(self, truth: Arrays, rows: Sequence[int], priors: Sequence[np.ndarray]) -> None:
        self._truth = truth
        self._rows = rows
        self._priors = priors
        known = [(row, fixations_of(truth, row)) for row in rows]
        self._all = joined(found for _, found in known)
        self._owner = np.repeat(
            np.array([row for row, _ in known], dtype=np.int64),
            [0 if found is None else len(found) for _, found in known],
        )

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> PanoramaTruth: ...
    @overload
    def __getitem__(self, index: slice) -> list[PanoramaTruth]: ...
    def __getitem__(self, index: int | slice) -> PanoramaTruth | list[PanoramaTruth]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self._rows[index]
        return PanoramaTruth(
            self._truth["maps"][row],
            fixation_sets_of(self._truth, row) or None,
            self._others(row),
            self._priors[index],
        )

    def _others(self, row: int) -> Fixations | None:
        if self._all is None:
            return None
        chosen = self._owner != row
        if not chosen.any():
            return None
        return self._all.of(chosen)


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
        mode: {name: [_known(one[mode][name]) for one in found] for name in metrics()}
        for mode in modes
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def intervals(
    scores: Scores,
    scenes: Sequence[str],
    seed: int,
    *,
    confidence: float,
    resamples: int,
    baseline: Scores | None = None,
) -> dict[str, dict[str, Interval]]:
    """Mean of each metric and the interval that scenes drawn at random would give.

    Args:
        scores: of one model.
        scenes: of each image.
        seed: of the draws.
        confidence: share inside.
        resamples: how many.
        baseline: taken from the scores image by image; None = nothing.
    """

    def values(of: Scores, mode: str, metric: str) -> np.ndarray:
        return np.array(of[mode][metric], dtype=np.float64)

    return {
        mode: {
            metric: bootstrap_interval(
                values(scores, mode, metric)
                - (0 if baseline is None else values(baseline, mode, metric)),
                numpy_generator(seed, "bootstrap"),
                confidence=confidence,
                resamples=resamples,
                groups=scenes,
            )
            for metric in of_mode
        }
        for mode, of_mode in scores.items()
    }
