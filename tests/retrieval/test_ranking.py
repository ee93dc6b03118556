from __future__ import annotations

import numpy as np
import pytest

from ssl_kedro.retrieval import ranking
from ssl_kedro.retrieval.ranking import (
    augmented_database,
    expanded_queries,
)


def unit(count: int, width: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


DATABASE, QUERIES = unit(40, 12, 0), unit(5, 12, 1)
TOP = np.argsort(-QUERIES @ DATABASE.T, axis=1)[:, :4]


def normalised(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def test_average_query_expansion_is_the_mean_of_query_and_results() -> None:
    expected = [
        normalised((q + sum(DATABASE[i] for i in top)) / 5)
        for q, top in zip(QUERIES.astype(float), TOP, strict=True)
    ]
    assert np.allclose(expanded_queries(QUERIES, DATABASE, TOP), expected, atol=1e-6)


def test_alpha_weighs_by_similarity() -> None:
    top_and_last = TOP.copy()
    top_and_last[0, -1] = np.argmin(QUERIES[0] @ DATABASE.T)  # points away
    similarities = np.take_along_axis(QUERIES @ DATABASE.T, top_and_last, axis=1)
    assert similarities[0, -1] < -0.2
    expected = [
        normalised(q + sum(max(s, 0) ** 3 * DATABASE[i] for i, s in zip(top, row, strict=True)))
        for q, top, row in zip(QUERIES.astype(float), top_and_last, similarities, strict=True)
    ]
    found = expanded_queries(QUERIES, DATABASE, top_and_last, alpha=3)
    assert np.allclose(found, expected, atol=1e-6)


def test_augmentation_weighs_by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 1000)  # several blocks
    others = np.argsort(-DATABASE @ DATABASE.T, axis=1)[:, 1:4]
    expected = []
    for i, row in enumerate(others):
        total = DATABASE[i].astype(float) * (4 - 0) / 4
        for r, j in enumerate(row, start=1):
            total += (4 - r) / 4 * DATABASE[j]
        expected.append(normalised(total))
    assert np.allclose(augmented_database(DATABASE, others), expected, atol=1e-6)


def test_one_neighbour_is_the_vector_itself() -> None:
    assert np.allclose(augmented_database(DATABASE, np.zeros((40, 0), int)), DATABASE)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="each of 40 database vectors"):
        augmented_database(DATABASE, np.zeros((39, 2), int))
    with pytest.raises(ValueError, match="each of 5 queries"):
        expanded_queries(QUERIES, DATABASE, TOP[:3])
    with pytest.raises(ValueError, match="alpha of 0 or more"):
        expanded_queries(QUERIES, DATABASE, TOP, alpha=-3.0)
