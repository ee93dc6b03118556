from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import (
    BudgetPenalty,
    DualAscent,
    GateConfig,
    bound_tightness,
    channel_diversity_loss,
    gate_objective,
)


def settled_cost(rate: float | None, *, pull: float, budget: float, steps: int = 4000) -> float:
    """Gradient descent on a cost r that accuracy pulls up with constant force ``pull``."""
    ascent = DualAscent(budget, rate or 1.0)
    ratio = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    for step in range(steps):
        loss: Tensor = 5 * (ratio - budget) ** 2 - pull * ratio
        if rate is not None:
            loss = loss + ascent(ratio, step / steps, 0.0)
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


def test_multiplier_integrates_the_violation_over_progress() -> None:
    ascent = DualAscent(0.3, rate=10.0)
    ratios = [0.5, 0.4, 0.2, 0.35]
    progresses = [0.1, 0.2, 0.4, 0.5]
    remaining = [0.8, 0.5, 0.1, 0.0]
    expected, before = 0.0, 0.0
    for value, progress, share in zip(ratios, progresses, remaining, strict=True):
        term = ascent(torch.tensor(value), progress, share)
        # The term uses the multiplier from before this step.
        assert float(term) == pytest.approx(expected * (value - 0.3), abs=1e-6)
        target = 0.3 + share * (0.5 - 0.3)
        expected += 10.0 * (progress - before) * (value - target)
        before = progress
        assert float(ascent.multiplier) == pytest.approx(expected, abs=1e-6)
    # A second view within the same step does not count twice, and evaluation not at all.
    ascent(torch.tensor(0.9), 0.5, 0.0)
    ascent.eval()
    ascent(torch.tensor(0.9), 0.9, 0.0)
    assert float(ascent.multiplier) == pytest.approx(expected, abs=1e-6)


def test_steering_state_is_in_the_state_dict() -> None:
    ascent = DualAscent(0.3, rate=10.0)
    ascent(torch.tensor(0.9), 0.5, 0.0)
    other = DualAscent(0.3, rate=10.0)
    other.load_state_dict(ascent.state_dict())
    assert float(other.multiplier) == float(ascent.multiplier) == pytest.approx(3.0)
    assert float(other.updated_at) == 0.5
    assert float(other.first_ratio) == pytest.approx(0.9)


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
    decided = float(cost.masked([d.double() for d in decisions]).mean()) / cost.dense
    assert decided != pytest.approx(float(ratio), abs=0.05)
    # What is held against the budget is the cost of the decisions, not of the samples.
    held = float(expected) + plain.sparsity * ((decided - 0.3) ** 2 - (float(ratio) - 0.3) ** 2)
    diverse = held + 0.5 * float(channel_diversity_loss(masks))
    assert float(first) == pytest.approx(diverse, rel=1e-5)
    multiplier = 20.0 * 0.2 * (1 - bound_tightness(10, 0.2)) * (decided - 0.3)
    second, found = penalty(masks, decisions, 0.2)
    assert float(found["multiplier"]) == pytest.approx(multiplier, rel=1e-5)
    assert float(found["flop_ratio"]) == pytest.approx(float(ratio))
    assert float(second) == pytest.approx(diverse + multiplier * (decided - 0.3), rel=1e-5)


def test_steered_gradient_is_the_samples_scaled_by_the_decided_violation() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    cost = encoder.cost()
    masks, decisions = masks_and_decisions(encoder)
    masks = [mask.requires_grad_() for mask in masks]
    config = GateConfig(bound=0, bound_decay=0, steering="dual_ascent", steering_rate=20.0)
    penalty = BudgetPenalty(cost, 0.3, config)
    penalty(masks, decisions, 0.1)
    mu = float(penalty.ascent.multiplier) if penalty.ascent else 0.0
    decided = float(cost.masked([d.double() for d in decisions]).mean()) / cost.dense
    (found,) = torch.autograd.grad(penalty(masks, decisions, 0.2)[0], masks[0])
    (of_ratio,) = torch.autograd.grad(cost.ratio(masks), masks[0])
    push = 2 * config.sparsity * (decided - 0.3) + mu
    torch.testing.assert_close(found, push * of_ratio, rtol=1e-5, atol=1e-9)


def lowest_cost(moving_target: bool, steps: int = 2000) -> float:
    """The same descent with inertia: gates that answer late, and a target that moves or not."""
    ascent = DualAscent(0.3, 60.0)
    ratio = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    speed, lowest = 0.0, 1.0
    for step in range(steps):
        progress = step / steps
        remaining = bound_tightness(10, progress) if moving_target else 0.0
        loss = 5 * (ratio - 0.3) ** 2 + ascent(ratio, progress, remaining)
        (gradient,) = torch.autograd.grad(loss, ratio)
        speed += 0.05 * (-0.1 * float(gradient) - speed)
        with torch.no_grad():
            ratio += 0.006 * speed
        lowest = min(lowest, ratio.item())
    return lowest


def test_moving_target_keeps_the_multiplier_from_winding_up() -> None:
    wound_up, kept = lowest_cost(moving_target=False), lowest_cost(moving_target=True)
    assert wound_up < 0.22
    assert kept > 0.29


def test_target_moves_also_where_no_bounds_hold_the_cost() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    masks, decisions = masks_and_decisions(encoder)
    config = GateConfig(bound=0, bound_decay=0, steering="dual_ascent", steering_rate=20.0)
    penalty = BudgetPenalty(encoder.cost(), 0.3, config)
    _, found = penalty(masks, decisions, 0.1)
    violation = float(encoder.cost().ratio([d.double() for d in decisions])) - 0.3
    expected = 20.0 * 0.1 * violation * (1 - math.exp(-1))
    assert float(found["multiplier"]) == pytest.approx(expected, rel=1e-5)


def test_penalty_refuses_an_unreachable_budget() -> None:
    with pytest.raises(ValueError, match="cannot be met"):
        BudgetPenalty(GatedResNet18(EncoderConfig(width=8)).cost(), 0.01, GateConfig())


def test_penalty_holds_the_deployed_cost_against_the_budget() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    cost = encoder.cost()
    masks, decisions = masks_and_decisions(encoder)
    penalty = BudgetPenalty(cost, 0.3, GateConfig(steering="dual_ascent"))
    closed = [torch.zeros_like(mask) for mask in masks]
    _, before = penalty(masks, decisions, 0.5)
    for _ in range(60):
        penalty.observe_deployed(closed)
    _, after = penalty(masks, decisions, 0.5)
    assert float(before["deployed_ratio"]) == pytest.approx(
        float(cost.ratio(decisions_as_masks(decisions)))
    )
    assert float(after["deployed_ratio"]) == pytest.approx(float(cost.ratio(closed)), abs=1e-4)


def decisions_as_masks(decisions: list[Tensor]) -> list[Tensor]:
    return [decision.float() for decision in decisions]


def test_deployed_cost_is_measured_a_hundred_times_in_a_long_training() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    masks, decisions = masks_and_decisions(encoder)
    for total, expected in ((50, 50), (950, 100), (1234, 100)):
        penalty = BudgetPenalty(encoder.cost(), 0.3, GateConfig(steering="dual_ascent"))
        measured = 0
        for step in range(total):
            penalty.begin_step(step / total)
            penalty(masks, decisions, step / total)
            measured += penalty.wants_deployed_cost((step + 1) / total)
        assert measured == expected
    fixed = BudgetPenalty(encoder.cost(), 0.3, GateConfig())
    fixed(masks, decisions, 0.0)
    assert not fixed.wants_deployed_cost(1.0)


def test_bounds_and_multiplier_wait_for_the_warmup() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    cost = encoder.cost()
    masks, decisions = masks_and_decisions(encoder)
    late = BudgetPenalty(cost, 0.3, GateConfig(warmup=0.5))(masks, decisions, 0.6)[0]
    expected, _ = gate_objective(masks, cost, 0.3, GateConfig(), 0.2)
    assert float(late) == pytest.approx(float(expected))
    steered = BudgetPenalty(cost, 0.3, GateConfig(warmup=0.5, steering="dual_ascent"))
    for step in range(50):
        _, found = steered(masks, decisions, step / 100)
    assert float(found["multiplier"]) == pytest.approx(0.0, abs=1e-6)
