"""What rankings are worth, level by level, and what chance would give."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.retrieval.descriptors import aggregated_at
from ssl_kedro.retrieval.extraction import VectorStore
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.protocols import (
    Places,
    average_precisions,
    places_at_random,
    places_by_similarity,
    places_in_rankings,
    precisions_at,
)
from ssl_kedro.retrieval.searcher import similarities_unseen_last
from ssl_kedro.retrieval.whitening import Whitening

PRECISIONS_AT = (1, 5, 10)
_CHANCE_DRAWS = 20_000  # random rankings at least


@dataclass(frozen=True)
class MeanScore:
    """Mean over the queries that have positives, a fraction; NaN where none has."""

    map: float


@dataclass(frozen=True)
class MeanScores(MeanScore):
    """The same of the precisions among the first 1, 5 and 10."""

    mp1: float
    mp5: float
    mp10: float


@dataclass(frozen=True)
class QueryScores(MeanScores):
    """Besides, the average precision of each query, None for those without positives, (Q,)."""

    ap: tuple[float | None, ...]


def ranking_scores(
    rankings: np.ndarray, truth: GroundTruth, usable: np.ndarray | None = None
) -> dict[str, QueryScores]:
    """Mean average precision and mean precisions of rankings, level by level.

    Args:
        rankings: database indices, best first, (K, Q); K below the number of images is the
            start of a ranking, whose judged images beyond count as ranked last.
        truth: who is to be found.
        usable: queries that count, (Q,) booleans; None = all.

    Returns:
        For each level of the ground truth, "" for the classic protocol.
    """
    places = places_in_rankings(rankings, truth.judgements, len(truth.database))
    return _scores(places, truth, usable)


def similarity_scores(
    similarities: np.ndarray, truth: GroundTruth, usable: np.ndarray | None = None
) -> dict[str, QueryScores]:
    """The same from similarities (N, Q), without ranking what nobody judged."""
    return _scores(places_by_similarity(similarities, truth.judgements), truth, usable)


def chance_scores(truth: GroundTruth, seed: int) -> dict[str, MeanScores]:
    """Mean of the scores of random rankings, by level."""
    generator, count = numpy_generator(seed, "chance"), len(truth.database)
    rounds = [
        _scores(places_at_random(truth.judgements, count, generator), truth, None)
        for _ in range(math.ceil(_CHANCE_DRAWS / len(truth.queries)))
    ]
    names = [field.name for field in fields(MeanScores)]
    return {
        level: MeanScores(
            *(float(np.mean([getattr(one[level], name) for one in rounds])) for name in names)
        )
        for level in truth.levels
    }


def whitened_scores(
    truth: GroundTruth,
    database: VectorStore,
    queries: VectorStore | np.ndarray,
    whitening: Whitening | None,
    dimensions: Sequence[int | None],
) -> list[dict[str, MeanScore]]:
    """MAP of global search by level, at each number of dimensions.

    Args:
        truth: who is to be found.
        database: vectors of all images.
        queries: vectors of the queries, or their rows of the database, (Q,).
        whitening: as for :func:`~.descriptors.aggregated_at`.
        dimensions: d; None = all there are.
    """
    if not dimensions:
        return []
    images = aggregated_at(database.vectors(), database.starts(), whitening, dimensions)
    if isinstance(queries, VectorStore):
        asked = aggregated_at(queries.vectors(), queries.starts(), whitening, dimensions)
    else:
        asked = {d: rows[queries] for d, rows in images.items()}
    found = []
    for d in dimensions:
        similarities = similarities_unseen_last(images[d], asked[d])
        scored = similarity_scores(similarities, truth, np.asarray(asked[d].any(axis=1)))
        found.append({level: MeanScore(values.map) for level, values in scored.items()})
    return found


def _scores(
    places: Places, truth: GroundTruth, usable: np.ndarray | None
) -> dict[str, QueryScores]:
    found = {}
    for name, level in truth.levels.items():
        hits = places.hits(level)
        ap, precisions = average_precisions(hits), precisions_at(hits, PRECISIONS_AT)
        some = hits.counts > 0 if usable is None else (hits.counts > 0) & usable
        mp1, mp5, mp10 = (_mean(column[some]) for column in precisions.T)
        each = (float(v) if counted else None for v, counted in zip(ap, some, strict=True))
        found[name] = QueryScores(_mean(ap[some]), mp1, mp5, mp10, tuple(each))
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def flat_scores(scores: Mapping[str, MeanScore], prefix: str) -> dict[str, float]:
    """Scores under the keys of ``metrics.json``, those that there are and that are finite.

    Classic: ``<prefix>.map``; revisited: ``<prefix>.{easy,medium,hard}.{map,mp5,mp10}``.
    """
    flat: dict[str, float] = {}
    for level, values in scores.items():
        place = f"{prefix}.{level}" if level else prefix
        for name in ("map", "mp5", "mp10") if level else ("map",):
            value = getattr(values, name, np.nan)
            if np.isfinite(value):
                flat[f"{place}.{name}"] = float(value)
    return flat
