from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.retrieval import search
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
