"""Compact networks of bottlenecks: two masks a block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.networks import EMPTY, agreeing_masks, random_encoder, random_usage, without
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.encoders.bundle import load_bundle, save_bundle
from ssl_kedro.encoders.gated_resnet import GatedResNet18, Stem
from ssl_kedro.inference import plain_module
from ssl_kedro.inference.compact import GateUsage, compact, dense_network, static_network
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.export import export_bundle, export_compact_onnx
from ssl_kedro.inference.native.kernel import NativeNetwork
from ssl_kedro.inference.network import CompactEncoder, CompactNetwork

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)


def bottlenecks(stem: Stem = "cifar", size: int = 16) -> GatedResNet18:
    return random_encoder(stem, size=size, block="bottleneck")


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(("stem", "size"), [("cifar", 16), ("imagenet", 65)])
@torch.no_grad()
def test_equals_the_encoder_and_the_sliced_network(
    stem: Stem, size: int, empty: tuple[int, ...]
) -> None:
    encoder = bottlenecks(stem, size)
    usage = without(random_usage(encoder), empty)
    network = compact(encoder, usage)
    images, masks = torch.rand(3, 3, size, size), agreeing_masks(usage, 3)
    found = network(images, network.plan.dependent_masks(masks))
    torch.testing.assert_close(found, encoder(images, "gated", masks=masks).features)
    macs = CompactEncoder(network).cost().masked(network_masks(network, masks))
    for sample in range(3):
        kept = [mask[sample] for mask in masks]
        expected, counted = sliced_forward(encoder, images[sample], kept, "gated")
        torch.testing.assert_close(found[sample], expected)
        if not empty:  # else less is computed than a mask asks for
            removed = sum(
                gate.squeeze.out_features * (layer.channels - layer.dependent)
                for gate, layer in zip(encoder.gates(), network.plan.layers, strict=True)
            )
            assert float(macs[sample]) == counted - removed


def network_masks(network: CompactNetwork, masks: list[torch.Tensor]) -> list[torch.Tensor]:
    pairs = zip(masks, network.plan.layers, strict=True)
    return [mask[:, list(layer.kept)] for mask, layer in pairs]


@torch.no_grad()
def test_its_own_gates_decide_as_the_encoders() -> None:
    encoder = bottlenecks()
    images = torch.from_numpy(IMAGES)
    _, masks, _ = encoder(images, "gated")
    names = tuple(block.name for block in encoder.cost().blocks)
    counts = tuple(mask.sum(dim=0).long().numpy() for mask in masks)
    network = compact(encoder, GateUsage("these", 6, names, counts))
    features, applied = network.decide(images)
    torch.testing.assert_close(features, encoder(images, "gated").features)
    for found, mask in zip(network.plan.encoder_masks(applied), masks, strict=True):
        assert torch.equal(found, mask)


@pytest.mark.parametrize("empty", EMPTY)
@torch.no_grad()
def test_static_networks_meet_budgets_and_travel(tmp_path: Path, empty: tuple[int, ...]) -> None:
    encoder = bottlenecks()
    usage = without(random_usage(encoder), empty)
    network, threshold = static_network(encoder, usage, 0.7)
    cost = encoder.cost()
    kept = [torch.from_numpy(c >= threshold * 10).float() for c in usage.open_counts]
    assert network.plan.cost().dense <= cost.at([int(m.sum()) for m in kept]) <= 0.7 * cost.dense
    image = torch.rand(3, 16, 16)
    expected, _ = sliced_forward(encoder, image, kept, "gated")
    torch.testing.assert_close(network(image[None])[0], expected)
    export_bundle(network, tmp_path / "static", IMAGES)
    for again in (
        load_bundle(tmp_path / "static", CompactNetwork),
        plain_module.load(tmp_path / "static"),
    ):
        assert torch.equal(again(image[None]), network(image[None]))


@pytest.mark.parametrize("empty", EMPTY)
@torch.no_grad()
def test_onnx_gives_the_same_features(tmp_path: Path, empty: tuple[int, ...]) -> None:
    pytest.importorskip("onnxruntime")
    encoder = bottlenecks()
    usage = without(random_usage(encoder), empty)
    for network in (compact(encoder, usage), dense_network(encoder)):
        assert export_compact_onnx(network, tmp_path / "file", images=IMAGES).difference < 1e-4
    report = export_compact_onnx(
        dense_network(encoder), tmp_path / "int8", precision="int8", calibration=IMAGES
    )
    assert 0 < report.difference < 0.2 * report.largest


@torch.no_grad()
def test_bundles_keep_two_gates_a_block(tmp_path: Path) -> None:
    encoder = bottlenecks()
    network = compact(encoder, random_usage(encoder))
    save_bundle(network, tmp_path / "gated")
    again = load_bundle(tmp_path / "gated", CompactNetwork)
    assert again.plan == network.plan
    images = torch.from_numpy(IMAGES)
    for found, expected in zip(again.decide(images), network.decide(images), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("size", [64, 66])
@torch.no_grad()
def test_files_pool_as_tensorflow_does_where_the_encoder_does(tmp_path: Path, size: int) -> None:
    pytest.importorskip("onnxruntime")
    encoder = bottlenecks("imagenet_same", size)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, size, size), dtype=np.uint8)
    network = dense_network(encoder)
    export_bundle(network, tmp_path / "plain", images)
    assert export_compact_onnx(network, tmp_path / "file", images=images).difference < 1e-4
    with pytest.raises(EngineUnavailableError, match="pooling"):
        NativeNetwork(network, size)
