"""A backbone that an installed package adds, with no line of the project about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles.norms import with_used_norms
from outside.packages import installed_from_here
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.base import Backbone
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import (
    EncoderSetup,
    backbone,
    cost_at,
    new_backbone,
    setup_from_json,
    shape_values,
)
from ssl_kedro.encoders.maps import load_map_network
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.evaluation.features import extract_features, gate_arrays, gate_record
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.inference.compact import GateUsage, compact, dense_network, static_network
from ssl_kedro.inference.export import export_compact_onnx
from ssl_kedro.inference.network import CompactEncoder

NAME = "three_convolutions"


@pytest.fixture
def shape_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What its package adds: the type of the backbone's shape."""
    installed_from_here(tmp_path, "ssl_kedro.encoders", NAME)
    monkeypatch.syspath_prepend(tmp_path)
    return backbone(NAME).config_type


@pytest.fixture
def encoder(shape_of) -> Backbone:
    """With batch norms that are not the identity."""
    torch.manual_seed(0)
    made = new_backbone(shape_of(channels=6), image_size=16, pixel_mean=(0.4, 0.5, 0.6))
    return with_used_norms(made)


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


def usage_of(encoder: Backbone) -> GateUsage:
    """Of each block a third never open, a third always, a third on some of 10 images."""
    blocks = encoder.cost().blocks
    counts = tuple(np.array([0, 10, 4])[np.arange(b.channels) % 3] for b in blocks)
    return GateUsage("made up", 10, tuple(b.name for b in blocks), counts)


def test_an_unknown_architecture_is_named_with_those_there_are(shape_of) -> None:
    with pytest.raises(
        ConfigError,
        match="expected one of nested_resnet18, resnet18, resnet34, resnet50, slimmable_resnet18, "
        "three_convolutions, vit_small, vit_tiny",
    ):
        backbone("vgg")


def test_costs_are_those_counted_by_hand(shape_of) -> None:
    """4 channels at 16 px: maps of 16x16 twice, then of 8x8 with 8 channels."""
    stem = 3 * 3 * 3 * 4 * 16 * 16
    near = 4 * (9 * 4 + 9 * 4) * 16 * 16
    far = 8 * (9 * 4 + 9 * 8) * 8 * 8 + 4 * 8 * 8 * 8
    last = 8 * (9 * 8 + 9 * 8) * 8 * 8
    gates = (4 * 1 + 1 * 4) + (4 * 1 + 1 * 8) + (8 * 2 + 2 * 8)
    cost = cost_at(shape_of(channels=4), 16, gate_reduction=4)
    assert cost.dense == stem + near + far + last == 232_448
    assert cost.fixed == stem + 4 * 8 * 8 * 8 + gates
    half = [torch.ones(1, b.channels) for b in cost.blocks]
    half[1][0, :4] = 0
    assert float(cost.masked(half)) == cost.dense - 4 * (9 * 4 + 9 * 8) * 8 * 8 + gates


def test_bundles_of_one_and_of_a_pair_survive_the_round_trip(
    encoder: Backbone, shape_of, tmp_path: Path
) -> None:
    setup = EncoderSetup(shape_of(channels=5), 16, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    members = [setup.build((branch,), GateConfig()).eval() for branch in ("dense", "gated")]
    x = torch.from_numpy(images())
    for name, original in (("one", encoder), ("pair", EncoderPair(*members))):
        save_encoder(original, tmp_path / name)
        loaded = load_encoder(tmp_path / name)
        for branch in ("dense", "gated"):
            with torch.no_grad():
                expected = original(x, branch).features
                assert torch.equal(loaded(x, branch).features, expected)
                maps = load_map_network(tmp_path / name, branch)(x)
            torch.testing.assert_close(maps.mean(dim=(2, 3)), expected)
    written = json.loads((tmp_path / "one" / "config.json").read_text())
    assert written["format"] == "ssl_kedro gated_three_convolutions v1"


def test_another_process_builds_the_same_one(shape_of) -> None:
    setup = EncoderSetup(shape_of(channels=5), 16, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert shape_values(setup.config) == {"architecture": NAME, "channels": 5}
    assert setup_from_json(json.loads(json.dumps(setup.as_json())), None) == setup


def test_compact_networks_are_the_encoder_under_forced_masks(encoder: Backbone) -> None:
    usage, x = usage_of(encoder), torch.from_numpy(images())
    network = compact(encoder, usage)
    features, decided = network.decide(x)
    masks = network.plan.encoder_masks(decided)
    expected = encoder(x, "gated", masks=masks).features
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    by_hand = float(encoder.cost().masked([m.double() for m in masks]).mean())
    removed = encoder.cost().fixed - network.plan.cost().fixed  # of gates, whose rows are gone
    compacted = CompactEncoder(network)
    kept = compacted.cost().masked(compacted(x, "gated").masks)
    assert float(kept.mean()) == pytest.approx(by_hand - removed)
    every = dense_network(encoder)
    torch.testing.assert_close(every(x), encoder.dense(x), rtol=1e-4, atol=1e-5)
    assert every.plan.cost().dense == encoder.cost().dense


def test_static_network_meets_its_budget_and_is_the_encoder_with_fixed_masks(
    encoder: Backbone, tmp_path: Path
) -> None:
    usage, x = usage_of(encoder), torch.from_numpy(images())
    network, threshold = static_network(encoder, usage, 0.6)
    assert network.plan.cost().dense <= 0.6 * encoder.cost().dense
    least = threshold * usage.images
    masks = [torch.from_numpy(c >= least).float()[None] for c in usage.open_counts]
    expected = encoder(x, "gated", masks=masks).features
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
    pytest.importorskip("onnxruntime")
    for made in (network, compact(encoder, usage)):
        report = export_compact_onnx(made, tmp_path / "file.onnx", images=images())
        assert report.difference < 1e-4


def test_gate_records_name_its_blocks(encoder: Backbone) -> None:
    found = extract_features(encoder, images(), "gated")
    assert found.gates is not None
    assert found.gates.block_names == ("near", "far", "last")
    again = gate_record(gate_arrays(found.gates, "train"), "train")
    assert again.block_names == found.gates.block_names
    for counts, expected in zip(again.open_counts, found.gates.open_counts, strict=True):
        assert np.array_equal(counts, expected)
