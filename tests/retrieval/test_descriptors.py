from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from ssl_kedro.retrieval.descriptors import (
    DescriptorError,
    PoolingConfig,
    aggregated,
    aggregated_at,
    checked_descriptors,
    concatenated,
    pooled,
)
from ssl_kedro.retrieval.pooling import rmac_regions
from ssl_kedro.retrieval.whitening import Whitening, learnt_whitening


def regional(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 7, 300)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return generator.random((starts[-1], 20), np.float32) ** 2, starts


def slow(
    vectors: np.ndarray, starts: np.ndarray, whitening: Whitening | None, d: int | None
) -> np.ndarray:
    """Region by region in float64, as thesis 3.3.1 says it."""
    rows = []
    for first, last in pairwise(starts):
        total = 0.0
        for region in vectors[first:last].astype(np.float64):
            y = region / np.linalg.norm(region)
            if whitening is not None:
                y = ((y - whitening.mean) @ whitening.projection)[:d]
                y = y / np.linalg.norm(y)
            total = total + y
        rows.append(total / np.linalg.norm(total))
    return np.array(rows)


@pytest.mark.parametrize("d", [None, 2, 7])
def test_descriptors_equal_a_loop_over_regions(d: int | None) -> None:
    vectors, starts = regional()
    whitening = learnt_whitening([vectors])
    found = aggregated(vectors, starts, whitening, d)
    assert np.abs(found - slow(vectors, starts, whitening, d)).max() < 1e-4
    plain = aggregated(vectors, starts, None)
    assert np.abs(plain - slow(vectors, starts, None, None)).max() < 1e-5


def test_several_dimensions_at_once_equal_each_alone() -> None:
    vectors, starts = regional()
    whitening = learnt_whitening([vectors])
    found = aggregated_at(vectors, starts, whitening, [3, None, 11])
    for d, descriptors in found.items():
        assert np.allclose(descriptors, aggregated(vectors, starts, whitening, d), atol=1e-5)


def test_an_image_without_vectors_and_a_dead_map_are_zero() -> None:
    vectors, _ = regional()
    vectors = vectors[:6].copy()
    vectors[3:] = 0
    whitening = learnt_whitening([regional(1)[0]])
    found = aggregated(vectors, np.array([0, 3, 3, 6]), whitening)
    assert np.isclose(np.linalg.norm(found[0]), 1)
    assert not found[1:].any()


@pytest.mark.parametrize(("kind", "regions"), [("rmac", 14), ("gem", 1), ("mac", 1), ("spoc", 1)])
def test_each_pooling_gives_vectors_of_regions(kind: str, regions: int) -> None:
    maps = torch.rand(2, 5, 9, 9)
    config = PoolingConfig(kind=kind)  # type: ignore[arg-type]
    found = pooled(maps, config)
    assert found.shape == (2, regions, 5)
    if kind == "rmac":
        top, left, side = rmac_regions(9, 9)[-1]
        window = maps[:, :, top : top + side, left : left + side]
        assert torch.equal(found[:, -1], window.amax(dim=(2, 3)))
    if kind == "gem":
        assert torch.allclose(found[:, 0], (maps**3).mean(dim=(2, 3)) ** (1 / 3))


def test_ensembles_stand_side_by_side_at_unit_length() -> None:
    a, b = np.eye(3, dtype=np.float32), np.eye(3, 5, dtype=np.float32)
    joined = concatenated([a, b])
    assert joined.shape == (3, 8)
    assert np.allclose(joined @ joined.T, np.eye(3), atol=1e-6)
    with pytest.raises(ValueError, match="equally many"):
        concatenated([a, b[:2]])


Pair = tuple[np.ndarray, np.ndarray]


def unit(count: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def checked(database: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    given = {"database": (database, 8, "X.npy"), "queries": (queries, 2, "Q.npy")}
    return dict(zip(given, checked_descriptors(given), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, q: (x[:-1], q), r"database = 'X.npy': found 7 rows; expected 8"),
        (lambda x, q: (x, q[:, :4]), r"queries = 'Q.npy': found 4 dimensions"),
        (lambda x, q: (np.where(x == x[2, 3], np.nan, x), q), "not finite in row 2"),
        (lambda x, q: (x, np.where(q == q[1, 0], np.inf, q)), "not finite in row 1"),
        (lambda x, q: (x * (np.arange(8) != 6)[:, None], q), "nothing but zeros in row 6"),
        (lambda x, q: (x[0], q), r"shape \(6,\)"),
        (lambda x, q: (x.astype(str), q), "type <U"),
        (lambda x, q: (q, x), "exchanged"),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[..., Pair], message: str) -> None:
    with pytest.raises(DescriptorError, match=message):
        checked(*change(unit(8, 0), unit(2, 1)))


def test_unit_rows_stay_as_they_are_and_others_are_brought_to_unit_length() -> None:
    database, queries = unit(8, 0), unit(2, 1)
    found = checked(database, queries)
    assert found["database"] is database or np.array_equal(found["database"], database)
    scaled = checked(3 * database, np.rint(100 * queries).astype(np.int16))
    assert np.allclose(scaled["database"], database, atol=1e-6)
    assert np.allclose(np.linalg.norm(scaled["queries"], axis=1), 1, atol=1e-6)
    assert found["database"].dtype == np.float32
    assert checked(database.astype(np.float64), queries)["database"].dtype == np.float64
