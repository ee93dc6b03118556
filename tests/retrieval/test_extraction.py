from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.maps import MapNetwork, network_fingerprint
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.photographs import ArrayPhotographs, FilePhotographs
from ssl_kedro.retrieval.descriptors import PoolingConfig, pooled
from ssl_kedro.retrieval.extraction import (
    ExtractConfig,
    VectorStore,
    extract_vectors,
)
from ssl_kedro.retrieval.folders import described_folder


class Convolution(MapNetwork):
    map_channels = 6

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 6, 5, stride=4)
        self.calls, self.stop_after = 0, stop_after

    def forward(self, images: Tensor) -> Tensor:
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return torch.relu(self.conv(images / 255))


SQUARE = Resize(40)


def images(count: int = 11) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 30, 40), np.uint8)


def extracted(store: VectorStore, network: MapNetwork, photographs, resize=SQUARE, **config):  # type: ignore[no-untyped-def]
    return extract_vectors(
        photographs,
        network,
        resize,
        PoolingConfig(),
        ExtractConfig(device="cpu", **config),
        store,
        {"images": photographs.fingerprint(), "network": network_fingerprint(network)},
        "test",
    )


def test_vectors_on_disk_are_the_pooled_maps_of_each_image(tmp_path: Path) -> None:
    pixels, network, store = images(), Convolution(), VectorStore(tmp_path / "v")
    photographs = ArrayPhotographs(pixels, [f"{i}" for i in range(11)])
    found = extracted(store, network, photographs, Resize(40, keep_aspect=True), batch_size=4)
    assert found.images == 11
    starts, vectors = store.starts(), store.vectors()
    for index in range(11):
        with torch.no_grad():
            expected = pooled(network(torch.from_numpy(pixels[index : index + 1])), PoolingConfig())
        mine = vectors[starts[index] : starts[index + 1]]
        assert np.allclose(mine, expected[0].numpy(), atol=1e-6)
    assert len(vectors) == found.vectors == 11 * 20  # a 4:3 map has 20 regions


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    network, store = Convolution(), VectorStore(tmp_path / "v")
    photographs = ArrayPhotographs(images(), [f"{i}" for i in range(11)])
    first = extracted(store, network, photographs)
    calls = network.calls
    assert extracted(store, network, photographs) == first
    assert network.calls == calls
    with torch.no_grad():
        network.conv.weight[0, 0, 0, 0] += 1
    extracted(store, network, photographs)
    assert network.calls > calls


def broken_folder(folder: Path, count: int, broken: int) -> FilePhotographs:
    for index, pixels in enumerate(images(count)):
        path = folder / f"{index}.png"
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path)
        if index < broken:
            path.write_bytes(b"not an image")
    return FilePhotographs(
        [folder / f"{i}.png" for i in range(count)], [f"{i}" for i in range(count)]
    )


def test_a_broken_image_has_no_vectors_and_is_named(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "v")
    photographs = broken_folder(tmp_path, 8, 1)
    found = extracted(store, Convolution(), photographs, max_skipped=0.2)
    assert [name for name, _ in found.skipped] == ["0"]
    assert store.starts()[:3].tolist() == [0, 0, 14]


def test_too_many_broken_images_end_it_and_what_was_there_stays(tmp_path: Path) -> None:
    store, network = VectorStore(tmp_path / "v"), Convolution()
    good = ArrayPhotographs(images(), [f"{i}" for i in range(11)])
    extracted(store, network, good)
    kept = np.array(store.vectors())
    with pytest.raises(ConfigError, match=r"1.00% of the 8 images .* broken header"):
        extracted(store, network, broken_folder(tmp_path, 8, 1))
    assert np.array_equal(store.vectors(), kept)
    extracted(store, network, broken_folder(tmp_path, 8, 1), max_skipped=0.2)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["v"]


def test_an_extraction_that_ended_early_goes_on_from_its_blocks(tmp_path: Path) -> None:
    store, whole = VectorStore(tmp_path / "v"), VectorStore(tmp_path / "whole")

    photographs = ArrayPhotographs(images(), [f"{i}" for i in range(11)])
    with pytest.raises(KeyboardInterrupt):
        extracted(store, Convolution(stop_after=4), photographs, batch_size=2, block=4)
    assert store.description() is None
    network = Convolution()
    extracted(store, network, photographs, batch_size=2, block=4)
    assert network.calls == 2  # two blocks of 4 were there; the third of 3 takes two batches
    extracted(whole, Convolution(), photographs, batch_size=2, block=4)
    assert np.array_equal(store.vectors(), whole.vectors())
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["v", "whole"]


def test_blocks_of_other_batches_or_damaged_ones_are_made_again(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "v")

    def calls_after_a_stop(batch_size: int, kept: float) -> int:
        photographs = ArrayPhotographs(images(8), [f"{i}" for i in range(8)])
        with pytest.raises(KeyboardInterrupt):
            extracted(store, Convolution(stop_after=2), photographs, batch_size=2, block=4)
        first = next((tmp_path / ".v.blocks").glob(f"*/block_{0:012d}.safetensors"))
        first.write_bytes(first.read_bytes()[: int(kept * first.stat().st_size)])
        network = Convolution()
        extracted(store, network, photographs, batch_size=batch_size, block=4)
        shutil.rmtree(store.folder)
        return network.calls

    assert calls_after_a_stop(2, kept=1.0) == 2
    assert calls_after_a_stop(2, kept=0.5) == 4
    assert calls_after_a_stop(4, kept=1.0) == 2  # all 8 images, in other batches


def test_a_damaged_store_counts_as_absent(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "v")
    extracted(store, Convolution(), ArrayPhotographs(images(), [f"{i}" for i in range(11)]))
    path = tmp_path / "v" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-100])
    assert store.description() is None


def test_a_folder_of_images_is_described(tmp_path: Path) -> None:
    broken_folder(tmp_path, 4, 1)
    config = ExtractConfig(device="cpu", max_skipped=0.3)
    names, rows = described_folder(
        tmp_path, Convolution(), tmp_path / "vectors", size=40, config=config
    )
    assert names == ("0.png", "1.png", "2.png", "3.png")
    assert np.allclose(np.linalg.norm(rows, axis=1), [0, 1, 1, 1])
    with torch.no_grad():
        regions = pooled(Convolution()(pixels_of(tmp_path / "2.png")), PoolingConfig())[0]
    expected = torch.nn.functional.normalize(regions, dim=1).sum(dim=0)
    assert np.allclose(rows[2], expected / expected.norm(), atol=1e-5)


def pixels_of(path: Path) -> Tensor:
    image = Image.open(path).resize((40, 40), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image).transpose(2, 0, 1)[None])
