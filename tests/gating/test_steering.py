from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import GateConfig, bound_tightness, gate_objective
from ssl_kedro.gating.diversity import channel_diversity_loss
from ssl_kedro.gating.penalty import BudgetPenalty
from ssl_kedro.gating.steering import DualAscent


def settled_cost(rate: float | None, *, pull: float, budget: float, steps: int = 4000) -> float:
    """Gradient descent on a cost r that accuracy pulls up with constant force ``pull``."""
    ascent = DualAscent(budget, rate or 1.0)
    ratio = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    for step in range(steps):
        loss: Tensor = 5 * (ratio - budget) ** 2 - pull * ratio
        if rate is not None:
            loss = loss + ascent(ratio, ratio.detach(), step / steps, 1.0)
        (gradient,) = torch.autograd.grad(loss, ratio)
        with torch.no_grad():
            ratio -= 0.02 * gradient
    return float(ratio)


@pytest.mark.parametrize("pull", [-0.6, 0.3, 0.8])
def test_fixed_penalty_settles_off_the_budget_and_ascent_on_it(pull: float) -> None:
    # The squared penalty's equilibrium in closed form: 2 lambda (r - t) = pull.
    offset = pull / 10
    assert settled_cost(None, pull=pull, budget=0.1) == pytest.approx(0.1 + offset, abs=1e-6)
    # The multiplier follows mu' = rate (pull - mu) / 2 lambda over the training: what is left
    # of the offset falls by exp(-rate / 2 lambda).
    for rate in (10.0, 30.0, 100.0):
        expected = 0.1 + offset * math.exp(-rate / 10)
        assert settled_cost(rate, pull=pull, budget=0.1) == pytest.approx(expected, abs=1e-3)


def test_multiplier_integrates_the_decided_violation_over_progress() -> None:
    ascent = DualAscent(0.3, rate=10.0)
    decided = [0.5, 0.4, 0.2, 0.35]
    progresses = [0.1, 0.2, 0.4, 0.5]
    expected, before = 0.0, 0.0
    for value, progress in zip(decided, progresses, strict=True):
        term = ascent(torch.tensor(0.9), torch.tensor(value), progress, 0.5)
        # The term uses the multiplier from before this step.
        assert float(term) == pytest.approx(expected * 0.6, abs=1e-6)
        expected += 10.0 * (progress - before) * 0.5 * (value - 0.3)
        before = progress
        assert float(ascent.multiplier) == pytest.approx(expected, abs=1e-6)
    # A second view within the same step does not count twice, and evaluation not at all.
    ascent(torch.tensor(0.9), torch.tensor(0.9), 0.5, 0.5)
    ascent.eval()
    ascent(torch.tensor(0.9), torch.tensor(0.9), 0.9, 0.5)
    assert float(ascent.multiplier) == pytest.approx(expected, abs=1e-6)


def test_steering_state_is_in_the_state_dict() -> None:
    ascent = DualAscent(0.3, rate=10.0)
    ascent(torch.tensor(0.9), torch.tensor(0.9), 0.5, 1.0)
    other = DualAscent(0.3, rate=10.0)
    other.load_state_dict(ascent.state_dict())
    assert float(other.multiplier) == float(ascent.multiplier) == pytest.approx(3.0)
    assert float(other.updated_at) == 0.5


def masks_and_decisions(encoder: GatedResNet18) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    blocks = encoder.cost().blocks
    masks = [(torch.rand(5, b.channels, generator=generator) < 0.4).float() for b in blocks]
    decisions = [torch.rand(5, b.channels, generator=generator) < 0.7 for b in blocks]
    return masks, decisions


def test_penalty_is_the_sum_of_its_switched_parts() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    cost = encoder.cost()
    masks, decisions = masks_and_decisions(encoder)
    plain = GateConfig()
    expected, ratio = gate_objective(masks, cost, 0.3, plain, 0.2)
    loss, scalars = BudgetPenalty(cost, 0.3, plain)(masks, decisions, 0.2)
    assert float(loss) == pytest.approx(float(expected))
    assert scalars.keys() == {"flop_ratio", "gate_loss"}

    steered = GateConfig(diversity=0.5, steering="dual_ascent", steering_rate=20.0)
    penalty = BudgetPenalty(cost, 0.3, steered)
    first, _ = penalty(masks, decisions, 0.2)
    diverse = expected + 0.5 * channel_diversity_loss(masks)
    assert float(first) == pytest.approx(float(diverse))
    decided = float(cost.masked([d.double() for d in decisions]).mean()) / cost.dense
    assert float(cost.ratio([d.double() for d in decisions])) == pytest.approx(decided)
    multiplier = 20.0 * 0.2 * (1 - bound_tightness(10, 0.2)) * (decided - 0.3)
    second, found = penalty(masks, decisions, 0.2)
    assert float(found["multiplier"]) == pytest.approx(multiplier, rel=1e-5)
    assert float(second) == pytest.approx(
        float(diverse) + multiplier * (float(ratio) - 0.3), rel=1e-5
    )


def test_multiplier_learns_at_once_where_no_bounds_hold_the_cost() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    masks, decisions = masks_and_decisions(encoder)
    config = GateConfig(bound=0, bound_decay=0, steering="dual_ascent", steering_rate=20.0)
    penalty = BudgetPenalty(encoder.cost(), 0.3, config)
    _, found = penalty(masks, decisions, 0.1)
    violation = float(encoder.cost().ratio([d.double() for d in decisions])) - 0.3
    assert float(found["multiplier"]) == pytest.approx(20.0 * 0.1 * violation, rel=1e-5)


def test_penalty_refuses_an_unreachable_budget() -> None:
    with pytest.raises(ValueError, match="cannot be met"):
        BudgetPenalty(GatedResNet18(EncoderConfig(width=8)).cost(), 0.01, GateConfig())
