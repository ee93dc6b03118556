"""The gate objective L_G: a network-wide sparsity target and per-block bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import NOT_NEGATIVE, POSITIVE, Config, ConfigError, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.gating.cost import NetworkCost


@dataclass(frozen=True)
class GateConfig(Config):
    """Gates and their penalty.

    Args:
        sparsity: lambda, weight of the squared distance to the budget (thesis eq. 6.3: 5).
        bound: gamma, weight of the per-block bounds (authors' code: 1).
        bound_decay: how far the bounds have loosened at the end of training; they follow
            p = exp(-bound_decay * epoch / epochs). The authors' alpha of 0.02 an epoch over
            500 epochs is 10.
        reduction: r of the gate's hidden layer (thesis 6.3: 4).
        temperature: of the relaxed gate in training (authors' code: 2/3).
        steering: "fixed" keeps the penalty's weights (thesis); "dual_ascent" adds a
            multiplier that learns the push which the budget needs.
        steering_rate: how fast the multiplier moves: its change over a whole training for a
            cost that stays one dense network above the budget (not in the thesis).
        diversity: weight of the channel-diversity term (0 = thesis).
        warmup: share of the training over which the gates ease from open to their own
            decisions, for trainings too short to recover from a start with half the channels
            closed (0 = thesis).
    """

    sparsity: Annotated[float, NOT_NEGATIVE] = 5.0
    bound: Annotated[float, NOT_NEGATIVE] = 1.0
    bound_decay: Annotated[float, NOT_NEGATIVE] = 10.0
    reduction: Annotated[int, Range(at_least=1)] = 4
    temperature: Annotated[float, POSITIVE] = 2 / 3
    steering: Literal["fixed", "dual_ascent"] = "fixed"
    steering_rate: Annotated[float, POSITIVE] = 100.0
    diversity: Annotated[float, NOT_NEGATIVE] = 0.0
    warmup: Annotated[float, Range(at_least=0, below=1)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steering == "dual_ascent" and self.bound > 0 and self.bound_decay == 0:
            raise ConfigError(
                "bound_decay",
                0,
                "above 0 with steering = dual_ascent, or bound = 0: the "
                "multiplier learns as the bounds loosen",
            )


# Where the warm-up starts: open with probability 1 - 2e-9.
_OPEN_LOGIT = 20.0


def opening_at(progress: float, warmup: float) -> float:
    """What is added to the logits in training: falls linearly to 0 at the end of the warm-up."""
    return _OPEN_LOGIT * max(0.0, 1 - progress / warmup) if warmup > 0 else 0.0


def gating_progress(progress: Progress, warmup: float) -> Progress:
    """Share done of what comes after the warm-up; 0 until then."""
    gating = (progress - warmup) / (1 - warmup)
    return gating.clamp(min=0) if isinstance(gating, Tensor) else max(0.0, gating)


def sparsity_loss(ratio: Tensor, budget: float) -> Tensor:
    """Squared distance of the realised cost ratio to the budget t_d (thesis eq. 6.3)."""
    return (ratio - budget) ** 2


def bound_loss(densities: Tensor, budget: float, tightness: Progress) -> Tensor:
    """Penalty on blocks whose share of open channels leaves its corridor.

    The corridor [p s, 1 - p + p s] with s = sqrt(t_d) starts as the point s and opens to
    [0, 1] as p falls, so that early training does not close whole blocks (DGNet; authors'
    code of chapters 5 and 6).

    Args:
        densities: mean share of open channels of each block, (L,).
        budget: t_d.
        tightness: p in (0, 1].

    Returns:
        mean relu(p s - den)^2 + mean relu(den - (1 - p + p s))^2, a scalar.
    """
    low = tightness * math.sqrt(budget)
    high = 1 - tightness + low
    return ((low - densities).relu() ** 2).mean() + ((densities - high).relu() ** 2).mean()


def bound_tightness(decay: float, progress: Progress) -> Progress:
    """P = exp(-decay * progress), progress being the share of training done, in [0, 1]."""
    if isinstance(progress, Tensor):
        return torch.exp(-decay * progress)
    return math.exp(-decay * progress)


def gate_objective(
    masks: Sequence[Tensor],
    cost: NetworkCost,
    budget: float,
    config: GateConfig,
    progress: Progress,
    deployed: Tensor | None = None,
    sampled: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """L_G = lambda * sparsity + gamma * bound for one branch (thesis eq. 6.3 and 5.5).

    Args:
        masks: one (N, C_l) tensor a block.
        cost: prices of the blocks at the training image size.
        budget: t_d, the wanted share of the dense cost.
        config: weights.
        progress: share of training done, in [0, 1].
        deployed: cost ratio as deployed, without noise. Given, it is the value that is held
            against the budget, while the gradient stays that of the sampled cost.
        sampled: ``cost.ratio(masks)`` where the caller has it already.

    Returns:
        The objective, and the cost ratio held against the budget; both scalars.
    """
    ratio = cost.ratio(masks) if sampled is None else sampled
    if deployed is not None:
        ratio = deployed.detach() + (ratio - ratio.detach())
    densities = loss_average(torch.stack([mask.mean() for mask in masks]))
    tightness = bound_tightness(config.bound_decay, progress)
    objective = config.sparsity * sparsity_loss(ratio, budget) + config.bound * bound_loss(
        densities, budget, tightness
    )
    return objective, ratio
