"""What a ground truth holds, whatever file it was read from.

Convention: indices count from 0 and point into ``database``; boxes are left, top, right, bottom
in pixels of the original image, as the published file gives them.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from ssl_kedro.core.errors import InputError, first_few
from ssl_kedro.retrieval.protocols import CLASSIC, REVISITED, Judgements, Level

_NEW_COPY = "fetch the file from its publisher again, or correct it"
T = TypeVar("T", bound=Hashable)


class GroundTruthError(InputError):
    """A ground truth that cannot be used.

    Cause: the file is damaged, or names images twice, not at all, or that are not there.
    Remedy: fetch a new copy from its publisher, or correct the line that the message names.

    Args:
        found: what was found.
        expected: what is needed.
        remedy: what to do.
        path: the file or folder at fault; None where there is none, or :func:`read_from` knows it.
    """

    def __init__(
        self, found: str, expected: str, remedy: str = _NEW_COPY, path: Path | None = None
    ) -> None:
        self.path = path
        super().__init__(path or "the ground truth", found, expected, remedy)


@contextmanager
def read_from(path: Path) -> Iterator[None]:
    """Within, errors that name no file or folder name this one."""
    try:
        yield
    except GroundTruthError as error:
        if error.path is not None:
            raise
        named = GroundTruthError(error.found, error.expected, error.remedy, path)
        raise named from error.__cause__


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Queries, the images they are searched in, and which of those somebody has judged.

    Args:
        database: names of the images searched in, as the file spells them, (N,).
        queries: names of the query images, (Q,).
        lists: for each name and query the database images judged so, each (K,); the names are
            easy, hard and junk of the revisited protocols, or ok and junk of the classic one.
        boxes: float64 (Q, 4), the part of each query image that is asked for; a row of NaN is a
            query without a box. None where no query has one.

    Raises:
        GroundTruthError: the parts contradict each other.
    """

    database: tuple[str, ...]
    queries: tuple[str, ...]
    lists: Mapping[str, Sequence[np.ndarray]]
    boxes: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_names()
        self._check_judged()
        if self.boxes is not None:
            self._check_boxes(self.boxes)

    @property
    def levels(self) -> Mapping[str, Level]:
        """Protocols to evaluate the lists with; the only one is "" where there are no levels."""
        return REVISITED if "easy" in self.lists else {"": CLASSIC}

    @cached_property
    def judgements(self) -> Judgements:
        """The lists, query by query."""
        return Judgements(self.lists)

    @cached_property
    def query_in_database(self) -> np.ndarray:
        """Index of each query in the database, int64 (Q,); -1 where it is not part of it."""
        known = {name: index for index, name in enumerate(self.database)}
        return np.array([known.get(name, -1) for name in self.queries], dtype=np.int64)

    def queries_without_positives(self, level: str) -> tuple[str, ...]:
        """Queries that have nothing to find at a level; means leave them out.

        Args:
            level: name of one of ``levels``.

        Raises:
            ValueError: there is no such level.
        """
        if level not in self.levels:
            raise ValueError(f"level {level!r}: expected one of {list(self.levels)}")
        positives = zip(*(self.lists[name] for name in self.levels[level].positives), strict=True)
        pairs = zip(self.queries, positives, strict=True)
        return tuple(query for query, found in pairs if not any(map(len, found)))

    def _check_counts(self) -> None:
        if not self.database:
            raise GroundTruthError("an empty database", "the names of the images to search in")
        if not self.queries:
            raise GroundTruthError("no queries", "at least one query")
        count = len(self.queries)
        parts = [("judgements", queries) for queries in self.lists.values()]
        parts += [] if self.boxes is None else [("boxes", list(self.boxes))]
        for what, rows in parts:
            if len(rows) != count:
                raise GroundTruthError(
                    f"{what} for {len(rows)} queries", f"{count}, one for each query"
                )
        missing = set().union(*(level.positives for level in self.levels.values())) - {*self.lists}
        if missing:
            raise GroundTruthError(
                f"judgements with the lists {', '.join(self.lists)}",
                f"the list {min(missing)}, which the levels ask for",
            )

    def _check_names(self) -> None:
        twice = repeated(self.database)
        if twice:
            raise GroundTruthError(
                f"{len(twice)} names more than once in the database "
                f"({first_few(map(repr, twice))})",
                "every image once",
            )
        boxes = [""] * len(self.queries) if self.boxes is None else map(str, self.boxes.tolist())
        again = {name for name, _ in repeated(zip(self.queries, boxes, strict=True))}
        if again:
            raise GroundTruthError(
                f"queries more than once ({first_few(map(repr, sorted(again)))})",
                "every query once; the same image may be asked twice with different boxes only",
            )

    def _check_judged(self) -> None:
        count, names = len(self.database), ", ".join(self.lists)
        judged = zip(*self.lists.values(), strict=True)
        for query, place, parts in zip(self.queries, self.query_in_database, judged, strict=True):
            images, times = np.unique(np.concatenate(parts), return_counts=True)
            if (times > 1).any():
                raise GroundTruthError(
                    f"image {images[times > 1][0]} listed more than once for query {query!r}",
                    f"each image in one of {names}, once",
                )
            for outside in images[(images < 0) | (images >= count)]:
                raise GroundTruthError(
                    f"index {outside} among the judged images of query {query!r}",
                    f"indices from 0 to {count - 1}, since the database has {count} images",
                )
            if place >= 0 and place not in images:
                raise GroundTruthError(
                    f"query {query!r} in the database, judged neither a positive nor junk",
                    "a query outside the database, or one that is listed for itself: otherwise "
                    "it finds itself first and that counts as an error",
                    "take the query out of the database, or add it to its own junk",
                )

    def _check_boxes(self, boxes: np.ndarray) -> None:
        if boxes.shape != (len(self.queries), 4):
            raise GroundTruthError(
                f"boxes of shape {boxes.shape}", f"({len(self.queries)}, 4), a row for each query"
            )
        sound = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
        for query in np.flatnonzero(~sound & ~np.isnan(boxes).all(axis=1)):
            raise GroundTruthError(
                f"box {boxes[query].tolist()} of query {self.queries[query]!r}",
                "left, top, right, bottom in pixels, with left < right and top < bottom",
            )


def repeated(names: Iterable[T]) -> list[T]:
    """What occurs more than once, in the order of first occurrence."""
    return [name for name, times in Counter(names).items() if times > 1]
