from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.retrieval.index import (
    build_index,
    recall_at,
    recommended_factory,
    refined,
    search_index,
)
from ssl_kedro.retrieval.shards import (
    ShardedDescriptors,
    ShardError,
    search_shards,
    write_shard,
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


@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "OPQ8,IVF16,PQ8", "HNSW16"])
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


def test_recommended_factories_fit_their_dimensions() -> None:
    assert recommended_factory(5_000, 512) == "Flat"
    assert recommended_factory(10_000_000, 512) == "OPQ64,IVF16384,PQ64"
    assert recommended_factory(2_000_000, 100) == "OPQ1,IVF4096,PQ1"


@pytest.mark.parametrize("sizes", [[4000], [1, 1700, 3, 2296]])
def test_shards_give_what_the_whole_gives(tmp_path: Path, sizes: list[int]) -> None:
    database = DATABASE.copy()
    database[3000:3010] = database[5]  # ties across shards
    first = 0
    for size in sizes:
        write_shard(tmp_path, first, database[first : first + size])
        first += size
    shards = ShardedDescriptors.opened(tmp_path, 4000)
    product = QUERIES.astype(np.float64) @ database.astype(np.float64).T
    scores, found = search_shards(shards, QUERIES, 25)
    assert np.array_equal(found, np.argsort(-product, axis=1, kind="stable")[:, :25])
    assert np.allclose(scores, np.take_along_axis(product, found, axis=1), atol=1e-6)


def test_indexed_shards_share_one_training(tmp_path: Path) -> None:
    for first, size in ((0, 2500), (2500, 1500)):
        write_shard(tmp_path, first, DATABASE[first : first + size])
    shards = ShardedDescriptors.opened(tmp_path)
    indexes = shards.indexes("IVF16,PQ8", train_points=2500, seed=3)
    _, found = search_shards(shards, QUERIES, 10, indexes=indexes, probes=16)
    whole = indexes[0].__class__
    assert all(type(index) is whole for index in indexes)
    one = build_index(DATABASE[:2500], "IVF16,PQ8", train_points=2500, seed=3)
    one.add(DATABASE[2500:])
    _, expected = search_index(one, QUERIES, 10, probes=16)
    assert recall_at(found, expected, 10) > 0.999  # equal codes have equal scores


@pytest.mark.parametrize(
    ("firsts", "message"),
    [([0, 20], "a gap"), ([0, 5], "overlap"), ([0, 10], "20 rows in 2 shards, expected 30")],
)
def test_shards_that_do_not_add_up(tmp_path: Path, firsts: list[int], message: str) -> None:
    for first in firsts:
        write_shard(tmp_path, first, DATABASE[:10])
    with pytest.raises(ShardError, match=message):
        ShardedDescriptors.opened(tmp_path, 30)


def test_no_shards_or_unequal_ones(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="found none"):
        ShardedDescriptors.opened(tmp_path)
    write_shard(tmp_path, 0, DATABASE[:10])
    write_shard(tmp_path, 10, DATABASE[:10, :8])
    with pytest.raises(ShardError, match="same encoder"):
        ShardedDescriptors.opened(tmp_path)
