"""Mean average precision as the Oxford, Paris and revisited benchmarks define it.

Convention: a ranking holds database indices, best first, one column a query, (N, Q). Positives
are what a query should find; junk is taken out of the ranking before anything is counted, so
that finding it neither helps nor harms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Level = Literal["easy", "medium", "hard"]
LEVELS: tuple[Level, ...] = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Relevance:
    """What each query should find, and what does not count.

    Args:
        positives: database indices of each query, each (P_q,), every index once.
        junk: the same for images that are taken out of the ranking.

    Raises:
        ValueError: lists of unequal length, an index twice, or one in both lists of a query.
    """

    positives: Sequence[np.ndarray]
    junk: Sequence[np.ndarray]

    def __post_init__(self) -> None:
        if len(self.positives) != len(self.junk):
            raise ValueError(
                f"positives are given for {len(self.positives)} queries, junk for {len(self.junk)}"
            )
        for query, (positives, junk) in enumerate(zip(self.positives, self.junk, strict=True)):
            listed = np.concatenate([positives, junk])
            if len(np.unique(listed)) < len(listed):
                values, counts = np.unique(listed, return_counts=True)
                raise ValueError(
                    f"query {query}: image {values[counts > 1][0]} is listed more than once among "
                    f"its positives and junk; an image is one of the two, once"
                )


def revisited_relevance(
    easy: Sequence[np.ndarray],
    hard: Sequence[np.ndarray],
    junk: Sequence[np.ndarray],
    level: Level,
) -> Relevance:
    """Positives and junk of the revisited protocols (Radenovic et al. 2018, section 3.3).

    Easy: easy images are positives, hard ones join the junk. Medium: both are positives. Hard:
    hard images are positives, easy ones join the junk.

    Args:
        easy: database indices of each query.
        hard: the same.
        junk: the same.
        level: of the protocol.
    """
    parts = {"easy": ((easy,), (junk, hard)), "hard": ((hard,), (junk, easy))}
    positives, ignored = parts.get(level, ((easy, hard), (junk,)))
    return Relevance(_joined(positives), _joined(ignored))


def _joined(lists: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    return [
        np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])
        for parts in zip(*lists, strict=True)
    ]


def positions_of(rankings: np.ndarray) -> np.ndarray:
    """Where each image stands in each ranking: the inverse permutation of every column.

    Args:
        rankings: (N, Q), each column holding every database index once.

    Returns:
        (N, Q): row i, column q is the place of image i for query q, counted from 0.

    Raises:
        ValueError: a column does not hold every index once.
    """
    count, queries = rankings.shape
    columns = np.arange(queries)
    if count and not 0 <= rankings.min() <= rankings.max() < count:
        raise ValueError(
            f"expected rankings of {count} images, found indices from {rankings.min()} to "
            f"{rankings.max()}"
        )
    positions = np.full((count, queries), -1, dtype=np.int64)
    positions[rankings, columns] = np.arange(count)[:, None]
    if (positions < 0).any():
        image, query = np.argwhere(positions < 0)[0]
        raise ValueError(
            f"the ranking of query {query} lacks image {image}: expected every image once"
        )
    return positions


def listed_positions(similarities: np.ndarray, relevance: Relevance) -> list[np.ndarray]:
    """Places of the listed images alone, without ranking the others.

    Ties stand in the order of the database, as in a stable descending sort.

    Args:
        similarities: (N, Q), higher is nearer.
        relevance: positives and junk.

    Returns:
        For each query the places of its positives, then of its junk, (P_q + J_q,).

    Raises:
        ValueError: as many queries as there are columns are needed; a value is not a number.
    """
    if similarities.shape[1] != len(relevance.positives):
        raise ValueError(
            f"similarities have {similarities.shape[1]} columns for {len(relevance.positives)} "
            f"queries"
        )
    if np.isnan(similarities).any():
        image, query = np.argwhere(np.isnan(similarities))[0]
        raise ValueError(f"the similarity of query {query} and image {image} is not a number")
    found = []
    for query, (positives, junk) in enumerate(
        zip(relevance.positives, relevance.junk, strict=True)
    ):
        column = np.ascontiguousarray(similarities[:, query])
        listed = np.concatenate([positives, junk]).astype(np.int64)
        values = column[listed]
        ordered = np.sort(column)
        nearer = len(column) - np.searchsorted(ordered, values, side="right")
        equal = np.searchsorted(ordered, values, side="right") - np.searchsorted(ordered, values)
        for at in np.flatnonzero(equal > 1):
            nearer[at] += np.count_nonzero(column[: listed[at]] == values[at])
        found.append(nearer)
    return found


def average_precisions(positions: Sequence[np.ndarray], relevance: Relevance) -> np.ndarray:
    """AP of each query: area under the precision-recall polygon, by the trapezoidal rule.

    Each positive adds the mean of the precision just before and just after it, as in the
    original benchmark's ``compute_ap``.

    Args:
        positions: for each query the places of its positives, then of its junk; see
            :func:`listed_positions` and :func:`listed_from`.
        relevance: positives and junk.

    Returns:
        (Q,), float64 in [0, 1]; NaN for a query without positives.
    """
    return np.array([_average_precision(places) for places in _cleaned(positions, relevance)])


def _average_precision(places: np.ndarray) -> float:
    if len(places) == 0:
        return float("nan")
    found = np.arange(len(places))
    # Nothing stands before the first place: precision there counts as 1.
    before = np.where(places > 0, found / np.maximum(places, 1), 1.0)
    after = (found + 1) / (places + 1)
    return float((before + after).mean() / 2)


def precisions_at(
    positions: Sequence[np.ndarray], relevance: Relevance, ks: Sequence[int]
) -> np.ndarray:
    """Precision among the first k, where k stops at the last positive (revisited benchmarks).

    Args:
        positions: as in :func:`average_precisions`.
        relevance: positives and junk.
        ks: numbers of results looked at, each at least 1.

    Returns:
        (Q, K), float64 in [0, 1]; NaN for a query without positives.
    """
    rows = []
    for places in _cleaned(positions, relevance):
        if len(places) == 0:
            rows.append([float("nan")] * len(ks))
            continue
        looked_at = [min(k, int(places[-1]) + 1) for k in ks]
        rows.append([float((places < k).sum()) / k for k in looked_at])
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(ks))


def listed_from(positions: np.ndarray, relevance: Relevance) -> list[np.ndarray]:
    """Places of the listed images out of those of all, (N, Q); see :func:`positions_of`."""
    return [
        positions[np.concatenate([positives, junk]).astype(np.int64), query]
        for query, (positives, junk) in enumerate(
            zip(relevance.positives, relevance.junk, strict=True)
        )
    ]


def _cleaned(positions: Sequence[np.ndarray], relevance: Relevance) -> Iterator[np.ndarray]:
    """Each query's places of its positives in the ranking without junk, ascending."""
    for places, positives in zip(positions, relevance.positives, strict=True):
        found = np.sort(places[: len(positives)])
        junk = np.sort(places[len(positives) :])
        yield found - np.searchsorted(junk, found)
