from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.retrieval.index import (
    build_index,
    empty_index,
    fill,
    recall_at,
    recommended_factory,
    refined,
    search_index,
)


def clustered(count: int = 4000, width: int = 32, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(60, width))
    x = centres[generator.integers(0, 60, count)] + 0.4 * generator.normal(size=(count, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


DATABASE, QUERIES = clustered(), clustered(50, seed=0)[::-1] + 0.01


def exact(count: int) -> np.ndarray:
    product = QUERIES.astype(np.float64) @ DATABASE.astype(np.float64).T
    return np.argsort(-product, axis=1, kind="stable")[:, :count]


@pytest.mark.parametrize(
    "factory",
    ["Flat", "IVF16,Flat", pytest.param("OPQ8,IVF16,PQ8", marks=pytest.mark.slow), "HNSW16"],
)
def test_each_kind_of_index_finds_what_exact_search_finds(factory: str) -> None:
    index = build_index(DATABASE, factory, train_points=2000, block=777)
    assert index.ntotal == len(DATABASE)
    scores, found = search_index(index, QUERIES, 10, probes=64)
    if factory in ("Flat", "IVF16,Flat"):  # 64 probes are all 16 cells
        assert np.array_equal(found, exact(10))
        assert np.allclose(scores[:, 0], (QUERIES * DATABASE[found[:, 0]]).sum(axis=1), atol=1e-5)
    else:
        assert recall_at(found, exact(10), 10) > (0.9 if "HNSW" in factory else 0.3)


def test_more_probes_find_more_and_the_index_keeps_its_own() -> None:
    index = build_index(DATABASE, "IVF64,Flat")
    own = index.nprobe
    recalls = [
        recall_at(search_index(index, QUERIES, 10, probes=p)[1], exact(10), 10) for p in (1, 8, 64)
    ]
    assert recalls[0] < recalls[1] <= recalls[2] == 1.0
    assert index.nprobe == own


def test_exact_similarities_of_the_candidates_mend_what_codes_lose() -> None:
    index = build_index(DATABASE, "IVF16,PQ8")
    _, coarse = search_index(index, QUERIES, 200, probes=16)
    scores, found = refined(DATABASE, QUERIES, coarse, 10)
    assert recall_at(found, exact(10), 10) > recall_at(coarse[:, :10], exact(10), 10)
    assert np.allclose(scores[3], (QUERIES[3] * DATABASE[found[3]]).sum(axis=1), atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_training_is_repeatable() -> None:
    found = [
        search_index(build_index(DATABASE, "IVF32,PQ8", seed=s), QUERIES, 10)[1] for s in (1, 1, 2)
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("factory", "message"),
    [("IFV12,Flat", "faiss factory string"), ("PQ7", "32 dimensions"), ("IVF4096,PQ8", "159744")],
)
def test_what_cannot_be_built_is_refused_before_training(factory: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_index(DATABASE, factory)


@pytest.mark.parametrize(
    ("factory", "needed"),
    [("IVF64,PQ8", 64 * 39), ("PQ8", 256), ("PQ8x4", 16), ("PCA16,IVF8,Flat", 312)],
)
def test_points_that_cells_and_codes_need(factory: str, needed: int) -> None:
    with pytest.raises(ConfigError, match=rf"{needed - 1} training .* needs {needed};"):
        build_index(DATABASE, factory, train_points=needed - 1)
    assert build_index(DATABASE, factory, train_points=needed).ntotal == 4000


@pytest.mark.parametrize("dimensions", [7, 13, 64, 97, 100, 130, 512, 2048])
def test_recommended_factories_fit_their_dimensions(dimensions: int) -> None:
    assert recommended_factory(1_000_000, dimensions) == "Flat"
    index = empty_index(recommended_factory(10_000_000, dimensions), dimensions)
    rotated = isinstance(index, faiss.IndexPreTransform)
    inner = faiss.downcast_index(index.index) if rotated else index
    assert inner.nlist == 2**14  # 4 sqrt(10^7) = 12,649 lies between 2^13 and 2^14
    assert min(dimensions, 8) // 2 < inner.pq.M <= 64
    assert dimensions <= inner.d < dimensions + 64  # nothing is cut off
    assert not inner.do_polysemous_training


def test_recommended_factory_of_the_thesis_width() -> None:
    assert recommended_factory(1_000_001, 512) == "IVF4096,PQ64"
    assert recommended_factory(100_000_000, 97) == "RR128,IVF32768,PQ64"


class Watched:
    """Rows that say how many of them were in memory at once."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape, self.most = rows, rows.shape, 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        taken = self.rows[key]
        self.most = max(self.most, len(taken))
        return taken


def test_the_whole_is_never_in_memory() -> None:
    watched = Watched(DATABASE)
    index = build_index(watched, "IVF16,Flat", train_points=700, block=100)
    assert index.ntotal == len(DATABASE)
    assert watched.most == 700
    _, found = search_index(index, QUERIES, 10, probes=16)
    assert np.array_equal(found, exact(10))  # every block went to its place


@pytest.mark.parametrize("wrapped", ["RR64,IVF64,Flat", "IVF64,Flat,RFlat"])
def test_probes_reach_inverted_lists_inside_other_indexes(wrapped: str) -> None:
    index = build_index(DATABASE, wrapped)
    few, all_of_them = (search_index(index, QUERIES, 10, probes=p)[1] for p in (1, 64))
    assert recall_at(few, exact(10), 10) < recall_at(all_of_them, exact(10), 10)
    assert recall_at(all_of_them, exact(10), 10) == 1


def test_breadth_of_a_graph_search_is_put_back() -> None:
    index = build_index(DATABASE, "HNSW16")
    before = index.hnsw.efSearch
    narrow = recall_at(search_index(index, QUERIES, 10, probes=1)[1], exact(10), 10)
    assert narrow < recall_at(search_index(index, QUERIES, 10, probes=400)[1], exact(10), 10)
    assert index.hnsw.efSearch == before


def test_a_row_that_is_not_finite_is_refused() -> None:
    index = build_index(DATABASE, "IVF16,Flat")
    broken = DATABASE.copy()
    broken[321, 5] = np.inf
    with pytest.raises(ValueError, match="row 321 has a value that is not a number"):
        fill(index, broken, 100)


def test_what_a_search_cannot_answer() -> None:
    index = build_index(DATABASE[:5], "Flat")
    _, found = search_index(index, QUERIES, 8)
    assert (found[:, 5:] == -1).all()
    assert np.array_equal(np.sort(found[:, :5]), np.tile(np.arange(5), (len(QUERIES), 1)))
    with pytest.raises(ValueError, match=r"queries \(Q, 32\), found \(50, 8\)"):
        search_index(index, QUERIES[:, :8], 3)
    with pytest.raises(ValueError, match="1 result or more"):
        search_index(index, QUERIES, 0)
    with pytest.raises(ValueError, match="not a number"):
        search_index(index, QUERIES * np.nan, 3)


def test_refined_orders_by_exact_products_and_keeps_gaps_last() -> None:
    generator = np.random.default_rng(1)
    candidates = np.stack([generator.permutation(4000)[:30] for _ in QUERIES])
    candidates[3, 5:] = -1
    candidates[4] = -1
    scores, found = refined(DATABASE, QUERIES, candidates, 10)
    product = QUERIES.astype(np.float64) @ DATABASE.astype(np.float64).T
    for query in range(len(QUERIES)):
        allowed = sorted(c for c in candidates[query] if c >= 0)
        best = sorted(allowed, key=lambda row: -product[query, row])[:10]
        assert found[query].tolist() == best + [-1] * (10 - len(best))
        assert np.allclose(scores[query, : len(best)], product[query, best], atol=1e-6)
    assert np.isneginf(scores[4]).all()
    with pytest.raises(ValueError, match="1 to 30 results"):
        refined(DATABASE, QUERIES, candidates, 31)


def test_recall_by_hand() -> None:
    exact_first = np.array([[1, 2, 3], [4, 5, 6]])
    assert recall_at(np.array([[2, 9, 8, 1], [7, -1, -1, 6]]), exact_first, 2) == 0.5
    assert recall_at(np.array([[3], [4]]), exact_first, 1) == 0.5


def test_the_rotation_of_awkward_dimensions_changes_no_inner_product() -> None:
    rows = clustered(3000, 97) + np.float32(0.1)  # far from the origin, where PCA would
    rotation = recommended_factory(10_000_000, 97).split(",")[0]
    index = build_index(rows, f"{rotation},Flat")
    scores, found = search_index(index, rows[:20], 5)
    assert np.allclose(scores, np.einsum("qkd,qd->qk", rows[found], rows[:20]), rtol=1e-5)
    product = rows[:20].astype(np.float64) @ rows.astype(np.float64).T
    assert recall_at(found, np.argsort(-product, axis=1, kind="stable"), 5) > 0.99
