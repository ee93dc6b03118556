"""Encoders under the names of torchvision and timm, with these libraries as oracles."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from oracles.norms import with_used_norms
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.importers import import_weights
from ssl_kedro.encoders.torchvision_names import named_architecture, torchvision_weights
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.inference.export import export_torchvision

SHAPES = {
    "resnet18": EncoderConfig("imagenet"),
    "resnet34": EncoderConfig("imagenet", stages=(3, 4, 6, 3)),
    "resnet50": EncoderConfig("imagenet", stages=(3, 4, 6, 3), block="bottleneck"),
    "resnet101": EncoderConfig("imagenet", stages=(3, 4, 23, 3), block="bottleneck"),
}


def encoder(shape: EncoderConfig) -> GatedResNet18:
    torch.manual_seed(0)
    return with_used_norms(GatedResNet18(shape, image_size=64))


@pytest.mark.parametrize("name", SHAPES)
def test_torchvision_and_timm_compute_the_same_features(name: str, tmp_path: Path) -> None:
    source = encoder(SHAPES[name])
    images = torch.rand(3, 3, 64, 64)
    expected = source.dense(images)
    pixels = (images - source.pixel_mean) / source.pixel_std
    weights = torchvision_weights(source)
    assert named_architecture(source) == name

    theirs = torchvision.models.get_model(name)
    theirs.fc = nn.Identity()
    theirs.load_state_dict(weights)
    assert torch.equal(theirs.eval()(pixels), expected)

    save_file(weights, tmp_path / "model.safetensors")
    model = timm.create_model(name, checkpoint_path=tmp_path / "model.safetensors", num_classes=0)
    torch.testing.assert_close(model.eval()(pixels), expected, rtol=0, atol=0)
    # A head is not among them, and timm says so.
    with pytest.raises(RuntimeError, match=re.escape("fc.weight")):
        timm.create_model(name, checkpoint_path=tmp_path / "model.safetensors")


def test_the_file_is_read_into_torchvision_s_network_and_compared(tmp_path: Path) -> None:
    source = encoder(SHAPES["resnet18"])
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    report = export_torchvision(source, tmp_path / "resnet18.safetensors", images)
    assert report.difference == 0
    assert (report.images, report.bytes) == (6, report.path.stat().st_size)
    assert report.largest > 1


def test_a_round_trip_gives_the_same_encoder(tmp_path: Path) -> None:
    source = encoder(SHAPES["resnet18"])
    torch.save(torchvision_weights(source), tmp_path / "resnet18.pth")
    network, report = import_weights("torchvision_resnet18", tmp_path / "resnet18.pth")
    again = network.bundled
    assert isinstance(again, GatedResNet18)
    mine = {n: v for n, v in source.state_dict().items() if ".gate" not in n and "pixel" not in n}
    theirs = {n: v for n, v in again.state_dict().items() if "pixel" not in n}
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, mine[name]) for name, value in theirs.items())
    assert not report.dropped


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (EncoderConfig("cifar", 64), "found .*stem='cifar'"),
        (EncoderConfig("imagenet", 32), "found .*width=32"),
        (EncoderConfig("imagenet", 64, stages=(1, 1, 1, 1)), r"found .*stages=\(1, 1, 1, 1\)"),
        (EncoderConfig("imagenet", 64, (8,) * 8), "expected one that they have: stem imagenet"),
    ],
)
def test_other_shapes_are_refused_with_what_to_write_instead(
    shape: EncoderConfig, words: str
) -> None:
    made = EncoderSetup(shape, 32).build(("dense",), GateConfig())
    with pytest.raises(InputError, match=words):
        torchvision_weights(made)


def test_an_encoder_without_a_dense_branch_is_refused() -> None:
    made = GatedResNet18(EncoderConfig("imagenet", 64), branches=("gated",), image_size=32)
    with pytest.raises(ValueError, match="dense"):
        torchvision_weights(made)
