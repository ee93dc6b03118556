"""What a metric of saliency is, and what it is given: one prediction beside one truth.

Areas under the ROC curve are the Mann-Whitney statistic: ties get half credit, exactly.
AUC = P(positive > negative) + P(positive = negative) / 2. Published code sums trapezoids between
the thresholds at the fixations; its curve cuts each step's corner, which adds at most 1 / (2 F) for
F fixations, and counts a tie of several fixations once for each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ssl_kedro.core.plugins import modules
from ssl_kedro.saliency.maps import Mode, pixel_shares, weighted_mean, weighted_product

EPS = float(np.finfo(np.float64).eps)
# A map whose deviation is this small beside its mean is constant up to rounding.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Metric:
    """One way to compare a prediction with where people looked; exactly one of the functions.

    Args:
        heading: of its column in tables, "AUC-J".
        meaning: what it says, as the end of a sentence that begins with its heading.
        range: of its values, "0 to 1".
        unit: of its values, "bits a fixation"; "" = none.
        place: in tables, from left to right.
        of_map: its value where the truth's map is known.
        of_fixations: its value for one set of fixations, given as the flat indices of their
            pixels, (F,), F at least 1; values of several sets are averaged.
        lower_is_better: whether a better prediction has a lower value.
    """

    heading: str
    meaning: str
    range: str
    place: int
    unit: str = ""
    of_map: "Callable[[Compared], float] | None" = None
    of_fixations: "Callable[[Compared, np.ndarray], float] | None" = None
    lower_is_better: bool = False


@lru_cache(maxsize=1)
def metrics() -> dict[str, Metric]:
    """All metrics by name, in the order of tables.

    A metric is a module of ``ssl_kedro.saliency.metrics``, or of another installed package (see
    :func:`ssl_kedro.core.plugins.module_names`), that has a ``METRIC``; its name is the module's.
    """
    found = {
        module.__name__.rpartition(".")[2]: module.METRIC
        for module in modules("ssl_kedro.saliency.metrics")
    }
    return dict(sorted(found.items(), key=lambda item: item[1].place))


@dataclass(frozen=True)
class Compared:
    """One prediction beside what it is compared with, in one mode, all of one size.

    Args:
        mode: of scoring.
        prediction: density per solid angle (h, 2h).
        truth: the same of where people looked; None = not known.
        prior: the same of what information gain compares with; None = not known.
        others: flat indices of pixels that are fixated in other images; empty = not known.
        ranks: of the prediction, shared by the modes.
    """

    mode: Mode
    prediction: np.ndarray
    truth: np.ndarray | None
    prior: np.ndarray | None
    others: np.ndarray
    ranks: "RankedMap"

    @cached_property
    def shares(self) -> np.ndarray:
        """Share of the whole that one pixel of each row has, (h,); see :func:`pixel_shares`."""
        return pixel_shares(self.mode, *self.prediction.shape)

    @cached_property
    def masses(self) -> tuple[np.ndarray, np.ndarray]:
        """Prediction and truth times the pixels' shares, (h, 2h) each.

        Raises:
            ValueError: there is no map of the truth.
        """
        if self.truth is None:
            raise ValueError("found no map of the truth; expected one for a metric of maps")
        return self.prediction * self.shares[:, None], self.truth * self.shares[:, None]

    @cached_property
    def ranked(self) -> "RankedMap":
        """What fixations are looked up in: in `authors` mode the prediction times the sine."""
        if self.mode != "authors":
            return self.ranks
        return RankedMap(self.prediction * (self.shares[:, None] / self.shares.max()))

    @property
    def values(self) -> np.ndarray:
        """Those of :attr:`ranked`, (h, 2h)."""
        return self.ranked.values

    @cached_property
    def spread(self) -> tuple[float, float]:
        """Mean of :attr:`values` and their deviation, 0 if they are constant.

        By solid angle in `sphere` mode; in the others all pixels count alike.
        """
        weights = self.shares
        if self.mode != "sphere":
            weights = pixel_shares("planar", *self.values.shape)
        return weighted_mean(self.values, weights), centred(self.values, weights)[1]


def centred(values: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, float]:
    """A map less its weighted mean, and its weighted deviation, 0 if it is constant."""
    mean = weighted_mean(values, shares)
    found = values - mean
    spread = weighted_product(found, found, shares) ** 0.5
    return found, spread if spread > _CONSTANT * mean else 0.0


def mann_whitney(positives: np.ndarray, negatives: np.ndarray) -> float:
    """AUC of two samples, (P,) and (N,); NaN where one is empty."""
    if not len(positives) or not len(negatives):
        return float("nan")
    won, total = _twice_won(np.sort(negatives), np.sort(positives)), len(negatives)
    return won / (2 * len(positives) * total)


@dataclass(frozen=True)
class RankedMap:
    """A map whose values are sorted once for any number of AUCs.

    Args:
        values: (h, w), not changed while this is in use.
    """

    values: np.ndarray

    @cached_property
    def _ascending(self) -> np.ndarray:
        return np.sort(self.values, axis=None)

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.values, axis=None)

    def auc_against_rest(self, pixels: np.ndarray) -> float:
        """Fixated pixels against all others, each once.

        Args:
            pixels: flat indices, unique.

        Returns:
            AUC; NaN where no pixel is fixated or all are.
        """
        count = len(pixels)
        rest = self.values.size - count
        if not count or not rest:
            return float("nan")
        positives = np.sort(np.take(self.values, pixels))
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
        weights = np.repeat(shares, self.values.shape[1])
        mass = np.append(0, np.cumsum(weights[self._order]))
        positives = np.sort(np.take(self.values, pixels))
        below = mass[np.searchsorted(self._ascending, positives, side="left")]
        at_most = mass[np.searchsorted(self._ascending, positives, side="right")]
        # Dividing by the same sum, not by 1, makes a constant map .5 to the last bit.
        return float((below + at_most).sum() / (2 * len(positives) * mass[-1]))


def _twice_won(ascending: np.ndarray, positives: np.ndarray) -> int:
    """2 x (pairs in which the positive is larger) + pairs that tie, exact."""
    below = np.searchsorted(ascending, positives, side="left")
    at_most = np.searchsorted(ascending, positives, side="right")
    return int(below.sum()) + int(at_most.sum())
