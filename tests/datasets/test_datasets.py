from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kedro.io import DatasetError

from ssl_kedro.datasets.files import EncoderBundleDataset, TensorsDataset
from ssl_kedro.datasets.handles import CheckpointDataset, EpochLogDataset
from ssl_kedro.datasets.sources import ImageSourceDataset
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.images.load import ImageSourceError


def test_encoder_bundle_round_trip(tmp_path: Path) -> None:
    dataset = EncoderBundleDataset(filepath=str(tmp_path / "a" / "encoder"))
    assert not dataset.exists()
    encoder = GatedResNet18(EncoderConfig(width=4), image_size=16).eval()
    dataset.save(encoder)
    assert dataset.exists()
    loaded = dataset.load()
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.gated(images), encoder.gated(images))


def test_damaged_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"config\.json is missing"):
        EncoderBundleDataset(filepath=str(tmp_path / "nothing")).load()


def test_tensors_round_trip_keeps_types_and_shapes(tmp_path: Path) -> None:
    dataset = TensorsDataset(filepath=str(tmp_path / "features.safetensors"))
    arrays = {
        "dense.eval": np.arange(6, dtype=np.float32).reshape(2, 3),
        "macs": np.array([1.5, 2.5]),
        "open.layer1.0": np.array([3, 4], dtype=np.int64),
        "strided": np.arange(8)[::2],
    }
    dataset.save(arrays)
    loaded = dataset.load()
    assert loaded.keys() == arrays.keys()
    for name, value in arrays.items():
        assert loaded[name].dtype == value.dtype
        assert np.array_equal(loaded[name], value)


def test_a_data_set_to_transfer_to_is_named_by_its_own_key(tmp_path: Path) -> None:
    data = {"CIFAR-100": {"source": "folder", "root": str(tmp_path / "nowhere")}}
    dataset = ImageSourceDataset(split="train", data=data, entry="CIFAR-100")
    with pytest.raises(ImageSourceError, match=r"^transfer\.data\.CIFAR-100\.root = "):
        dataset.look()
    with pytest.raises(DatasetError, match=r"transfer\.data\.CIFAR-100\.root = "):
        dataset.load()


def test_image_source_follows_its_parameters_and_is_read_only() -> None:
    data = {"source": "textures", "size": 16, "generated": 40, "generated_eval": 20}
    dataset = ImageSourceDataset(split="eval", data=data, seed=1)
    images = dataset.load()
    assert images.images.shape == (20, 3, 16, 16)
    again = ImageSourceDataset(split="eval", data=data, seed=1).load()
    other = ImageSourceDataset(split="eval", data=data, seed=2).load()
    assert images.fingerprint() == again.fingerprint() != other.fingerprint()
    with pytest.raises(DatasetError, match="read-only"):
        dataset.save(images)
    with pytest.raises(Exception, match="sise"):
        ImageSourceDataset(split="eval", data={"sise": 3})


def test_run_handles_point_where_the_catalog_says(tmp_path: Path) -> None:
    store = CheckpointDataset(filepath=str(tmp_path / "c.safetensors")).load()
    assert store.load() is None
    log = EpochLogDataset(filepath=str(tmp_path / "b" / "epochs.jsonl")).load()
    log.append({"epoch": 1, "loss": 2.0})
    assert (tmp_path / "b" / "epochs.jsonl").read_text() == '{"epoch": 1, "loss": 2.0}\n'
