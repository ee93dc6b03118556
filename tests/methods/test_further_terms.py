"""RotNet beside dual gating, and gates that should decide alike."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from processes import in_processes
from ssl_kedro.core.collectives import own_rows
from ssl_kedro.core.config import Config
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig
from ssl_kedro.methods.consistent_gates import (
    ConsistentSimSiamOptions,
    ConsistentVICRegOptions,
    gate_inconsistency,
)
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.methods.rotnet import RotNetOptions, rotated

SETUP = EncoderSetup(EncoderConfig(width=8), 16, (0.5,) * 3, (0.25,) * 3)
CONFIG = MethodConfig(expander=ExpanderConfig(32, 16), gates=GateConfig())


def views() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 6, 3, 16, 16, generator=generator).unbind()


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def built(name: str, options: Config | None = None) -> Method:
    config = dataclasses.replace(CONFIG, options=options)
    return MethodPlan(name, SETUP, config, 0.3, seed=1).build()


def test_rotations_are_quarters_counter_clockwise_pixel_by_pixel() -> None:
    images = torch.arange(40 * 2 * 9).reshape(40, 2, 3, 3).float()
    turned, turns = rotated(images, noise())
    assert set(turns.tolist()) == {0, 1, 2, 3}
    for image, found, quarters in zip(images, turned, turns.tolist(), strict=True):
        expected = image
        for _ in range(quarters):
            # A quarter counter-clockwise: what stood at the right now stands at the top.
            once = torch.empty_like(expected)
            for row in range(3):
                for column in range(3):
                    once[:, row, column] = expected[:, column, 2 - row]
            expected = once
        assert torch.equal(found, expected)


def test_rotations_are_the_same_for_any_number_of_processes() -> None:
    images = torch.rand(6, 3, 4, 4)
    whole, turns = rotated(images, noise())
    found = in_processes(2, lambda rank: rotated(own_rows(images), noise()))
    assert torch.equal(torch.cat([part for part, _ in found]), whole)
    assert torch.equal(torch.cat([part for _, part in found]), turns)


def test_rotnet_is_dual_gating_plus_the_weighted_cross_entropy_of_the_dense_branch() -> None:
    method = built("rotnet_dual_gating", RotNetOptions(rotation=0.7))
    source = noise()
    loss, scalars = method(views(), 0.2, source)
    twin, plain, again = built("rotnet_dual_gating"), built("dual_gating"), noise()
    plain.load_state_dict({k: v for k, v in twin.state_dict().items() if "rotation_head" not in k})
    expected, _ = plain(views(), 0.2, again)
    turned, turns = rotated(views()[1], again)
    logits = twin.rotation_head(twin.encoder(turned, "dense").features)  # type: ignore[operator]
    rotation = -torch.log_softmax(logits, 1)[torch.arange(6), turns].mean()
    assert float(loss.detach()) == pytest.approx(
        float((expected + 0.7 * rotation).detach()), rel=1e-5
    )
    assert float(scalars["rotation_loss"]) == pytest.approx(float(rotation.detach()), rel=1e-5)
    right = sum(int(row.argmax()) == turn for row, turn in zip(logits, turns.tolist(), strict=True))
    assert float(scalars["rotation_accuracy"]) == pytest.approx(right / 6)


def test_rotations_train_the_dense_branch_and_no_gate() -> None:
    method = built("rotnet_dual_gating")
    turned, turns = rotated(views()[1], noise())
    logits = method.rotation_head(method.encoder(turned, "dense").features)  # type: ignore[operator]
    nn.functional.cross_entropy(logits, turns).backward()
    names = {n for n, p in method.encoder.named_parameters() if p.grad is not None}
    assert any(".dense." in name for name in names)
    assert not any(".gated." in name or "gate" in name for name in names)


@pytest.mark.parametrize(
    ("name", "plain", "options"),
    [
        (
            "simsiam_gating_consistent",
            "simsiam_gating",
            ConsistentSimSiamOptions(consistency=3.0),
        ),
        ("vicreg_gating_consistent", "vicreg_gating", ConsistentVICRegOptions(consistency=3.0)),
    ],
)
def test_the_constraint_is_the_difference_of_open_probabilities(
    name: str, plain: str, options: Config
) -> None:
    method = built(name, options)
    loss, scalars = method(views(), 0.2, noise())
    expected, of_free = built(plain)(views(), 0.2, noise())
    # Logits by what the gates see of each view, in a pass of its own with the same noise.
    twin, source = built(plain), noise()
    seen: list[list[Tensor]] = [[], []]
    decided = []
    for index in (0, 1):
        for gate in twin.encoder.gates():
            gate.expand.register_forward_hook(  # type: ignore[union-attr, operator]
                lambda *args, into=seen[index]: into.append(args[2].detach())
            )
        decided.append(twin.encoder(views()[index], "gated", source).decisions)
        for gate in twin.encoder.gates():
            gate.expand._forward_hooks.clear()  # type: ignore[union-attr]
    terms = [
        sum(
            float((1 / (1 + torch.exp(-a)) - 1 / (1 + torch.exp(-b))) ** 2)
            for a, b in zip(one.flatten(), other.flatten(), strict=True)
        )
        / one.numel()
        for one, other in zip(*seen, strict=True)
    ]
    term = sum(terms) / len(terms)
    assert term > 0
    assert float(scalars["gate_inconsistency"]) == pytest.approx(term, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()) + 3 * term, rel=1e-5)
    alike = [float((a == b).float().mean()) for a, b in zip(*decided, strict=True)]
    # Without the constraint it is measured as well.
    for found in (scalars, of_free):
        assert float(found["gate_agreement"]) == pytest.approx(sum(alike) / len(alike), rel=1e-5)
    assert all(gate.seen is None for gate in method.encoder.gates())


def test_the_constraint_reaches_the_gates_and_vanishes_for_equal_logits() -> None:
    logits = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    gate_inconsistency([list(logits)]).backward()
    first, second = (found.grad for found in logits)
    assert first is not None
    assert second is not None
    assert bool(first.any())
    assert bool(second.any())
    assert float(gate_inconsistency([[logits[0], logits[0].clone()]])) == 0
