"""What a metric of saliency is, and what it is given: one prediction beside one truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ssl_kedro.core.plugins import modules
from ssl_kedro.saliency.maps import Mode, pixel_shares, weighted_mean, weighted_product
from ssl_kedro.saliency.ranks import RankedMap

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
    of_map: Callable[[Compared], float] | None = None
    of_fixations: Callable[[Compared, np.ndarray], float] | None = None
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
    ranks: RankedMap

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
    def values(self) -> np.ndarray:
        """What fixations are looked up in, (h, 2h): in `authors` mode times the sine."""
        if self.mode != "authors":
            return self.prediction
        return np.asarray(self.prediction * (self.shares[:, None] / self.shares.max()))

    @cached_property
    def ranked(self) -> RankedMap:
        """Ranks of :attr:`values`."""
        return self.ranks if self.mode != "authors" else RankedMap(self.values)

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
