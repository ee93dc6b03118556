from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import (
    GateConfig,
    bound_loss,
    bound_tightness,
    gate_objective,
    gating_progress,
    opening_at,
    sparsity_loss,
)
from ssl_kedro.gating.cost import BlockCost, NetworkCost, check_budget


def slow_bound(densities: list[float], budget: float, p: float) -> float:
    low, high = p * math.sqrt(budget), 1 - p + p * math.sqrt(budget)
    below = [max(0.0, low - d) ** 2 for d in densities]
    above = [max(0.0, d - high) ** 2 for d in densities]
    return sum(below) / len(below) + sum(above) / len(above)


@pytest.mark.parametrize("budget", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("p", [1.0, 0.5, 1e-4])
def test_bound_loss_equals_the_loop(budget: float, p: float) -> None:
    densities = torch.tensor([0.0, 0.2, 0.4, 0.55, 0.8, 1.0], dtype=torch.float64)
    expected = slow_bound(densities.tolist(), budget, p)
    assert float(bound_loss(densities, budget, p)) == pytest.approx(expected, abs=1e-12)


def test_bound_is_tight_at_the_start_and_gone_at_the_end() -> None:
    assert bound_tightness(10, 0) == 1
    # alpha 0.02 an epoch over 500 epochs
    assert bound_tightness(10, 137 / 500) == pytest.approx(math.exp(-0.02 * 137))
    densities = torch.tensor([0.0, 1.0])
    assert float(bound_loss(densities, 0.3, bound_tightness(10, 1.0))) < 1e-8


def test_objective_equals_a_float64_loop_over_samples_and_blocks() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    cost = encoder.cost()
    generator = torch.Generator().manual_seed(0)
    masks = [
        (torch.rand(6, block.channels, generator=generator) < 0.4).double() for block in cost.blocks
    ]
    config = GateConfig(sparsity=5, bound=1, bound_decay=10)
    found, ratio = gate_objective(masks, cost, 0.3, config, progress=0.1)
    totals = []
    for sample in range(6):
        total = cost.stem
        for mask, block in zip(masks, cost.blocks, strict=True):
            total += block.macs_per_channel * int(mask[sample].sum()) + block.shortcut + block.gate
        totals.append(total)
    expected_ratio = sum(totals) / 6 / cost.dense
    densities = [float(mask.mean()) for mask in masks]
    expected = 5 * (expected_ratio - 0.3) ** 2 + slow_bound(densities, 0.3, math.exp(-1))
    assert float(ratio) == pytest.approx(expected_ratio, rel=1e-12)
    assert float(found) == pytest.approx(expected, rel=1e-10)


def test_sparsity_pulls_masks_towards_the_budget() -> None:
    ratio = torch.tensor([0.2, 0.4], requires_grad=True)
    sparsity_loss(ratio, 0.3).sum().backward()
    assert ratio.grad[0] < 0 < ratio.grad[1]


def test_unreachable_budget_names_the_reachable_minimum() -> None:
    cost = GatedResNet18(EncoderConfig(width=64)).cost()
    check_budget(0.1, cost)
    for budget in (0.0, 0.01, 1.0, 1.2):
        with pytest.raises(ValueError, match=r"above 0\.015 and below 1"):
            check_budget(budget, cost)


def test_warmup_opens_the_gates_and_then_leaves_the_schedule_to_the_rest() -> None:
    assert opening_at(0.0, 0.0) == 0.0
    assert [opening_at(p, 0.5) for p in (0.0, 0.25, 0.5, 0.9)] == [20.0, 10.0, 0.0, 0.0]
    assert [gating_progress(p, 0.5) for p in (0.0, 0.5, 0.75, 1.0)] == [0.0, 0.0, 0.5, 1.0]
    assert gating_progress(0.3, 0.0) == 0.3
    with pytest.raises(ConfigError, match="warmup = 1"):
        GateConfig(warmup=1.0)


def test_compiled_steps_take_prices_as_constants() -> None:
    """Made anew in each step they would have to be copied to the device each time."""
    cost = NetworkCost(10, (BlockCost("a", 4, 3, 0, 1), BlockCost("b", 2, 5, 2, 1)))
    masks = [torch.tensor([[1.0, 0, 0, 1], [1, 1, 1, 1]]), torch.tensor([[1.0, 0], [0, 0]])]
    calls: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        calls.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(cost.ratio, backend=backend, fullgraph=True)
    assert torch.equal(compiled(masks), cost.ratio(masks))
    assert any("matmul" in call for call in calls)
    assert not any("tensor" in call for call in calls), calls
