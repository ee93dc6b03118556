from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_kedro.core.cluster import HERE, Numbered, Workers, spread
from ssl_kedro.core.devices import limited_threads
from ssl_kedro.retrieval import searcher as module
from ssl_kedro.retrieval.ranking import RerankingConfig
from ssl_kedro.retrieval.searcher import SearchConfig, Searcher, index_of, reranked


def unit(count: int, width: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


DATABASE, QUERIES = unit(40, 12, 0), unit(5, 12, 1)


class Counted(Workers):
    """This process, with the numbers of pieces that it was given where there are several."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def results(self, function, pieces) -> Numbered[object]:  # type: ignore[no-untyped-def]
        pieces = list(pieces)
        self.given.append(len(pieces))
        return super().results(function, pieces)


@pytest.fixture
def some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RANKED", 8)
    monkeypatch.setattr(module, "_REFINED_BYTES", 8 * 4 * 50 * 24)


@pytest.mark.usefixtures("some_at_a_time")
@pytest.mark.parametrize("threads", [1, 2])
def test_queries_ranked_some_at_a_time_are_ranked_as_one_by_one(threads: int) -> None:
    database, queries = unit(3000, 24, 0), unit(21, 24, 1)
    database[7] = 0
    workers = Counted()
    with limited_threads(threads):
        found = Searcher(database, workers=workers).rankings(queries)
    products = database.astype(float) @ queries.astype(float).T
    products[7] = -2
    assert np.array_equal(found, np.argsort(-products, axis=0, kind="stable"))
    assert workers.given == [3]


def test_memory_bounds_the_queries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 32 * 40 * 2)
    workers = Counted()
    Searcher(DATABASE, workers=workers).rankings(QUERIES)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    Searcher(DATABASE, workers=workers).rankings(QUERIES)
    assert workers.given == [3, 5]
    assert Searcher(DATABASE).rankings(QUERIES[:0]).shape == (40, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("some_at_a_time")
def test_two_processes_rank_as_one(tmp_path: Path) -> None:
    database, queries = unit(3000, 24, 0), unit(21, 24, 1)
    database[5:9] = database[3]
    np.save(tmp_path / "rows.npy", database)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    own, numbers = np.full(21, -1), RerankingConfig(dba=4)
    exact = SearchConfig(shards=2)
    cells = SearchConfig(shards=2, index="IVF16,PQ8", depth=50, train_points=3000)
    with spread(2) as two:
        for config in (exact, cells):
            found = []
            for rows, workers in ((database, HERE), (database, two), (mapped, two)):
                index = None if config is exact else index_of(rows, config, 0, workers)
                searcher = Searcher(rows, index, config, 0, workers)
                rankings = searcher.rankings(queries)
                found.append({"g": rankings} | reranked(searcher, queries, rankings, own, numbers))
            for other in found[1:]:
                assert all(np.array_equal(found[0][name], other[name]) for name in other)


def test_threads_are_as_they_were_after_a_ranking() -> None:
    with limited_threads(2):
        Searcher(DATABASE).rankings(QUERIES)
        assert torch.get_num_threads() == 2
