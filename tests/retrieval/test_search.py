from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_kedro.retrieval import search
from ssl_kedro.retrieval.ranking import without
from ssl_kedro.retrieval.search import full_rankings, nearest, similarities


def unit(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=[1e3, 1e9], ids=["many blocks", "one block"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_BLOCK_BYTES", request.param)
    monkeypatch.setattr(search, "_QUERIES", 7)


@pytest.mark.usefixtures("blocks")
def test_similarities_and_rankings_equal_a_float64_product(tmp_path: Path) -> None:
    database, queries = unit(300), unit(20, seed=1)
    np.save(tmp_path / "d.npy", database)
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    found = similarities(mapped, queries)
    exact = database.astype(float) @ queries.astype(float).T
    assert np.abs(found - exact).max() < 1e-6
    assert np.array_equal(full_rankings(found), np.argsort(-found, axis=0, kind="stable"))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("count", [1, 5, 300])
def test_nearest_are_the_first_of_the_full_ranking(count: int) -> None:
    database, queries = unit(300), unit(20, seed=1)
    scores, indices = nearest(database, queries, count)
    exact = database.astype(float) @ queries.astype(float).T
    assert np.array_equal(indices, np.argsort(-exact, axis=0, kind="stable")[:count].T)
    assert np.allclose(scores, np.take_along_axis(exact.T, indices, axis=1), atol=1e-6)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("count", [1, 3, 8, 40])
def test_equal_similarities_stand_in_the_order_of_the_database(count: int) -> None:
    generator = np.random.default_rng(3)
    database = np.eye(4, dtype=np.float32)[generator.integers(0, 4, 40)]
    queries = np.eye(4, dtype=np.float32)
    _, indices = nearest(database, queries, count)
    assert np.array_equal(indices, np.argsort(-(database @ queries.T).T, kind="stable")[:, :count])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="of one D"):
        nearest(unit(5), unit(3, 8), 2)
    with pytest.raises(ValueError, match="1 to 5 results, found 6"):
        nearest(unit(5), unit(3), 6)
    broken = unit(5)
    broken[2, 3] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        similarities(broken, unit(3))
    with pytest.raises(ValueError, match="not a number"):
        nearest(broken, unit(3), 5)


def test_equal_rows_are_equals_wherever_they_stand() -> None:
    database = unit(3000, 512)
    database[2900:2960] = database[7]  # a matrix product alone tells some of these apart
    scores, indices = nearest(database, database[:64], 20)
    assert indices[7].tolist() == [7, *range(2900, 2919)]
    assert len(set(scores[7].tolist())) == 1


@pytest.mark.parametrize("equals", [1, 30, 299])
def test_more_equals_than_spare_candidates(equals: int) -> None:
    database = unit(300)
    database[-equals:] = database[-1]
    _, indices = nearest(database, database[-1:], 3)
    assert indices[0].tolist() == list(range(300 - equals, 300))[:3] or equals < 3
    assert indices[0, 0] == 300 - equals


def test_rows_closer_than_single_precision_are_told_apart() -> None:
    # 1 + j 2^-12 rounds to nothing less; the products differ by 2^-26 beside 1.
    database = np.zeros((40, 2), dtype=np.float32)
    database[:, 0] = 1
    order = np.random.default_rng(0).permutation(40)
    database[:, 1] = order * np.float32(2**-13)
    query = np.array([[1, 2**-13]], dtype=np.float32)
    products = (query @ database.T)[0]
    assert len(np.unique(products)) < 40  # float32 cannot
    _, indices = nearest(database, query, 10)
    assert indices[0].tolist() == np.argsort(-order, kind="stable")[:10].tolist()


def test_the_bits_depend_on_neither_blocks_nor_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    database = unit(700, 512)
    database[300:340] = database[3]
    threads = torch.get_num_threads()
    expected = nearest(database, database[:50], 15)
    try:
        for size, asked, used in ((1e4, 3, 1), (1e6, 49, 2), (1e9, 1, 2)):
            monkeypatch.setattr(search, "_BLOCK_BYTES", size)
            monkeypatch.setattr(search, "_QUERIES", asked)
            torch.set_num_threads(used)
            found = nearest(database, database[:50], 15)
            assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_rows_of_any_length_are_ranked_by_their_product() -> None:
    generator = np.random.default_rng(5)
    database = (unit(300) * generator.lognormal(0, 3, (300, 1))).astype(np.float32)
    queries = 1000 * unit(20, seed=1)
    exact = database.astype(float) @ queries.astype(float).T
    _, indices = nearest(database, queries, 7)
    assert np.array_equal(indices, np.argsort(-exact, axis=0, kind="stable")[:7].T)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("count", [1, 4, 59])
def test_own_results_without_oneself(count: int) -> None:
    database = unit(60)
    database[20:50] = database[10]
    exact = database.astype(float)
    scores, found = nearest(database, database, count + 1)
    indices = without(found, np.arange(60))
    for row in range(60):
        # Equal rows have one product: computed once, so that the oracle has the ties as well.
        products = {r: float(exact[10 if 20 <= r < 50 else r] @ exact[row]) for r in range(60)}
        others = sorted((r for r in range(60) if r != row), key=lambda r: (-products[r], r))
        assert indices[row].tolist() == others[:count]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_value_that_is_not_a_number_passes(value: float) -> None:
    broken = unit(50)
    broken[42, 3] = value
    for database, queries in ((broken, unit(3)), (unit(50), broken)):
        with pytest.raises(ValueError, match="not a number"):
            nearest(database, queries, 2)
        with pytest.raises(ValueError, match="not a number"):
            similarities(database, queries)


def test_thousands_of_equal_queries_and_rows_are_settled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = unit(6000)
    database[1000:4000] = 0  # images that could not be read
    rounds: list[int] = []
    monkeypatch.setattr(
        search,
        "_candidates",
        lambda d, asked, k, inner=search._candidates: (
            rounds.append(len(asked)),
            inner(d, asked, k),
        )[1],
    )
    _, indices = nearest(database, database[1000:2000], 5)
    assert (indices == np.arange(5)).all()
    assert rounds[0] == 1000
    assert set(rounds[1:]) == {1}
