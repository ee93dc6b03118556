"""Compact vision transformers: the masked encoder, its cost, ONNX Runtime and OpenVINO judge."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.networks import agreeing_masks, gate_usage, random_usage
from oracles.drawn import with_drawn_values
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.precision import processor_lacks
from ssl_kedro.encoders.bundle import BundleError, load_bundle, save_bundle
from ssl_kedro.encoders.factory import new_backbone
from ssl_kedro.encoders.gated_vit import GatedViT, ViTConfig
from ssl_kedro.inference import export, plain_vit
from ssl_kedro.inference.compact import GateUsage, compact, dense_network, static_network
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.engines.packaged import (
    CompiledEngine,
    OnnxRuntimeEngine,
    OpenVinoEngine,
    TorchEngine,
    onnx_bytes,
)
from ssl_kedro.inference.engines.probe import fastest_engine
from ssl_kedro.inference.export import ExportError, export_bundle, export_compact_onnx
from ssl_kedro.inference.forcing import forcing_report
from ssl_kedro.inference.hub import ModelCard, write_hub_folder
from ssl_kedro.inference.native.kernel import NativeNetwork
from ssl_kedro.inference.network import CompactEncoder
from ssl_kedro.inference.onnx_graph import compact_onnx
from ssl_kedro.inference.vit import CompactViT

SHAPES: dict[str, dict[str, Any]] = {
    "class": {},
    "mean": {"pooling": "mean"},
    "layer scale": {"layer_scale": True, "patch": 8},
    "uneven": {"inner_channels": (1, 9, 3, 20, 2, 5)},
}
WIDTH, DEPTH, SIDE = 192, 3, 16


def encoder_of(seed: int = 0, **shape: Any) -> GatedViT:
    values = {"width": WIDTH, "patch": 4, "depth": DEPTH} | shape
    made: Any = new_backbone(
        ViTConfig(**values),
        image_size=SIDE,
        pixel_mean=(0.4, 0.5, 0.6),
        pixel_std=(0.2, 0.25, 0.3),
    )
    made = with_drawn_values(made, seed)
    with torch.no_grad():  # logits of both signs
        for gate in made.gates():
            gate.expand.weight.mul_(20)
    return made  # type: ignore[no-any-return]


def usage_of(encoder: GatedViT) -> GateUsage:
    """Of all kinds: heads and units that are never, always or sometimes on, empty ones, full."""
    usage = random_usage(encoder)
    counts = [np.array(of) for of in usage.open_counts]
    counts[0][:] = 4  # heads that all depend
    counts[2][:] = 0  # attention that adds a constant
    counts[3][:] = 10  # an MLP without a gate
    counts[5][:] = 0  # an MLP that adds a constant
    return replace(usage, open_counts=tuple(counts))


def pixels(count: int, side: int = SIDE, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("side", [16, 24])
@torch.no_grad()
def test_compact_equals_the_masked_encoder_under_the_same_mask(
    shape: dict[str, Any], side: int
) -> None:
    encoder = encoder_of(**shape)
    usage = usage_of(encoder)
    network = compact(encoder, usage)
    images, masks = pixels(4, side), agreeing_masks(usage, 4)
    imposed = network.plan.dependent_masks(masks)
    maps, _, _ = encoder.maps(images, "gated", masks=masks)
    scale = float(maps.abs().max())
    found, applied = network.decide(images, imposed)
    assert torch.equal(applied, imposed)
    expected = encoder(images, "gated", masks=masks).features
    assert float((found - expected).abs().max()) < 1e-5 * scale
    assert float((network.maps(images, imposed)[0] - maps).abs().max()) < 1e-5 * scale
    one = [mask[:1] for mask in masks]
    shared = network(images, network.plan.dependent_masks(one))
    expected = encoder(images, "gated", masks=one).features
    assert float((shared - expected).abs().max()) < 1e-5 * scale
    assert not torch.equal(shared[1:], found[1:])


@torch.no_grad()
def test_on_the_images_of_the_usage_nothing_changes() -> None:
    encoder = encoder_of()
    images = torch.randint(0, 256, (6, 3, SIDE, SIDE), dtype=torch.uint8)
    network = compact(encoder, gate_usage(encoder, images.numpy(), "these"))
    assert network.plan.dependent
    own = encoder(images, "gated")
    features, applied = network.decide(images)
    torch.testing.assert_close(features, own.features, rtol=0, atol=1e-5)
    for full, mask in zip(network.plan.encoder_masks(applied), own.masks, strict=True):
        assert torch.equal(full, mask)
    report = forcing_report(encoder, network, images.numpy())
    assert report.changed_images == 0
    assert report.largest_change < 1e-5
    through = CompactEncoder(network)(images, "gated")
    assert torch.equal(through.features, features)
    for mask, plan, whole in zip(through.masks, network.plan.layers, own.masks, strict=True):
        assert torch.equal(mask, whole[:, list(plan.kept)])
    again = CompactEncoder(network)(images, "gated", masks=through.masks)
    assert torch.equal(again.features, features)
    maps = CompactEncoder(network).maps(images, "gated")[0]
    torch.testing.assert_close(maps, encoder.maps(images, "gated")[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("branch", ["dense", "gated"])
@torch.no_grad()
def test_dense_network_is_the_branch_with_all_heads_and_units(branch: str) -> None:
    encoder = encoder_of(layer_scale=True)
    ones = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
    expected = encoder(pixels(3), branch, masks=ones if branch == "gated" else None).features
    network = dense_network(encoder, branch)  # type: ignore[arg-type]
    torch.testing.assert_close(network(pixels(3)), expected, rtol=0, atol=1e-5)
    assert network.plan.dependent == 0
    assert network.plan.cost().dense == encoder.cost().dense
    assert network.plan.cost(24).dense == encoder.cost(24).dense
    assert CompactEncoder(network)(pixels(3), "dense").masks == ()


@pytest.mark.parametrize("side", [16, 24])
def test_cost_of_a_mask_is_the_encoders_less_the_removed_gates(side: int) -> None:
    encoder = encoder_of()
    usage = usage_of(encoder)
    plan = compact(encoder, usage).plan
    masks = agreeing_masks(usage, 5)
    kept = [mask[:, list(block.kept)] for mask, block in zip(masks, plan.layers, strict=True)]
    expected = encoder.cost(side).masked(masks)
    for block, gate in zip(plan.layers, encoder.gates(), strict=True):
        hidden = gate.squeeze.out_features
        removed = hidden * (block.channels - block.dependent)
        expected -= removed if block.dependent else gate.macs
    assert torch.equal(plan.cost(side).masked(kept), expected)


@torch.no_grad()
def test_a_static_network_meets_its_budget_and_is_the_encoder_under_its_mask() -> None:
    encoder = encoder_of()
    usage = usage_of(encoder)
    counts = [np.arange(len(of)) * 10 // len(of) for of in usage.open_counts]
    usage = replace(usage, open_counts=tuple(counts))
    network, threshold = static_network(encoder, usage, 0.5)
    dense = encoder.cost().dense
    assert network.plan.cost().dense <= 0.5 * dense
    looser = [int((of >= threshold * 10 - 1).sum()) for of in counts]
    assert encoder.cost().at(looser) > 0.5 * dense
    masks = [torch.from_numpy(of >= threshold * 10).float()[None] for of in counts]
    expected = encoder(pixels(3), "gated", masks=masks).features
    torch.testing.assert_close(network(pixels(3)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_the_onnx_graph_computes_what_the_network_does(shape: dict[str, Any], masked: bool) -> None:
    onnx = pytest.importorskip("onnx")
    encoder = encoder_of(**shape)
    network = compact(encoder, usage_of(encoder))
    for side in (16, 24):
        file = compact_onnx(network, side, masks=masked)
        model = onnx.load_from_string(file)
        onnx.checker.check_model(model, full_check=True)
        assert {entry.domain for entry in model.opset_import} == {""}
        for count in (1, 5):
            images = pixels(count, side)
            imposed = (torch.rand(count, network.plan.dependent) < 0.5).float()
            given = (images, imposed) if masked else (images,)
            expected = network(*given)
            for kind in (OnnxRuntimeEngine, OpenVinoEngine):
                try:
                    engine = kind(file, count, 1)
                except EngineUnavailableError as error:
                    pytest.skip(str(error))
                torch.testing.assert_close(engine(*given), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_in_bf16_and_int8_features_are_near() -> None:
    encoder = encoder_of()
    gated, network = compact(encoder, usage_of(encoder)), dense_network(encoder)
    images = pixels(8)
    # Under imposed masks, so that no gate near its threshold decides otherwise.
    masks = gated.decide(images)[1]
    found = TorchEngine(gated, 8, 1, "bf16")(images, masks)
    assert_near(found, gated(images), 0.03)
    assert_near(TorchEngine(network, 8, 1, "bf16")(images), network(images), 0.03)
    if lacking := processor_lacks("int8"):
        pytest.skip(lacking)
    seen = (images * 255).to(torch.uint8).numpy()
    try:
        file = onnx_bytes(network, SIDE, calibration=seen)
        engines = [OnnxRuntimeEngine(file, 8, 1, "int8"), OpenVinoEngine(file, 8, 1, "int8")]
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert len(file) < 0.5 * len(onnx_bytes(network, SIDE))
    for engine in engines:
        assert_near(engine(images), network(images), 0.1)
    imposed = onnx_bytes(gated, SIDE, masks=True, calibration=seen)
    assert_near(OnnxRuntimeEngine(imposed, 8, 1, "int8")(images, masks), gated(images), 0.1)


def assert_near(found: Tensor, expected: Tensor, share: float) -> None:
    """They differ, but by less than a share of what is expected."""
    assert 0 < float(torch.linalg.norm(found - expected)) < share * torch.linalg.norm(expected)


def test_a_race_passes_over_the_kernel() -> None:
    network = dense_network(encoder_of())
    with pytest.raises(EngineUnavailableError, match="the kernel computes residual networks"):
        NativeNetwork(network, SIDE)
    engine, probe = fastest_engine(
        network, 2, SIDE, engines=("native", "eager"), rounds=1, seconds=0.1, threads=1
    )
    assert probe.engine == "eager"
    assert probe.timings[0].reason == "the kernel computes residual networks"
    torch.testing.assert_close(engine(pixels(2)), network(pixels(2)), rtol=0, atol=1e-5)


def test_sizes_that_patches_do_not_fill_are_refused() -> None:
    network = dense_network(encoder_of())
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="image_size = 18: expected a multiple of the patch, 4 px"):
        compact_onnx(network, 18)
    with pytest.raises(InputError, match="18 x 18 px"):
        network(pixels(1, 18))


@pytest.mark.slow
def test_compiled_it_gives_the_same() -> None:
    encoder = encoder_of(depth=1)
    network = compact(encoder, random_usage(encoder))
    try:
        engine = CompiledEngine(network, 2, 1, (pixels(2),))
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    torch.testing.assert_close(engine(pixels(2)), network(pixels(2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_bundles_come_back_and_damaged_ones_are_refused(
    tmp_path: Path, shape: dict[str, Any]
) -> None:
    encoder = encoder_of(**shape)
    network = compact(encoder, usage_of(encoder))
    save_bundle(network, tmp_path / "a")
    again = load_bundle(tmp_path / "a", CompactViT)
    assert again.plan == network.plan
    assert torch.equal(again(pixels(2)), network(pixels(2)))
    config = tmp_path / "a" / "config.json"
    values = json.loads(config.read_text())
    assert values["format"] == "ssl_kedro compact_vit v1"
    for broken in (
        {"pooling": "most"},
        {"image_size": 18},
        {"width": WIDTH // 2},
        {"blocks": values["blocks"][1:]},
        {"blocks": "x"},
        {"width": 10**9},
    ):
        config.write_text(json.dumps(values | broken))
        with pytest.raises(BundleError):
            load_bundle(tmp_path / "a", CompactViT)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_plain_code_computes_a_static_network(tmp_path: Path, shape: dict[str, Any]) -> None:
    encoder = encoder_of(**shape)
    usage = usage_of(encoder)
    static = replace(usage, open_counts=tuple(np.where(c == 4, 10, c) for c in usage.open_counts))
    network = compact(encoder, static)
    assert network.plan.dependent == 0
    seen = np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE), dtype=np.uint8)
    report = export_bundle(network, tmp_path / "static", seen)
    assert report.difference < 1e-5 < report.largest
    source = (tmp_path / "static" / "model.py").read_text()
    assert source == Path(plain_vit.__file__).read_text()
    assert "ssl_kedro" not in source
    images = torch.from_numpy(seen)
    found = plain_vit.load(tmp_path / "static")(images)
    masks = [torch.from_numpy(c > 0).float()[None] for c in static.open_counts]
    expected = encoder(images, "gated", masks=masks).features
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    card = ModelCard("A network", "It is small.", "Noise.", {"epochs": "1"})
    assert write_hub_folder(network, tmp_path / "hub", card, seen).difference < 1e-5
    assert "ResNet" not in (tmp_path / "hub" / "README.md").read_text()


def test_onnx_files_are_compared_and_those_that_differ_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    encoder = encoder_of()
    network = compact(encoder, usage_of(encoder))
    seen = np.random.default_rng(0).integers(0, 256, (20, 3, SIDE, SIDE), dtype=np.uint8)
    report = export_compact_onnx(network, tmp_path / "n.onnx", images=seen[:4])
    assert report.difference < 1e-4 < report.largest
    dense = dense_network(encoder)
    int8 = export_compact_onnx(
        dense, tmp_path / "i.onnx", images=seen[:4], precision="int8", calibration=seen
    )
    # Even grey, which was not among the images of the calibration, is what differs most.
    assert report.difference < int8.difference < 0.5 * int8.largest
    run = export.run_onnx
    monkeypatch.setattr(export, "run_onnx", lambda *given: run(*given) + 1e-3)
    with pytest.raises(ExportError, match="differs from the network"):
        export_compact_onnx(network, tmp_path / "n.onnx", images=seen[:4])
