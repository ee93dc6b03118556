"""Extraction in one process and in several, one of them killed, and an index of what it gives.

python benchmarks/extraction_processes.py [--count 20000] [--rounds 2]

Writes generated JPEG files, then takes the ways in turn, so that what else the machine does meets
all of them; prints seconds, ratios to one process of one thread, and whether vectors are equal.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ssl_kedro.core.cluster import spread
from ssl_kedro.core.devices import limited_threads
from ssl_kedro.core.memory import keep_freed_memory
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.maps import network_fingerprint
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.photographs import FilePhotographs
from ssl_kedro.retrieval.descriptors import PoolingConfig, aggregated
from ssl_kedro.retrieval.extraction import (
    ExtractConfig,
    VectorStore,
    extract_vectors,
)
from ssl_kedro.retrieval.index import build_index
from ssl_kedro.retrieval.shards import ShardedDescriptors, search_shards

SIDE = 64
BLOCK = 256
# Processes, threads of each, whether one is killed.
WAYS = {
    "one process, 1 thread": (1, 1, False),
    "one process, 2 threads": (1, 2, False),
    "two processes, 1 thread": (2, 1, False),
    "two processes, one killed": (2, 1, True),
}


def written(folder: Path, count: int) -> FilePhotographs:
    """Smooth random pictures as JPEG files."""
    generator, names = np.random.default_rng(0), [f"{index:06d}" for index in range(count)]
    for name in names:
        coarse = generator.integers(0, 256, (6, 6, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"{name}.jpg")
    return FilePhotographs([folder / f"{name}.jpg" for name in names], names)


def workers_of(process: int) -> list[int]:
    """Children that hold memory of a worker, of a process of this machine."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    for task in Path(f"/proc/{process}/task").iterdir():
        found += (task / "children").read_text().split()
    lines = {int(one): Path(f"/proc/{one}/cmdline").read_bytes() for one in set(found)}
    return sorted(one for one, line in lines.items() if b"spawn_main" in line)


def kill_one(blocks: Path, half: int) -> None:
    """Kill a worker when half of the blocks are there."""
    while len(list(blocks.glob("*/block_*"))) < half:
        time.sleep(0.05)
    os.kill(workers_of(os.getpid())[0], signal.SIGKILL)


def extracted(
    folder: Path, name: str, photographs: FilePhotographs, network: BottleneckResNet
) -> tuple[float, VectorStore]:
    """Seconds of one way, and its vectors."""
    processes, threads, killed = WAYS[name]
    store = VectorStore(folder / "vectors" / name.replace(" ", "_").replace(",", ""))
    config = ExtractConfig(
        device="cpu", batch_size=16, processes=processes, threads=threads, block=BLOCK
    )
    if killed:
        blocks = store.folder.with_name(f".{store.folder.name}.blocks")
        half = len(photographs) // BLOCK // 2
        threading.Thread(target=kill_one, args=(blocks, half), daemon=True).start()
    began = time.perf_counter()
    mark = {"run": time.time(), "network": network_fingerprint(network)}
    extract_vectors(photographs, network, Resize(SIDE), PoolingConfig(), config, store, mark, name)
    return time.perf_counter() - began, store


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--factory", default="IVF256,PQ32")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    keep_freed_memory()  # as a run of the pipeline does
    torch.manual_seed(0)
    network = BottleneckResNet(BottleneckConfig(50, arguments.width)).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = written(folder, arguments.count)
        seconds: dict[str, list[float]] = {way: [] for way in arguments.ways}
        stores = {}
        for _ in range(arguments.rounds):
            for way in arguments.ways:
                took, stores[way] = extracted(folder, way, photographs, network)
                seconds[way].append(took)
                print(f"{way:<28} {took:7.1f} s", flush=True)
        reference = stores["one process, 1 thread"].vectors()
        first = statistics.median(seconds["one process, 1 thread"])
        print("\nway | median s | ratio | same bits | largest difference / largest value")
        for way, store in stores.items():
            found, median = store.vectors(), statistics.median(seconds[way])
            apart = float(np.abs(found - reference).max() / np.abs(reference).max())
            equal = np.array_equal(found, reference)
            print(
                f"{way} | {median:.1f} | {first / median:.2f} | {equal} | {apart:.1e}", flush=True
            )
        search(stores["one process, 1 thread"], arguments)


def search(store: VectorStore, arguments: argparse.Namespace) -> None:
    """The index and exact search of the descriptors, by one process and by two."""
    path = store.folder / "descriptors.npy"
    np.save(path, aggregated(store.vectors(), store.starts(), None))
    rows = np.load(path, mmap_mode="r")
    pieces = ShardedDescriptors.cut(rows, 2)
    found, factory = {}, arguments.factory
    for processes in (1, 2):
        with limited_threads(1), spread(processes) as workers:
            list(workers.results(abs, [1] * processes))  # processes are there
            began = time.perf_counter()
            index = build_index(
                rows, factory, train_points=10_000, pieces=pieces.shards, workers=workers
            )
            built = time.perf_counter() - began
            began = time.perf_counter()
            nearest = search_shards(pieces, rows[:1000], 20, workers=workers)
            print(
                f"{processes} process(es): {factory} {built:.1f} s, exact search of 1,000 "
                f"{time.perf_counter() - began:.1f} s"
            )
            found[processes] = (index, nearest)
    import faiss  # noqa: PLC0415

    files = [faiss.serialize_index(index) for index, _ in found.values()]
    same = [np.array_equal(*pair) for pair in zip(found[1][1], found[2][1], strict=True)]
    print(f"index same bytes {np.array_equal(*files)}, similarities and indices same bits {same}")


if __name__ == "__main__":
    main()
