"""Gates that see no image: in training, on disk, and as the plain network they become."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.networks import gate_usage, random_encoder
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import EncoderSetup, cost_at
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import GateConfig, gate_objective
from ssl_kedro.gating.gate import ChannelGate, StaticGate, straight_through_sample
from ssl_kedro.inference.compact import compact, static_network
from ssl_kedro.inference.export import export_compact_onnx
from ssl_kedro.inference.forcing import forcing_report
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan


def static_encoder() -> GatedResNet18:
    """Random norms, and logits of which a third or so are negative."""
    encoder = random_encoder(gate_input_dependent=False)
    for gate in encoder.gates():
        assert isinstance(gate, StaticGate)
        torch.nn.init.normal_(gate.logit, 0.5)
    return encoder


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


def test_a_channel_is_open_with_probability_sigmoid_of_its_logit_whatever_the_image() -> None:
    gate = StaticGate(4)
    logits = torch.tensor([-2.0, -0.3, 0.0, 1.5])
    gate.logit.data.copy_(logits)
    draws = 20_000
    x = torch.randn(draws, 8, 1, 1) * 100
    masks = gate(x, torch.Generator().manual_seed(0))
    expected = 1 / (1 + torch.exp(-logits))
    error = (masks.mean(dim=0) - expected).abs()
    assert (error < 5 * (expected * (1 - expected) / draws).sqrt()).all()
    # The very draws and gradients that input-dependent gates make of the same logits.
    other = logits.clone().requires_grad_()
    again = straight_through_sample(
        other.expand(draws, -1), 2 / 3, torch.Generator().manual_seed(0)
    )
    assert torch.equal(again, masks)
    for mask in (masks, again):
        (mask * torch.arange(4)).sum().backward()
    assert gate.logit.grad is not None
    assert other.grad is not None
    assert torch.equal(gate.logit.grad, other.grad)


def test_evaluation_decides_by_the_sign_and_charges_nothing() -> None:
    encoder = static_encoder()
    shown = torch.from_numpy(images())
    with torch.no_grad():
        features, masks, decisions = encoder(shown, "gated")
    for gate, mask, decision in zip(encoder.gates(), masks, decisions, strict=True):
        assert torch.equal(mask, (gate.logit >= 0).float().expand(6, -1))
        assert torch.equal(mask > 0, decision)
    with torch.no_grad():
        kept = [mask[0] for mask in masks]
        expected, counted = sliced_forward(encoder, shown[0] / 255, kept, "gated")
    assert torch.allclose(features[0], expected, atol=1e-4)
    assert float(encoder.cost().masked(masks)[0]) == counted
    assert sum(block.gate for block in encoder.cost().blocks) == 0
    assert cost_at(encoder.config, 16, 4, gate_input_dependent=False) == encoder.cost()


def test_dual_gating_pays_the_same_penalty_for_such_gates() -> None:
    setup = EncoderSetup(EncoderConfig(width=8), 16)
    gates = GateConfig(input_dependent=False, warmup=0.1)
    config = MethodConfig(ExpanderConfig(32, 16), gates=gates)
    method, twin = (MethodPlan("dual_gating", setup, config, 0.3, 1).build() for _ in range(2))
    pair = torch.rand(2, 6, 3, 16, 16)
    method.before_step(0.2, torch.arange(6))
    loss, _ = method((pair[0], pair[1]), 0.2, torch.Generator().manual_seed(9))
    noise = torch.Generator().manual_seed(9)
    masks = [
        straight_through_sample(torch.zeros(6, block.channels), 2 / 3, noise)
        for block in twin.encoder.cost().blocks
    ]
    gated = twin.encoder(pair[0], "gated", masks=masks).features
    dense = twin.encoder(pair[1], "dense").features
    vicreg, _ = vicreg_loss(twin.expander(gated), twin.expander(dense), VICRegConfig())
    penalty, _ = gate_objective(masks, twin.encoder.cost(), 0.3, gates, (0.2 - 0.1) / 0.9)
    assert float(loss.detach()) == pytest.approx(float(vicreg.detach() + penalty), rel=1e-5)
    loss.backward()
    assert len(method.gate_parameters()) == 8
    assert all(p.grad is not None and p.grad.any() for p in method.gate_parameters())
    for gate in method.encoder.gates():
        gate.opening = 20.0
        assert bool((gate(torch.zeros(50, 1, 1, 1)) == 1).all())


def test_bundles_keep_what_kind_of_gate_they_have(tmp_path: Path) -> None:
    encoder = static_encoder()
    save_encoder(encoder, tmp_path / "static")
    loaded = load_encoder(tmp_path / "static")
    shown = torch.from_numpy(images())
    with torch.no_grad():
        assert torch.equal(loaded.gated(shown), encoder.gated(shown))
    assert all(isinstance(gate, StaticGate) for gate in loaded.gates())
    # A bundle from before there was a choice.
    save_encoder(random_encoder(), tmp_path / "before")
    config = tmp_path / "before" / "config.json"
    described = json.loads(config.read_text())
    del described["gate_input_dependent"]
    config.write_text(json.dumps(described))
    assert all(isinstance(gate, ChannelGate) for gate in load_encoder(tmp_path / "before").gates())


def test_compaction_leaves_a_plain_network_that_forcing_never_changes(tmp_path: Path) -> None:
    encoder = static_encoder()
    usage = gate_usage(encoder, images(), "seen")
    network = compact(encoder, usage)
    assert network.plan.dependent == 0
    shown = torch.from_numpy(images(9))
    with torch.no_grad():
        expected = encoder(shown, "gated").features
        assert torch.allclose(network(shown), expected, atol=1e-5)
    opened = [int((gate.logit >= 0).sum()) for gate in encoder.gates()]
    assert [len(layer.kept) for layer in network.plan.layers] == opened
    masks = [torch.ones(1, n) for n in opened]
    own = [(gate.logit.detach()[None] >= 0).float() for gate in encoder.gates()]
    cost = network.plan.cost()
    assert cost.dense == float(cost.masked(masks)) == float(encoder.cost().masked(own))
    report = forcing_report(encoder, network, images(9))
    assert (report.changed_images, report.followed_gates) == (0, 0)
    assert report.largest_change < 1e-5
    # As many channels as the gates open, by any budget that pays for them.
    budget = cost.dense / encoder.cost().dense
    static, threshold = static_network(encoder, usage, math.nextafter(budget, 1))
    assert static.plan == network.plan
    assert threshold == 1
    pytest.importorskip("onnxruntime")
    assert export_compact_onnx(network, tmp_path / "n.onnx", images=images()).images > 0


def test_the_kernel_runs_what_they_become() -> None:
    kernel = pytest.importorskip("ssl_kedro.inference.native.kernel")
    base = pytest.importorskip("ssl_kedro.inference.engines.base")
    encoder = static_encoder()
    network = compact(encoder, gate_usage(encoder, images(), "seen"))
    try:
        native = kernel.NativeNetwork(network, 16)
    except base.EngineUnavailableError as unavailable:
        pytest.skip(str(unavailable))
    shown = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        expected = encoder(shown, "gated").features
        assert torch.allclose(native(shown), expected, atol=1e-5)
