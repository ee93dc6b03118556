from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np
import pytest

from ssl_kedro.core.cluster import spread
from ssl_kedro.core.rows import ForOthers
from ssl_kedro.retrieval.index import build_index, refined, search_index
from ssl_kedro.retrieval.search import nearest
from ssl_kedro.retrieval.shards import (
    ShardedDescriptors,
    ShardError,
    search_shards,
    write_shard,
)


def clustered(count: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(60, width))
    x = centres[generator.integers(0, 60, count)] + 0.4 * generator.normal(size=(count, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


DATABASE = clustered(4000, 32)
QUERIES = DATABASE[100:150] + np.float32(0.01)


def in_shards(folder: Path, rows: np.ndarray, sizes: list[int]) -> ShardedDescriptors:
    for first, end in pairwise(np.cumsum([0, *sizes]).tolist()):
        write_shard(folder, first, rows[first:end])
    return ShardedDescriptors.opened(folder, len(rows))


@pytest.mark.parametrize("sizes", [[3000], [1, 1700, 3, 1296], [2999, 1], [17] * 176 + [8]])
def test_shards_give_the_bits_that_the_whole_gives(tmp_path: Path, sizes: list[int]) -> None:
    database = clustered(3000, 512, seed=1)
    database[2000:2030] = database[5]  # ties across shards, more than are asked for
    database[2500:2503] = 0
    queries = np.concatenate([database[:20], database[2995:], np.zeros((1, 512), np.float32)])
    shards = in_shards(tmp_path, database, sizes)
    scores, found = search_shards(shards, queries, 25)
    expected = nearest(database, queries, 25)
    assert np.array_equal(scores, expected[0])
    assert np.array_equal(found, expected[1])
    assert found[5].tolist() == [5, *range(2000, 2024)]
    assert found[-1].tolist() == list(range(25))


def test_shards_against_a_float64_ranking(tmp_path: Path) -> None:
    shards = in_shards(tmp_path, DATABASE, [1, 1700, 3, 2296])
    product = QUERIES.astype(np.float64) @ DATABASE.astype(np.float64).T
    scores, found = search_shards(shards, QUERIES, 25)
    assert np.array_equal(found, np.argsort(-product, axis=1, kind="stable")[:, :25])
    assert np.allclose(scores, np.take_along_axis(product, found, axis=1), atol=1e-6)


@pytest.mark.parametrize("factory", ["IVF16,PQ8", "IVF16,Flat", "SQ8"])
def test_indexes_of_shards_share_the_training_of_the_whole(tmp_path: Path, factory: str) -> None:
    shards = in_shards(tmp_path, DATABASE, [700, 2500, 800])
    indexes = shards.indexes(factory, train_points=2500, seed=3)
    one = build_index(DATABASE, factory, train_points=2500, seed=3)
    scores, found = search_shards(shards, QUERIES, 10, indexes=indexes, probes=5)
    whole, expected = search_index(one, QUERIES, 10, probes=5)
    assert np.array_equal(scores, whole)
    # Vectors of one code are equals: which of them stand at the last place is open.
    for query in range(len(QUERIES)):
        above = whole[query] > whole[query, -1]
        assert set(found[query, above]) == set(expected[query, above])


def test_an_index_that_finds_too_few_leaves_gaps_at_the_end(tmp_path: Path) -> None:
    shards = in_shards(tmp_path, DATABASE[:700], [300, 400])
    indexes = shards.indexes("IVF16,Flat", train_points=700)
    scores, found = search_shards(shards, QUERIES, 600, indexes=indexes, probes=1)
    gaps = found < 0
    assert gaps.any()
    assert not (gaps[:, :-1] & ~gaps[:, 1:]).any()
    assert np.isneginf(scores[gaps]).all()


def test_shards_read_as_one_array(tmp_path: Path) -> None:
    shards = in_shards(tmp_path, DATABASE, [1, 1700, 3, 2296])
    assert (len(shards), shards.shape) == (4000, (4000, 32))
    for part in (slice(None), slice(0, 1), slice(1690, 1710), slice(3990, 9999), slice(5, 5)):
        assert np.array_equal(shards[part], DATABASE[part])
    mixed = np.random.default_rng(0).integers(0, 4000, 200)
    assert np.array_equal(shards[mixed], DATABASE[mixed])
    with pytest.raises(IndexError, match="rows 0 to 3999"):
        shards[np.array([3, 4000])]
    with pytest.raises(IndexError, match="step 1"):
        shards[::2]


def test_candidates_are_refined_from_shards(tmp_path: Path) -> None:
    shards = in_shards(tmp_path, DATABASE, [1500, 2500])
    candidates = nearest(DATABASE, QUERIES, 40)[1][:, ::-1]
    for whole, parts in zip(
        nearest(DATABASE, QUERIES, 10), refined(shards, QUERIES, candidates, 10), strict=True
    ):
        assert np.array_equal(whole, parts)


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


def test_a_shard_that_is_no_rows_is_named(tmp_path: Path) -> None:
    in_shards(tmp_path, DATABASE, [2000, 2000])
    (tmp_path / "notes.npy").write_bytes(b"not a shard by its name")
    assert len(ShardedDescriptors.opened(tmp_path)) == 4000
    damaged = tmp_path / "shard_000000002000.npy"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(ShardError, match=r"shard_000000002000\.npy: .* Write this shard again"):
        ShardedDescriptors.opened(tmp_path)


@pytest.mark.parametrize(
    ("first", "rows", "message"),
    [
        (0, np.zeros((0, 4)), "one row or more"),
        (0, np.zeros(4), "one row or more"),
        (-1, np.zeros((2, 4)), "from -1 on"),
        (3, np.full((2, 4), np.nan), "rows from 3 on: found a value that is not a number"),
    ],
)
def test_rows_that_are_no_shard_are_not_written(
    tmp_path: Path, first: int, rows: np.ndarray, message: str
) -> None:
    with pytest.raises(ShardError, match=message):
        write_shard(tmp_path, first, rows)
    assert not list(tmp_path.iterdir())


def test_questions_that_do_not_fit_the_shards(tmp_path: Path) -> None:
    shards = in_shards(tmp_path, DATABASE[:20], [5, 15])
    with pytest.raises(ValueError, match="1 to 20 results, found 21"):
        search_shards(shards, QUERIES, 21)
    with pytest.raises(ValueError, match="of one D"):
        search_shards(shards, QUERIES[:, :3], 2)
    with pytest.raises(ValueError, match="each of 2 shards, found 1"):
        search_shards(shards, QUERIES, 2, indexes=[None])


@pytest.mark.parametrize("mapped", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_search_and_index_pieces_as_one_does_the_whole(
    tmp_path: Path, mapped: bool
) -> None:
    rows = DATABASE
    if mapped:
        np.save(tmp_path / "rows.npy", rows)
        rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    pieces = ShardedDescriptors.cut(rows, 3)
    assert pieces.firsts == (0, 1333, 2666)
    assert np.array_equal(pieces[:], DATABASE)
    assert all((ForOthers.of(shard).array is None) == mapped for shard in pieces.shards)
    with spread(2) as workers:
        found = search_shards(pieces, QUERIES, 20, workers=workers)
        for factory in ("IVF16,PQ8", "Flat", "HNSW16"):
            one = build_index(DATABASE, factory, train_points=3000)
            given = {"pieces": pieces.shards, "workers": workers}
            two = build_index(rows, factory, train_points=3000, **given)
            assert two.ntotal == len(DATABASE)
            if factory != "HNSW16":  # which is filled here, by threads in any order
                assert np.array_equal(faiss.serialize_index(one), faiss.serialize_index(two))
    for whole, merged in zip(nearest(DATABASE, QUERIES, 20), found, strict=True):
        assert np.array_equal(whole, merged)


def test_a_part_of_a_map_goes_to_others_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", DATABASE)
    part = np.load(tmp_path / "rows.npy", mmap_mode="r")[7:90]
    assert np.array_equal(ForOthers.of(part).opened(), DATABASE[7:90])


@pytest.mark.parametrize(
    "factory", ["PCA16,IVF16,Flat", "PCA16,SQ8", "RR16,IVF16,PQ8", "OPQ4_8,IVF4,PQ4", "OPQ4_8,PQ4"]
)
def test_indexes_behind_a_rotation_are_put_together(factory: str) -> None:
    pieces = ShardedDescriptors.cut(DATABASE, 3, step=500)
    assert [len(piece) for piece in pieces.shards] == [1000, 1500, 1500]
    given = {"train_points": 1000, "block": 500}
    one, three = (build_index(DATABASE, factory, pieces=p, **given) for p in ((), pieces.shards))
    assert np.array_equal(faiss.serialize_index(one), faiss.serialize_index(three))


def test_cuts_at_steps_end_with_the_rows() -> None:
    for count, pieces, step in ((10, 3, 4), (8, 9, 4), (3, 2, 4), (4, 4, 1)):
        shards = ShardedDescriptors.cut(DATABASE[:count], pieces, step).shards
        assert sum(map(len, shards)) == count
        assert all(len(shard) % step == 0 for shard in shards[:-1])
        assert all(map(len, shards))
