"""Extraction in several processes: what one process gives, whatever happens to one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_kedro.core import cluster
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.members import ClusterError
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.frozen import PixelMaps
from ssl_kedro.encoders.maps import MapNetwork, network_fingerprint
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.photographs import ArrayPhotographs, FilePhotographs
from ssl_kedro.retrieval.blocks import Block, Blocks, NetworkFiles, make_block
from ssl_kedro.retrieval.descriptors import PoolingConfig
from ssl_kedro.retrieval.extraction import (
    ExtractConfig,
    Extracted,
    VectorStore,
    extract_vectors,
)
from ssl_kedro.retrieval.folders import described_folder
from watched import Watched

BLOCK = 8


def files(folder: Path, count: int, broken: tuple[int, ...] = ()) -> Watched:
    """Images of two shapes in turns of three, so that batches end inside of blocks."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        height = 48 if index // 3 % 2 else 64
        pixels = generator.integers(0, 256, (height, 64, 3), np.uint8)
        path = folder / f"{index}.png"
        Image.fromarray(pixels).save(path)
        if index in broken:
            path.write_bytes(b"not an image")
    names = [f"{index}" for index in range(count)]
    made = Watched([folder / f"{name}.png" for name in names], names)
    made.log = folder / "read.log"
    return made


def network() -> MapNetwork:
    torch.manual_seed(0)
    return BottleneckResNet(BottleneckConfig(50, 4)).eval()


def extracted(store: VectorStore, photographs: FilePhotographs, **config: object) -> Extracted:
    given = network()
    settings = {"device": "cpu", "batch_size": 4, "block": BLOCK, "threads": 1} | config
    return extract_vectors(
        photographs,
        given,
        Resize(64, keep_aspect=True),
        PoolingConfig(),
        ExtractConfig(**settings),  # type: ignore[arg-type]
        store,
        {"images": photographs.fingerprint(), "network": network_fingerprint(given)},
        "test",
    )


def same(first: VectorStore, second: VectorStore) -> bool:
    starts = np.array_equal(first.starts(), second.starts())
    return starts and np.array_equal(first.vectors(), second.vectors())


def test_two_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    photographs = files(tmp_path / "images", 5 * BLOCK + 3, broken=(2, 9, 10, 42))
    threads = torch.get_num_threads()
    one, two = VectorStore(tmp_path / "one"), VectorStore(tmp_path / "two")
    alone = extracted(one, photographs, max_skipped=0.1)
    photographs.log.unlink()
    shared = extracted(two, photographs, max_skipped=0.1, processes=2)
    assert same(one, two)
    assert [name for name, _ in shared.skipped] == ["2", "9", "10", "42"]
    assert shared.skipped == alone.skipped
    readers = {process for _, process in photographs.read()}
    assert len(readers) == 2
    assert str(os.getpid()) not in readers
    assert not list(tmp_path.glob(".*.blocks"))
    assert torch.get_num_threads() == threads


def test_a_killed_process_costs_its_block_alone(tmp_path: Path) -> None:
    photographs = files(tmp_path / "images", 6 * BLOCK)
    one, two = VectorStore(tmp_path / "one"), VectorStore(tmp_path / "two")
    extracted(one, photographs)
    photographs.log.unlink()
    photographs.deadly = "20"
    extracted(two, photographs, processes=2)
    assert photographs.log.with_suffix(".ended").exists()
    assert same(one, two)
    read = Counter(name for name, _ in photographs.read())
    again = {int(name) // BLOCK for name, times in read.items() if times > 1}
    assert again <= {20 // BLOCK}
    assert len(read) == 6 * BLOCK
    assert max(read.values()) <= 2


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_give_the_bits_of_one(tmp_path: Path, threads: int) -> None:
    photographs = files(tmp_path / "images", 5 * BLOCK + 3, broken=(9,))
    one, more = VectorStore(tmp_path / "one"), VectorStore(tmp_path / "more")
    extracted(one, photographs, max_skipped=0.1)
    extracted(more, photographs, max_skipped=0.1, threads=threads)
    assert same(one, more)


def test_blocks_are_kept_when_fewer_processes_and_threads_go_on(tmp_path: Path) -> None:
    photographs = files(tmp_path / "images", 4 * BLOCK)
    photographs.ends_at = str(3 * BLOCK + 1)
    store = VectorStore(tmp_path / "v")
    with pytest.raises(KeyboardInterrupt):
        extracted(store, photographs, threads=2)
    photographs.ends_at = None
    photographs.log.unlink()
    extracted(store, photographs, threads=None, processes=2)
    assert {int(name) // BLOCK for name, _ in photographs.read()} == {3}


def test_a_worker_of_a_run_that_ended_writes_nothing_into_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photographs = files(tmp_path / "images", 2 * BLOCK)
    how = ExtractConfig(device="cpu").how(Resize(64), PoolingConfig())
    before, after = (
        Blocks(tmp_path / "blocks", {"network": mark, "size": [64, None]}, 2 * BLOCK, BLOCK)
        for mark in "ab"
    )
    before.begin()
    late = Block(before.path(0), photographs.part(0, BLOCK), PixelMaps(2), how)
    make_block(late)
    after.begin()
    assert "1 finished blocks are thrown away, made with another network" in caplog.text
    make_block(late)
    assert len(after.missing()) == 2
    assert after.path(0) != before.path(0)


def test_two_runs_at_once_have_their_own_vectors(tmp_path: Path) -> None:
    files(tmp_path / "images", 3 * BLOCK)

    def described(side: int) -> np.ndarray:
        config = ExtractConfig(device="cpu", block=BLOCK)
        images, vectors = tmp_path / "images", tmp_path / "vectors"
        return described_folder(images, PixelMaps(side), vectors, size=32, config=config)[1]

    alone = [described(side) for side in (2, 3)]
    with ThreadPoolExecutor(4) as pool:
        for side, found in zip([2, 3] * 4, pool.map(described, [2, 3] * 4), strict=True):
            assert np.array_equal(found, alone[side - 2])


@pytest.mark.slow
def test_too_many_unreadable_images_over_all_blocks_end_it(tmp_path: Path) -> None:
    photographs = files(tmp_path / "images", 4 * BLOCK, broken=(1, 12, 20))
    with pytest.raises(ConfigError, match=r"5.00% of the 32 images .* found [23] so far"):
        extracted(VectorStore(tmp_path / "v"), photographs, max_skipped=0.05, processes=2)


def test_an_object_that_workers_cannot_read_is_told_at_once(tmp_path: Path) -> None:
    class Unknown(Watched):
        def part(self, first: int, stop: int) -> Unknown:
            return self

    photographs = files(tmp_path / "images", 2 * BLOCK)
    unknown = Unknown(photographs.paths, photographs.names)
    with pytest.raises(AttributeError, match="Unknown"):
        extracted(VectorStore(tmp_path / "v"), unknown, processes=2)


NODE = """
from pathlib import Path
import torch
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.images.decode import Resize
from ssl_kedro.retrieval.descriptors import PoolingConfig
from ssl_kedro.retrieval.extraction import *
from ssl_kedro.encoders.maps import network_fingerprint
from watched import Watched

if __name__ == "__main__":
    names = [str(i) for i in range({count})]
    images = Watched([Path("{folder}") / f"{{name}}.png" for name in names], names)
    images.log, images.slow_s = Path("{folder}") / "read.log", 0.03
    torch.manual_seed(0)
    network = BottleneckResNet(BottleneckConfig(50, 4)).eval()
    config = ExtractConfig(device="cpu", batch_size=4, block=8, threads=1, processes=2)
    identity = {{"images": images.fingerprint(), "network": network_fingerprint(network)}}
    size, store = Resize(64, keep_aspect=True), VectorStore(Path("{store}"))
    extract_vectors(images, network, size, PoolingConfig(), config, store, identity, "test")
"""


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_goes_on_from_its_blocks(tmp_path: Path) -> None:
    count = 8 * BLOCK
    photographs = files(tmp_path / "images", count)
    photographs.slow_s = 0.03
    store = tmp_path / "two"
    script = tmp_path / "node.py"
    script.write_text(NODE.format(count=count, folder=tmp_path / "images", store=store))
    places = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.Popen([sys.executable, str(script)], env=os.environ | places)
    blocks = tmp_path / ".two.blocks"
    ends = time.monotonic() + 60
    while len(list(blocks.glob("*/block_*"))) < 2:
        assert time.monotonic() < ends
        assert run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.wait()
    readers = {int(process) for _, process in photographs.read()}
    while any(_lives(process) for process in readers):
        assert time.monotonic() < ends
        time.sleep(0.1)
    there = {path.name for path in blocks.glob("*/block_*")}
    assert 2 <= len(there) < 8
    photographs.log.unlink()
    photographs.slow_s = 0.0
    extracted(VectorStore(store), photographs, processes=2)
    assert len(photographs.read()) == count - BLOCK * len(there)
    extracted(VectorStore(tmp_path / "one"), photographs)
    assert same(VectorStore(tmp_path / "one"), VectorStore(store))


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_networks_are_what_they_were_in_another_process(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    for number, given in enumerate([network(), PixelMaps(5)]):
        mark = network_fingerprint(given)
        found = NetworkFiles.written(given, tmp_path / f"{number}", mark).loaded()
        assert torch.equal(found(images), given(images))
        assert network_fingerprint(found) == mark


def test_a_network_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    class Own(MapNetwork):
        map_channels = 3

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images

    with pytest.raises(ValueError, match=r"no bundle format for a Own.*processes: 1"):
        NetworkFiles.written(Own(), tmp_path / "network", "mark")
    with pytest.raises(ValueError, match="a disk that all see"):
        NetworkFiles(tmp_path / "nothing", "dense", "mark").loaded()


def test_parts_hold_what_the_whole_holds(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 20, 30), np.uint8)
    names, boxes = [f"{i}" for i in range(6)], np.full((6, 4), np.nan)
    boxes[3] = (2, 4, 22, 18)
    whole, size = ArrayPhotographs(pixels, names, boxes), Resize(16)
    part = whole.part(2, 5)
    assert part.names == ("2", "3", "4")
    for index in range(3):
        assert np.array_equal(part.decoded(index, size), whole.decoded(index + 2, size))


def test_no_scheduler_at_an_address_is_told_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_ANSWER_S", 1)
    began = time.monotonic()
    with pytest.raises(ClusterError, match="no Dask scheduler answered there"):
        extracted(
            VectorStore(tmp_path / "v"), files(tmp_path / "images", 3), cluster="tcp://127.0.0.1:9"
        )
    assert time.monotonic() - began < 6
