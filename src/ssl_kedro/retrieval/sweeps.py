"""Global search in one extraction with many whitenings and dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.retrieval.descriptors import aggregated_at
from ssl_kedro.retrieval.extraction import VectorStore
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.ranking import similarities_unseen_last
from ssl_kedro.retrieval.scoring import MeanScore, similarity_scores
from ssl_kedro.retrieval.whitening import Whitening


@dataclass(frozen=True)
class WhitenedSearch:
    """Vectors of a database and of its queries.

    Args:
        truth: who is to be found.
        database: vectors of all images.
        queries: vectors of the queries, or their rows of the database, (Q,).
    """

    truth: GroundTruth
    database: VectorStore
    queries: VectorStore | np.ndarray

    def scores(
        self, whitening: Whitening | None, dimensions: Sequence[int | None]
    ) -> list[dict[str, MeanScore]]:
        """MAP by level at each number of dimensions; see :func:`~.descriptors.aggregated_at`."""
        images = _descriptors(self.database, whitening, dimensions)
        asked = (
            _descriptors(self.queries, whitening, dimensions)
            if isinstance(self.queries, VectorStore)
            else {d: rows[self.queries] for d, rows in images.items()}
        )
        return [self._scores(images[d], asked[d]) for d in dimensions]

    def _scores(self, images: np.ndarray, asked: np.ndarray) -> dict[str, MeanScore]:
        found = similarities_unseen_last(images, asked)
        scored = similarity_scores(found, self.truth, np.asarray(asked.any(axis=1)))
        return {level: MeanScore(values.map) for level, values in scored.items()}


def _descriptors(
    store: VectorStore, whitening: Whitening | None, dimensions: Sequence[int | None]
) -> dict[int | None, np.ndarray]:
    if not dimensions:
        return {}
    return aggregated_at(store.vectors(), store.starts(), whitening, list(dimensions))
