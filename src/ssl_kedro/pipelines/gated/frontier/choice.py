"""The front of accuracy against time, and what to deploy: pure functions of points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_ROUNDING = 1e-9


def pareto_front(times: Sequence[float], accuracies: Sequence[float]) -> np.ndarray:
    """Which points no other one beats: boolean, one a point.

    A point is beaten by one that is no slower and no less accurate, and better in one of the two;
    equal points stand together. A point without an accuracy (NaN) is not on the front.

    Args:
        times: finite; less is better.
        accuracies: more is better.

    Raises:
        ValueError: as many times as accuracies are expected.
    """
    pairs = list(zip(times, accuracies, strict=True))
    found = np.zeros(len(pairs), dtype=bool)
    known = [place for place, (_, accuracy) in enumerate(pairs) if not math.isnan(accuracy)]
    best, at = -math.inf, math.nan
    for place in sorted(known, key=lambda place: (pairs[place][0], -pairs[place][1])):
        time, accuracy = pairs[place]
        if accuracy > best:
            best, at = accuracy, time
            found[place] = True
        elif (time, accuracy) == (at, best):
            found[place] = True
    return found


@dataclass(frozen=True)
class Candidate:
    """One network in one precision that may be deployed.

    Args:
        name: that tells it from the others.
        accuracy: in points, or any other measure of which more is better.
        ms: an image, by batch size.
    """

    name: str
    accuracy: float
    ms: Mapping[int, float]

    @property
    def time(self) -> float:
        """Geometric mean over batch sizes: each counts by how many times faster it is."""
        return math.exp(math.fsum(map(math.log, self.ms.values())) / len(self.ms))


def deployed(candidates: Sequence[Candidate], within: float) -> tuple[Candidate, Candidate] | None:
    """The fastest candidate close enough to the most accurate one, and that one.

    Only those timed at the batch sizes of most others take part. Nothing that is no slower at any
    batch size is more accurate than what is deployed.

    Args:
        candidates: all that are offered.
        within: points that the accuracy may be below the best.

    Returns:
        None without candidates that have an accuracy.
    """
    known = [one for one in candidates if not math.isnan(one.accuracy) and one.ms]
    if not known:
        return None
    batches = max((frozenset(one.ms) for one in known), key=lambda of: _count(known, of))
    known = [one for one in known if frozenset(one.ms) == batches]
    best = max(known, key=lambda one: (one.accuracy, -one.time))
    close = [one for one in known if one.accuracy >= best.accuracy - within - _ROUNDING]
    return min(close, key=lambda one: (one.time, -one.accuracy)), best


def _count(candidates: Sequence[Candidate], batches: frozenset[int]) -> int:
    return sum(frozenset(one.ms) == batches for one in candidates)
