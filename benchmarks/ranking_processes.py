"""Whole rankings, and an index's results in exact order, by one process and by two.

python benchmarks/ranking_processes.py [--count 100000] [--queries 500] [--rounds 3]

Takes the ways in turn, so that what else the machine does meets all of them; prints seconds and
whether results are equal. Processes are there before the clock starts.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from ssl_kedro.core.cluster import Workers, spread
from ssl_kedro.core.devices import limited_threads
from ssl_kedro.retrieval.index import build_index
from ssl_kedro.retrieval.searcher import SearchConfig, Searcher
from ssl_kedro.retrieval.whitening import unit_rows


def timed(searcher: Searcher, queries: np.ndarray) -> tuple[float, np.ndarray]:
    """Seconds of rankings, and these."""
    began = time.perf_counter()
    found = searcher.rankings(queries)
    return time.perf_counter() - began, found


def compared(ways: dict[str, Workers], searcher: Searcher, queries: np.ndarray, rounds: int) -> str:
    """Median and all seconds of each way, and whether they agree."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    found = {}
    for _ in range(rounds):
        for way, workers in ways.items():
            made = Searcher(searcher.database, searcher.index, searcher.config, 0, workers)
            took, found[way] = timed(made, queries)
            seconds[way].append(took)
    first, *others = found.values()
    told = [
        f"{way}: median {statistics.median(took):.2f} s of {[round(one, 2) for one in took]}"
        for way, took in seconds.items()
    ]
    same = all(np.array_equal(first, other) for other in others)
    return "; ".join([*told, f"equal {same}"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--factory", default="IVF256,PQ32")
    parser.add_argument("--depth", type=int, default=1000)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    shape = (arguments.count, arguments.dimensions)
    queries = unit_rows(generator.normal(size=(arguments.queries, shape[1])).astype(np.float32))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.npy"
        np.save(path, unit_rows(generator.normal(size=shape).astype(np.float32)))
        rows = np.load(path, mmap_mode="r")
        config = SearchConfig(index=arguments.factory, shards=2, depth=arguments.depth)
        with limited_threads(1), spread() as one, spread(2) as two:
            list(two.results(abs, [1, 2]))
            ways = {"one process": one, "two processes": two}
            for label, index in (
                ("exact", None),
                (arguments.factory, build_index(rows, arguments.factory, train_points=20_000)),
            ):
                searcher = Searcher(rows, index, config)
                told = compared(ways, searcher, queries, arguments.rounds)
                print(f"{label}: {told}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of this process, its result among it: {peak:.2f} GB")


if __name__ == "__main__":
    main()
