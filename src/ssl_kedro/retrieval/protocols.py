"""Mean average precision as the Oxford, Paris and revisited benchmarks define it.

Convention: a ranking holds database indices, best first, one column a query, (N, Q). Positives
are what a query should find; junk is taken out of the ranking before anything is counted, so
that finding it neither helps nor harms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Level:
    """Which lists of a ground truth are positives and which are junk; others count as wrong."""

    positives: frozenset[str]
    junk: frozenset[str]


# Radenovic et al. 2018, section 3.3, and Philbin et al. 2007.
REVISITED: Mapping[str, Level] = {
    "easy": Level(frozenset({"easy"}), frozenset({"junk", "hard"})),
    "medium": Level(frozenset({"easy", "hard"}), frozenset({"junk"})),
    "hard": Level(frozenset({"hard"}), frozenset({"junk", "easy"})),
}
CLASSIC = Level(frozenset({"ok"}), frozenset({"junk"}))


@dataclass(frozen=True)
class Judgements:
    """Database images that somebody has judged for each query, in named lists.

    Args:
        lists: for each name (such as "easy") and query the database indices, each (K,).

    Raises:
        ValueError: lists of unequal numbers of queries, or an image twice for one query.
    """

    lists: Mapping[str, Sequence[np.ndarray]]

    def __post_init__(self) -> None:
        counts = {name: len(queries) for name, queries in self.lists.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"expected lists for equally many queries, found {counts}")
        for query, images in enumerate(self.images):
            values, times = np.unique(images, return_counts=True)
            if len(values) < len(images):
                raise ValueError(
                    f"query {query}: image {values[times > 1][0]} is listed more than once; "
                    f"expected it in one of {', '.join(self.names)}, once"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the lists; a kind is an index into them, plus 1."""
        return tuple(self.lists)

    @cached_property
    def images(self) -> list[np.ndarray]:
        """Of each query, list after list."""
        return [
            np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])
            for parts in zip(*self.lists.values(), strict=True)
        ]

    @cached_property
    def kinds(self) -> list[np.ndarray]:
        """The same images' lists: index into ``names``, plus 1."""
        return [
            np.repeat(np.arange(1, len(parts) + 1, dtype=np.uint8), [len(part) for part in parts])
            for parts in zip(*self.lists.values(), strict=True)
        ]


@dataclass(frozen=True)
class Places:
    """Where the judged images stand in the rankings, all queries in one row.

    Args:
        names: of the lists.
        places: counted from 0, ascending within each query, (M,).
        kinds: list of each, index into ``names`` plus 1, (M,).
        starts: first entry of each query, and M, (Q + 1,).
    """

    names: tuple[str, ...]
    places: np.ndarray
    kinds: np.ndarray
    starts: np.ndarray

    def hits(self, level: Level) -> "Hits":
        """Places of the positives once junk is out."""
        wanted, junk = self._in(level.positives), self._in(level.junk)
        before, counted = _sums_before(junk), _sums_before(wanted)
        within = before[:-1] - np.repeat(before[self.starts[:-1]], np.diff(self.starts))
        return Hits((self.places - within)[wanted], counted[self.starts])

    def _in(self, names: frozenset[str]) -> np.ndarray:
        table = np.array([False, *(name in names for name in self.names)])
        return np.asarray(table[self.kinds])


@dataclass(frozen=True)
class Hits:
    """What each query found, all queries in one row.

    Args:
        places: in the ranking without junk, counted from 0, ascending within each query, (H,).
        starts: first entry of each query, and H, (Q + 1,).
    """

    places: np.ndarray
    starts: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Positives of each query, (Q,)."""
        return np.asarray(np.diff(self.starts))


def places_in_rankings(
    rankings: np.ndarray, judgements: Judgements, count: int | None = None
) -> Places:
    """Find the judged images in rankings.

    Args:
        rankings: (K, Q), each column holding database indices once, best first. Entries of -1
            are places that a search could not fill.
        judgements: what is judged.
        count: images in the database, where rankings may lack some of them: judged images
            that they lack stand last, so that their share of the average precision is a
            lower bound. None = K, the rankings are full.

    Raises:
        ValueError: a ranking for each query is needed; an entry is no image of the database; a
            judged image is not in its ranking though that has to be full.
    """
    total = len(rankings) if count is None else count
    _check_queries(rankings, judgements)
    if rankings.size and (rankings.min() < -1 or rankings.max() >= total):
        raise ValueError(
            f"rankings hold entries from {rankings.min()} to {rankings.max()}; expected images "
            f"0 to {total - 1} of the database, or -1 for a place that was not filled"
        )
    table = np.zeros(total + 1, dtype=np.uint8)  # the last is for places that were not filled
    places, kinds = [], []
    for query, (images, of_list) in enumerate(
        zip(judgements.images, judgements.kinds, strict=True)
    ):
        _check_range(images, total, query)
        table[images] = of_list
        # The range is checked above: "wrap" spares the check per entry, and -1 is the last slot.
        in_order = table.take(rankings[:, query], mode="wrap")
        (found,) = (in_order != 0).nonzero()
        missing = len(images) - len(found)
        if count is None and missing:
            raise ValueError(
                f"the ranking of query {query} holds {len(found)} of its {len(images)} judged "
                f"images; expected every image of the database once"
            )
        of_found = in_order[found]
        if missing:
            table[rankings[found, query]] = 0
            last = table[images]
            found = np.concatenate([found, np.arange(total - missing, total)])
            of_found = np.concatenate([of_found, last[last > 0]])
        table[images] = 0
        places.append(found)
        kinds.append(of_found)
    return _joined(judgements, places, kinds)


def places_by_similarity(similarities: np.ndarray, judgements: Judgements) -> Places:
    """Find the judged images without ranking the others.

    Ties stand in the order of the database, as in a stable descending sort.

    Args:
        similarities: (N, Q), higher is nearer.
        judgements: what is judged.

    Raises:
        ValueError: a column for each query is needed; a value is not a number.
    """
    _check_queries(similarities, judgements)
    if np.isnan(similarities).any():
        image, query = np.argwhere(np.isnan(similarities))[0]
        raise ValueError(f"the similarity of query {query} and image {image} is not a number")
    places, kinds = [], []
    for query, (images, of_list) in enumerate(
        zip(judgements.images, judgements.kinds, strict=True)
    ):
        _check_range(images, len(similarities), query)
        column = np.ascontiguousarray(similarities[:, query])
        ordered, values = np.sort(column), column[images]
        end = np.searchsorted(ordered, values, side="right")
        nearer = len(column) - end
        for at in np.flatnonzero(end - np.searchsorted(ordered, values) > 1):
            nearer[at] += np.count_nonzero(column[: images[at]] == values[at])
        order = np.argsort(nearer)
        places.append(nearer[order])
        kinds.append(of_list[order])
    return _joined(judgements, places, kinds)


def places_at_random(judgements: Judgements, count: int, generator: np.random.Generator) -> Places:
    """Where random rankings of so many images would have them, without ranking the others."""
    places, kinds = [], []
    for of_list in judgements.kinds:
        drawn = generator.choice(count, len(of_list), replace=False, shuffle=False)
        places.append(np.sort(drawn))
        kinds.append(generator.permutation(of_list))
    return _joined(judgements, places, kinds)


def _joined(
    judgements: Judgements, places: Sequence[np.ndarray], kinds: Sequence[np.ndarray]
) -> Places:
    starts = _sums_before(np.array([len(found) for found in places]))
    return Places(judgements.names, np.concatenate(places), np.concatenate(kinds), starts)


def average_precisions(hits: Hits) -> np.ndarray:
    """AP of each query: area under the precision-recall polygon, by the trapezoidal rule.

    Each positive adds the mean of the precision just before and just after it, as in the
    original benchmark's ``compute_ap``.

    Returns:
        (Q,), float64 in [0, 1]; NaN for a query without positives.
    """
    found = np.arange(len(hits.places)) - np.repeat(hits.starts[:-1], hits.counts)
    # Nothing stands before the first place: precision there counts as 1.
    before = np.where(hits.places > 0, found / np.maximum(hits.places, 1), 1.0)
    area = _sums_before(before + (found + 1) / (hits.places + 1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diff(area[hits.starts]) / (2 * hits.counts))


def precisions_at(hits: Hits, ks: Sequence[int]) -> np.ndarray:
    """Precision among the first k, where k stops at the last positive (revisited benchmarks).

    Args:
        hits: of each query.
        ks: numbers of results looked at, each at least 1.

    Returns:
        (Q, K), float64 in [0, 1]; NaN for a query without positives.
    """
    queries = np.arange(len(hits.counts))
    past_last = np.zeros(len(queries), dtype=np.int64)
    some = hits.counts > 0
    past_last[some] = hits.places[hits.starts[1:][some] - 1] + 1
    looked_at = np.minimum(np.asarray(ks)[None, :], past_last[:, None])
    # One sorted row for all queries: each has its own stretch of numbers.
    stretch = int(past_last.max(initial=0)) + 1
    row = hits.places + stretch * np.repeat(queries, hits.counts)
    found = np.searchsorted(row, looked_at + stretch * queries[:, None]) - hits.starts[:-1, None]
    with np.errstate(invalid="ignore"):
        return np.asarray(found / looked_at)


def _sums_before(values: np.ndarray) -> np.ndarray:
    """Sum of the values before each, and of all, (M,) -> (M + 1,)."""
    return np.concatenate([[0], np.cumsum(values)])


def _check_queries(columns: np.ndarray, judgements: Judgements) -> None:
    if columns.ndim != 2 or columns.shape[1] != len(judgements.images):
        raise ValueError(
            f"expected a column for each of {len(judgements.images)} queries, found an array of "
            f"shape {columns.shape}"
        )


def _check_range(images: np.ndarray, count: int, query: int) -> None:
    if len(images) and not 0 <= images.min() <= images.max() < count:
        outside = images[(images < 0) | (images >= count)][0]
        raise ValueError(
            f"query {query} lists image {outside}, but the database has {count}: "
            f"expected indices from 0 to {count - 1}"
        )
