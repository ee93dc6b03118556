"""What a ground truth holds, whatever file it was read from.

Convention: indices count from 0 and point into ``database``; boxes are left, top, right, bottom
in pixels of the original image, as the published file gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError
from ssl_kedro.retrieval.protocols import CLASSIC, Judgements, Level

CLASSIC_LEVELS: Mapping[str, Level] = {"": CLASSIC}

_NEW_COPY = "fetch the file from its publisher again, or correct it"


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Queries, the images they are searched in, and which of those somebody has judged.

    Args:
        database: names of the images searched in, as the file spells them, (N,).
        queries: names of the query images, (Q,).
        boxes: float64 (Q, 4), the part of each query image that is asked for; a row of NaN is a
            query without a box. None where no query has one.
        judgements: lists of judged database images for each query.
        levels: protocols that the lists can be evaluated with; the only one is called "" where
            there are no levels.
        query_in_database: int64 (Q,), index of each query in ``database``, -1 where it is not
            part of it.
        source: what it was read from, for messages.

    Raises:
        GroundTruthError: the parts contradict each other.
    """

    database: tuple[str, ...]
    queries: tuple[str, ...]
    boxes: np.ndarray | None
    judgements: Judgements
    levels: Mapping[str, Level]
    query_in_database: np.ndarray
    source: Path | None = None

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_names()
        self._check_judged()
        self._check_queries()
        if self.boxes is not None:
            self._check_boxes(self.boxes)

    def queries_without_positives(self, level: str) -> tuple[str, ...]:
        """Queries that have nothing to find at a level; means leave them out.

        Args:
            level: name of one of ``levels``.

        Raises:
            ValueError: there is no such level.
        """
        if level not in self.levels:
            raise ValueError(f"level {level!r}: expected one of {list(self.levels)}")
        wanted = self.levels[level].positives
        found = np.zeros(len(self.queries), dtype=np.int64)
        for name, images in self.judgements.lists.items():
            if name in wanted:
                found += [len(part) for part in images]
        return tuple(self.queries[query] for query in np.flatnonzero(found == 0))

    def _error(self, found: str, expected: str, remedy: str = _NEW_COPY) -> GroundTruthError:
        return GroundTruthError(self.source, found, expected, remedy)

    def _check_counts(self) -> None:
        if not self.database:
            raise self._error("an empty database", "the names of the images to search in")
        if not self.queries:
            raise self._error("no queries", "at least one query")
        count = len(self.queries)
        for what, number in (
            ("judgements", len(self.judgements.images)),
            ("places in the database", len(self.query_in_database)),
            ("boxes", count if self.boxes is None else len(self.boxes)),
        ):
            if number != count:
                raise self._error(f"{what} for {number} queries", f"{count}, one for each query")
        for level in self.levels.values():
            missing = level.positives - set(self.judgements.names)
            if missing:
                raise self._error(
                    f"judgements with the lists {', '.join(self.judgements.names)}",
                    f"the list {sorted(missing)[0]}, which the levels ask for",
                )

    def _check_names(self) -> None:
        twice = repeated(self.database)
        if twice:
            raise self._error(
                f"{len(twice)} names more than once in the database "
                f"({first_few(map(repr, twice))})",
                "every image once",
            )
        boxes = [""] * len(self.queries) if self.boxes is None else self.boxes.tolist()
        asked = [f"{name} {box}" for name, box in zip(self.queries, boxes, strict=True)]
        again = set(repeated(asked))
        if again:
            names = [name for name, key in zip(self.queries, asked, strict=True) if key in again]
            raise self._error(
                f"queries more than once ({first_few(map(repr, sorted(set(names))))})",
                "every query once; the same image may be asked twice with different boxes only",
            )

    def _check_judged(self) -> None:
        count = len(self.database)
        for query, images in zip(self.queries, self.judgements.images, strict=True):
            if len(images) and not 0 <= images.min() <= images.max() < count:
                outside = images[(images < 0) | (images >= count)][0]
                raise self._error(
                    f"index {outside} among the judged images of query {query!r}",
                    f"indices from 0 to {count - 1}, since the database has {count} images",
                )

    def _check_queries(self) -> None:
        known = {name: index for index, name in enumerate(self.database)}
        for query, (name, place) in enumerate(
            zip(self.queries, self.query_in_database.tolist(), strict=True)
        ):
            actual = known.get(name, -1)
            if place != actual:
                where = "not in the database" if actual < 0 else f"image {actual} of the database"
                raise self._error(
                    f"query {name!r} placed at index {place}, while it is {where}",
                    "its own index (from 0), or -1 where it is not part of the database",
                )
            if place >= 0 and place not in self.judgements.images[query]:
                raise self._error(
                    f"query {name!r} in the database, judged neither a positive nor junk",
                    "a query outside the database, or one that is listed for itself: otherwise "
                    "it finds itself first and that counts as an error",
                    "take the query out of the database, or add it to its own junk",
                )

    def _check_boxes(self, boxes: np.ndarray) -> None:
        if boxes.shape != (len(self.queries), 4):
            raise self._error(
                f"boxes of shape {boxes.shape}", f"({len(self.queries)}, 4), a row for each query"
            )
        missing = np.isnan(boxes).all(axis=1)
        with np.errstate(invalid="ignore"):
            sound = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        sound &= np.isfinite(boxes).all(axis=1)
        for query in np.flatnonzero(~missing & ~sound)[:1]:
            raise self._error(
                f"box {boxes[query].tolist()} of query {self.queries[query]!r}",
                "left, top, right, bottom in pixels, with left < right and top < bottom",
            )


def places_of(queries: Sequence[str], database: Sequence[str]) -> np.ndarray:
    """Index of each query in the database, int64 (Q,); -1 where it is not part of it."""
    known = {name: index for index, name in enumerate(database)}
    return np.array([known.get(name, -1) for name in queries], dtype=np.int64)


def checked_judgements(
    source: Path | None, queries: Sequence[str], lists: Mapping[str, Sequence[np.ndarray]]
) -> Judgements:
    """Judgements whose faults are reported with the file and the query's name.

    Raises:
        GroundTruthError: an image is listed twice for one query.
    """
    for query, parts in zip(queries, zip(*lists.values(), strict=True), strict=True):
        images, times = np.unique(np.concatenate(parts), return_counts=True)
        if (times > 1).any():
            raise GroundTruthError(
                source,
                f"image {images[times > 1][0]} listed more than once for query {query!r}",
                f"each image in one of {', '.join(lists)}, once",
                _NEW_COPY,
            )
    return Judgements(lists)


def repeated(names: Sequence[str]) -> list[str]:
    """Names that occur more than once, in the order of their second occurrence."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
