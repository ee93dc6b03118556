from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.networks import random_encoder
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.inference.compact import BudgetError, GateUsage, static_network


def usage_of(encoder, images: int = 100, least: int = 0) -> GateUsage:
    generator = np.random.default_rng(0)
    blocks = encoder.residual_blocks()
    counts = tuple(generator.integers(least, images + 1, b.conv1.out_channels) for _, b in blocks)
    return GateUsage("made up", images, tuple(name for name, _ in blocks), counts)


@pytest.mark.parametrize("budget", [0.2, 0.5, 0.8, 1.0])
@torch.no_grad()
def test_costs_what_the_sliced_network_counts_and_computes_the_same(budget: float) -> None:
    encoder = random_encoder(width=16)
    usage = usage_of(encoder)
    network, threshold = static_network(encoder, usage, budget)
    image = torch.rand(3, 16, 16)
    masks = [torch.from_numpy(c / 100 >= threshold).float() for c in usage.open_counts]
    expected, macs = sliced_forward(encoder, image, masks, "gated")
    gates = sum(gate.macs for gate in encoder.gates())
    assert macs - gates == network.plan.cost().dense
    assert macs - gates <= budget * encoder.cost().dense
    assert torch.allclose(network(image[None])[0], expected, atol=1e-5)
    assert [len(b.kept) for b in network.plan.layers] == [int(mask.sum()) for mask in masks]
    assert network.plan.dependent == 0


def test_takes_the_lowest_threshold_that_fits() -> None:
    encoder = random_encoder(width=16)
    usage = usage_of(encoder)
    cost = encoder.cost()
    _, threshold = static_network(encoder, usage, 0.5)
    fitting = []
    for percent in range(1, 101):
        macs = cost.stem + sum(block.shortcut for block in cost.blocks)
        for block, counts in zip(cost.blocks, usage.open_counts, strict=True):
            macs += block.macs_per_channel * int((counts >= percent).sum())
        if macs <= 0.5 * cost.dense:
            fitting.append(percent)
    assert threshold == min(fitting) / 100


def test_budgets_that_cannot_be_met_are_refused() -> None:
    encoder = random_encoder()
    with pytest.raises(BudgetError, match=r"always on cost 1\.000"):
        static_network(encoder, usage_of(encoder, least=100), 0.5)
    with pytest.raises(ValueError, match=r"in \(0, 1\]") as error:
        static_network(encoder, usage_of(encoder), 0)
    assert not isinstance(error.value, BudgetError)
