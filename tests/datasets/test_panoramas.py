"""Datasets of the saliency pipeline, as a catalog makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kedro.io import AbstractDataset, DatasetError
from PIL import Image

from ssl_kedro.datasets.files import (
    PanoramaEncoderDataset,
    SaliencyModelDataset,
)
from ssl_kedro.datasets.handles import OutputPathDataset, PanoramaStoreDataset
from ssl_kedro.datasets.sources import GivenEncoderDataset, PanoramaSourceDataset
from ssl_kedro.encoders.panorama_encoder import (
    PanoramaEncoder,
    PanoramaEncoderConfig,
)
from ssl_kedro.encoders.saliency_model import DecoderConfig, SaliencyModel, build_decoder
from ssl_kedro.saliency.sources.errors import SaliencyDataError

NOTHING = {"source": "generated", "count_train": 0, "count_test": 0, "count_unlabelled": 0}
IMAGES = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))


def encoder(seed: int = 0, **changes: object) -> PanoramaEncoder:
    torch.manual_seed(seed)
    config = PanoramaEncoderConfig(width=0.1, longitude_padding="circular", **changes)  # type: ignore[arg-type]
    network = PanoramaEncoder(config)
    network.train()(IMAGES)  # running statistics that are not those of a new network
    return network.eval()


# --- sources


def source(name: str, **changes: object) -> PanoramaSourceDataset:
    given = {
        "own": "mine",
        "data": {**NOTHING, "count_train": 2},
        "unlabelled": {"more": {**NOTHING, "count_unlabelled": 3}},
        "also_test_on": {"others": {**NOTHING, "count_test": 4}},
        **changes,
    }
    return PanoramaSourceDataset(name=name, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "count", "split"),
    [("mine", 2, "train"), ("more", 3, "unlabelled"), ("others", 4, "test")],
)
def test_each_source_is_found_by_its_name(name: str, count: int, split: str) -> None:
    dataset = source(name)
    assert dataset.exists()
    found = dataset.load()
    assert len(found) == count
    assert set(found.splits) == {split}


def test_sources_without_others_beside_them() -> None:
    assert len(source("mine", unlabelled=None, also_test_on=None).load()) == 2


def test_a_source_is_checked_when_it_is_loaded_and_not_before(tmp_path: Path) -> None:
    dataset = source("mine", data={"source": "folder", "root": str(tmp_path)})
    with pytest.raises(DatasetError, match="no images") as found:
        dataset.load()
    assert isinstance(found.value.__cause__, SaliencyDataError)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 33)).save(tmp_path / "images" / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png: found an image of 64 x 33 px"):
        dataset.load()


def test_an_unknown_option_of_a_source_is_named() -> None:
    with pytest.raises(DatasetError, match="count_trian"):
        source("mine", data={**NOTHING, "count_trian": 2}).load()


# --- what only nodes write


@pytest.mark.parametrize(
    "dataset",
    [
        source("mine"),
        PanoramaStoreDataset(filepath="store"),
        OutputPathDataset(filepath="out.onnx"),
        GivenEncoderDataset(name="old", encoders={"old": {"file": "bundle"}}),
    ],
)
def test_what_a_node_writes_or_nobody_is_not_saved(dataset: AbstractDataset) -> None:
    with pytest.raises(DatasetError, match=r"read-only|written by"):
        dataset.save(object())


def test_a_store_is_a_handle_that_reads_nothing(tmp_path: Path) -> None:
    store = PanoramaStoreDataset(filepath=str(tmp_path / "store")).load()
    assert store.folder == tmp_path / "store"
    assert store.description() is None
    found = source("mine").load()
    store.fill(found, [1], (4, 8), label="mine")
    again = PanoramaStoreDataset(filepath=str(tmp_path / "store")).load()
    assert np.array_equal(again.images()[0], found.image(1, 4, 8))


def test_an_output_path_is_where_the_catalog_says() -> None:
    assert OutputPathDataset(filepath="~/out").load() == Path.home() / "out"


# --- networks


@pytest.mark.parametrize("changes", [{}, {"architecture": "vgg16"}, {"raw_bgr": True}])
def test_an_encoder_comes_back_as_it_was(tmp_path: Path, changes: dict[str, object]) -> None:
    network = encoder(**changes)
    dataset = PanoramaEncoderDataset(filepath=str(tmp_path / "a" / "encoder"))
    assert not dataset.exists()
    dataset.save(network)
    assert dataset.exists()
    loaded = dataset.load()
    assert not loaded.training
    assert loaded.config == network.config
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), network(IMAGES))
    dataset.save(encoder(1, **changes))
    with torch.no_grad():
        assert not torch.equal(dataset.load()(IMAGES), network(IMAGES))


def test_an_earlier_encoder_is_read_from_where_the_parameters_say(tmp_path: Path) -> None:
    network, folder = encoder(), tmp_path / "bundle"
    dataset = GivenEncoderDataset(name="old", encoders={"old": {"file": str(folder)}})
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"config\.json is missing"):
        dataset.load()
    PanoramaEncoderDataset(filepath=str(folder)).save(network)
    assert dataset.exists()
    with torch.no_grad():
        assert torch.equal(dataset.load()(IMAGES), network(IMAGES))
    for encoders in ({}, {"old": None}, {"old": {"kind": "random"}}):
        without = GivenEncoderDataset(name="old", encoders=encoders)
        assert not without.exists()
        with pytest.raises(DatasetError, match=r"set encoders\.old\.file"):
            without.load()


@pytest.mark.parametrize("kind", ["light", "thesis", "salgan"])
def test_a_model_comes_back_with_its_prior(tmp_path: Path, kind: str) -> None:
    network = encoder()
    decoder = build_decoder(DecoderConfig(kind, width=0.05, prior="mean"), network.map_channels)  # type: ignore[arg-type]
    decoder.set_prior(torch.rand(32, 64) + 0.1)
    torch.nn.init.normal_(decoder.head.weight)
    model = SaliencyModel(network, decoder).eval()
    dataset = SaliencyModelDataset(filepath=str(tmp_path / "model"))
    assert not dataset.exists()
    dataset.save(model)
    with torch.no_grad():
        assert torch.equal(dataset.load()(IMAGES), model(IMAGES))


def test_a_bundle_of_another_kind_or_a_damaged_one_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    PanoramaEncoderDataset(filepath=str(folder)).save(encoder())
    with pytest.raises(DatasetError, match=r"expected 'ssl_kedro saliency model v1'"):
        SaliencyModelDataset(filepath=str(folder)).load()
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(DatasetError, match="not a usable bundle"):
        PanoramaEncoderDataset(filepath=str(folder)).load()
