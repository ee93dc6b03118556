"""What rankings are worth, level by level, and what chance would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def ranking_scores(
    rankings: np.ndarray, truth: GroundTruth, count: int, usable: np.ndarray | None = None
) -> dict[str, Any]:
    """Mean average precision and mean precisions of rankings, level by level.

    Args:
        rankings: database indices, best first, (K, Q); K below the number of images is the
            start of a ranking, whose judged images beyond count as ranked last.
        truth: who is to be found.
        count: N, images in the database.
        usable: queries that count, (Q,) booleans; None = all.

    Returns:
        For each level of the ground truth ("" for the classic protocol): "map", "mp1", "mp5",
        "mp10" (fractions, over queries that have positives) and "ap" (one a query, None for
        those without).
    """
    return _scores(places_in_rankings(rankings, truth.judgements, count), truth, usable)


def similarity_scores(
    similarities: np.ndarray, truth: GroundTruth, usable: np.ndarray | None = None
) -> dict[str, Any]:
    """The same from similarities (N, Q), without ranking what nobody judged."""
    return _scores(places_by_similarity(similarities, truth.judgements), truth, usable)


def chance_scores(truth: GroundTruth, count: int, seed: int) -> dict[str, Any]:
    """Mean of the scores of random rankings, by level; "map" and "mp1", "mp5", "mp10"."""
    shape = (count, len(truth.queries))
    rounds = [
        similarity_scores(numpy_generator(seed, "chance", r).random(shape, np.float32), truth)
        for r in range(_CHANCE_ROUNDS)
    ]
    names = ["map", *(f"mp{k}" for k in PRECISIONS_AT)]
    return {
        level: {name: float(np.mean([one[level][name] for one in rounds])) for name in names}
        for level in truth.levels
    }


def _scores(places: Places, truth: GroundTruth, usable: np.ndarray | None) -> dict[str, Any]:
    found = {}
    for name, level in truth.levels.items():
        hits = places.hits(level)
        ap, precisions = average_precisions(hits), precisions_at(hits, PRECISIONS_AT)
        some = hits.counts > 0 if usable is None else (hits.counts > 0) & usable
        found[name] = {
            "map": _mean(ap[some]),
            **{f"mp{k}": _mean(precisions[some, at]) for at, k in enumerate(PRECISIONS_AT)},
            "ap": [float(v) if counted else None for v, counted in zip(ap, some, strict=True)],
        }
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def flat_scores(
    scores: dict[str, Any], prefix: str, precisions: Sequence[int] = (5, 10)
) -> dict[str, float]:
    """Scores under the keys of ``metrics.json``.

    Classic: ``<prefix>.map``; revisited: ``<prefix>.{easy,medium,hard}.{map,mp5,mp10}``.
    """
    flat: dict[str, float] = {}
    for level, values in scores.items():
        names = ["map"] if not level else ["map", *(f"mp{k}" for k in precisions)]
        place = f"{prefix}.{level}" if level else prefix
        flat |= {f"{place}.{name}": values[name] for name in names if np.isfinite(values[name])}
    return flat
