"""Search among a million descriptors: exact, by inverted lists and codes, refined, and in shards.

python benchmarks/retrieval_scale.py [--count 1000000] [--folder DIR]

Writes unit descriptors block by block, searches them through a memory map and prints build
seconds, peak memory, recall against exact search and queries a second.

The descriptors are a mixture: centres in a space of 48 directions whose weights fall, members
around them in the same directions, and a little of every direction as noise. Neighbours thus mean
something, as with images, without being copies: uniform vectors would have none to find.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ssl_kedro.retrieval.index import (
    build_index,
    fill,
    recall_at,
    refined,
    search_index,
    trained_index,
)
from ssl_kedro.retrieval.search import nearest
from ssl_kedro.retrieval.shards import ShardedDescriptors, search_shards, write_shard

BLOCK = 50_000
MEMBERS = 200  # vectors a cluster, on average
DIRECTIONS = 48
CANDIDATES = 100


def peak_gb() -> float:
    """Largest memory of this process so far, mapped pages of files among it, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if platform.system() == "Darwin" else 1e6)


def timed(name: str, run: Callable[[], object]) -> tuple[object, float]:
    """Result and seconds of a run; prints both seconds and peak memory."""
    began = time.perf_counter()
    made = run()
    seconds = time.perf_counter() - began
    print(f"{name:<34} {seconds:8.1f} s   peak {peak_gb():5.2f} GB", flush=True)
    return made, seconds


class Mixture:
    """Clustered unit vectors; a block of them depends on the seed and its number alone."""

    def __init__(self, count: int, dimensions: int) -> None:
        generator = np.random.default_rng(0)
        self.spread = (1 / np.sqrt(1 + np.arange(DIRECTIONS))).astype(np.float32)
        self.basis = np.linalg.qr(generator.normal(size=(dimensions, DIRECTIONS)))[0]
        self.basis = self.basis.T.astype(np.float32)
        clusters = max(1, count // MEMBERS)
        self.centres = generator.standard_normal((clusters, DIRECTIONS), np.float32) * self.spread

    def rows(self, number: int, count: int) -> np.ndarray:
        """(count, D) float32, unit rows."""
        generator = np.random.default_rng((1, number))
        own = generator.integers(0, len(self.centres), count)
        inner = generator.standard_normal((count, DIRECTIONS), np.float32) * self.spread
        rows = (self.centres[own] + 0.7 * inner) @ self.basis
        noise = generator.standard_normal(rows.shape, np.float32)
        rows += 0.03 * noise
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows


def written(path: Path, mixture: Mixture, count: int) -> None:
    """Write descriptors block by block."""
    shape = (count, mixture.basis.shape[1])
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for number, first in enumerate(range(0, count, BLOCK)):
        rows[first : first + BLOCK] = mixture.rows(number, min(BLOCK, count - first))
    rows.flush()


def rate(search: Callable[[np.ndarray], object], queries: np.ndarray, *, single: int) -> str:
    """Queries a second, one at a time (median) and all in one batch."""
    seconds = []
    for query in queries[:single]:
        began = time.perf_counter()
        search(query[None])
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    search(queries)
    batched = len(queries) / (time.perf_counter() - began)
    return f"{1 / statistics.median(seconds):9.1f} {batched:9.1f}"


def measured_index(
    factory: str, database: np.ndarray, queries: np.ndarray, exact: np.ndarray, points: int
) -> None:
    """Build one index and print its size, recalls and rates."""
    print(f"\n{factory}, trained on {points:,} vectors")
    trained, train = timed(
        "  training", lambda: trained_index(database, factory, train_points=points)
    )
    index, add = timed("  filling", lambda: (fill(trained, database), trained)[1])
    print(f"  build {train + add:.0f} s, {len(database) / add:,.0f} vectors/s added")
    print("  probes | recall@10 | 10 in 100 | refined@10 | queries/s: one, batch | refined")
    for probes in (1, 4, 16, 64, 256):

        def coarse(asked: np.ndarray, wide: int = 10, probes: int = probes) -> np.ndarray:
            return search_index(index, asked, wide, probes=probes)[1]

        def exactly(asked: np.ndarray, probes: int = probes) -> np.ndarray:
            candidates = search_index(index, asked, CANDIDATES, probes=probes)[1]
            return refined(database, asked, candidates, 10)[1]

        first, many, mended = coarse(queries), coarse(queries, CANDIDATES), exactly(queries)
        recalls = [recall_at(found, exact, 10) for found in (first, many, mended)]
        print(
            f"  {probes:6d} | {recalls[0]:9.3f} | {recalls[1]:9.3f} | {recalls[2]:10.3f} |"
            f" {rate(coarse, queries, single=100)} | {rate(exactly, queries, single=100)}",
            flush=True,
        )


def sharded_check(folder: Path, database: np.ndarray, queries: np.ndarray) -> None:
    """Uneven shards beside the whole: exact search and one by codes, compared bit by bit."""
    count = len(database)
    ends = [0, count // 10, count // 2, count]
    for first, end in itertools.pairwise(ends):
        write_shard(folder, first, database[first:end])
    shards = ShardedDescriptors.opened(folder, count)
    asked = queries[:100]
    whole, merged = nearest(database, asked, 10), search_shards(shards, asked, 10)
    same = all(np.array_equal(a, b) for a, b in zip(whole, merged, strict=True))
    print(f"\nsharded = unsharded, exact search, bit for bit: {same}")
    factory, points = "IVF256,PQ16", min(20_000, count)
    one = build_index(database, factory, train_points=points)
    parts = shards.indexes(factory, train_points=points)
    whole = search_index(one, asked, 10)
    merged = search_shards(shards, asked, 10, indexes=parts)
    scores = np.array_equal(whole[0], merged[0])
    print(
        f"sharded = unsharded, {factory}: similarities bit for bit {scores}, "
        f"same vectors {recall_at(merged[1], whole[1], 10):.4f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--train-points", type=int, default=80_000)
    parser.add_argument("--factories", nargs="+", default=["IVF2048,PQ64"])
    parser.add_argument("--folder", type=Path, help="keep the files here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        measure(arguments, Path(temporary))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """All measurements, in a folder of their own."""
    count, points = arguments.count, min(arguments.train_points, arguments.count)
    print(f"{count:,} x {arguments.dimensions} float32, {torch.get_num_threads()} threads")
    mixture, path = Mixture(count, arguments.dimensions), folder / "descriptors.npy"
    timed("written", lambda: written(path, mixture, count))
    database = np.load(path, mmap_mode="r")
    queries = mixture.rows(10**6, arguments.queries)
    (_, exact), _ = timed("exact search, one batch", lambda: nearest(database, queries, 10))
    found = rate(lambda asked: nearest(database, asked, 10), queries, single=5)
    print(f"exact, queries/s: one, batch {found}")
    for factory in arguments.factories:
        measured_index(factory, database, queries, exact, points)
    timed("sharded", lambda: sharded_check(folder / "shards", database, queries))


if __name__ == "__main__":
    main()
