"""What rankings are worth, level by level, and what chance would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.protocols import (
    Places,
    average_precisions,
    places_by_similarity,
    places_in_rankings,
    precisions_at,
)

PRECISIONS_AT = (1, 5, 10)
_CHANCE_ROUNDS = 20


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
    rankings: np.ndarray, truth: GroundTruth, count: int, usable: np.ndarray | None = None
) -> dict[str, QueryScores]:
    """Mean average precision and mean precisions of rankings, level by level.

    Args:
        rankings: database indices, best first, (K, Q); K below the number of images is the
            start of a ranking, whose judged images beyond count as ranked last.
        truth: who is to be found.
        count: N, images in the database.
        usable: queries that count, (Q,) booleans; None = all.

    Returns:
        For each level of the ground truth, "" for the classic protocol.
    """
    return _scores(places_in_rankings(rankings, truth.judgements, count), truth, usable)


def similarity_scores(
    similarities: np.ndarray, truth: GroundTruth, usable: np.ndarray | None = None
) -> dict[str, QueryScores]:
    """The same from similarities (N, Q), without ranking what nobody judged."""
    return _scores(places_by_similarity(similarities, truth.judgements), truth, usable)


def chance_scores(truth: GroundTruth, count: int, seed: int) -> dict[str, MeanScores]:
    """Mean of the scores of random rankings, by level."""
    shape = (count, len(truth.queries))
    rounds = [
        similarity_scores(numpy_generator(seed, "chance", r).random(shape, np.float32), truth)
        for r in range(_CHANCE_ROUNDS)
    ]
    names = ("map", *_precision_names(PRECISIONS_AT))
    return {
        level: MeanScores(
            *(float(np.mean([getattr(one[level], name) for one in rounds])) for name in names)
        )
        for level in truth.levels
    }


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


def _precision_names(ks: Sequence[int]) -> list[str]:
    return [f"mp{k}" for k in ks]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def flat_scores(
    scores: Mapping[str, MeanScore], prefix: str, precisions: Sequence[int] = (5, 10)
) -> dict[str, float]:
    """Scores under the keys of ``metrics.json``.

    Classic: ``<prefix>.map``; revisited: ``<prefix>.{easy,medium,hard}.{map,mp5,mp10}``.
    """
    flat: dict[str, float] = {}
    for level, values in scores.items():
        names = ["map", *(_precision_names(precisions) if level else ())]
        place = f"{prefix}.{level}" if level else prefix
        found = {f"{place}.{name}": float(getattr(values, name)) for name in names}
        flat |= {name: value for name, value in found.items() if np.isfinite(value)}
    return flat
