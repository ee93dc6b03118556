"""Area under the ROC curve as the Mann-Whitney statistic: ties get half credit, exactly.

AUC = P(positive > negative) + P(positive = negative) / 2. Published code sums trapezoids between
the thresholds at the fixations; its curve cuts each step's corner, which adds at most 1 / (2 F) for
F fixations, and counts a tie of several fixations once for each.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np


def mann_whitney(positives: np.ndarray, negatives: np.ndarray) -> float:
    """AUC of two samples, (P,) and (N,); NaN where one is empty."""
    if not len(positives) or not len(negatives):
        return float("nan")
    won, total = _twice_won(np.sort(negatives), np.sort(positives)), len(negatives)
    return won / (2 * len(positives) * total)


class RankedMap:
    """A map whose values are sorted once for any number of AUCs.

    Args:
        values: (h, w), not changed while this is in use.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values.reshape(-1)
        self._width = values.shape[1]

    @cached_property
    def _ascending(self) -> np.ndarray:
        return np.sort(self._values)

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self._values)

    def auc_against_rest(self, pixels: np.ndarray) -> float:
        """Fixated pixels against all others, each once.

        Args:
            pixels: flat indices, unique.

        Returns:
            AUC; NaN where no pixel is fixated or all are.
        """
        count = len(pixels)
        rest = len(self._values) - count
        if not count or not rest:
            return float("nan")
        positives = np.sort(self._values[pixels])
        # Wins against the others = wins against all less wins among the fixated themselves.
        won = _twice_won(self._ascending, positives) - _twice_won(positives, positives)
        return won / (2 * count * rest)

    def auc_against_sphere(self, pixels: np.ndarray, shares: np.ndarray) -> float:
        """Fixations against all pixels, each pixel with its weight.

        Args:
            pixels: flat indices; a pixel that occurs twice counts twice.
            shares: weight of the pixels of each row, (h,).

        Returns:
            AUC; NaN where there is no fixation.
        """
        if not len(pixels):
            return float("nan")
        mass = np.empty(len(self._values) + 1)
        mass[0] = 0
        np.cumsum(np.repeat(shares, self._width)[self._order], out=mass[1:])
        positives = np.sort(self._values[pixels])
        below = mass[np.searchsorted(self._ascending, positives, side="left")]
        at_most = mass[np.searchsorted(self._ascending, positives, side="right")]
        # Dividing by the same sum, not by 1, makes a constant map .5 to the last bit.
        return float((below + at_most).sum() / (2 * len(positives) * mass[-1]))


def _twice_won(ascending: np.ndarray, positives: np.ndarray) -> int:
    """2 x (pairs in which the positive is larger) + pairs that tie, exact."""
    below = np.searchsorted(ascending, positives, side="left")
    at_most = np.searchsorted(ascending, positives, side="right")
    return int(below.sum()) + int(at_most.sum())
