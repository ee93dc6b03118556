"""The gate objective L_G: a network-wide sparsity target, per-block bounds, and what helps them.

Not in the thesis: channel diversity and steering. Diversity is what it names as open (6.6): nothing
in its objective spreads the use over channels, so that a block may meet the budget with a few
channels that are always on and many that are dead. Borrowed from the load balancing of mixtures of
experts (Shazeer et al. 2017, eq. 4).

Steering meets the budget. A squared penalty pushes with 2 lambda (r - t_d), which is nothing at the
budget: it settles where that push equals what accuracy pulls, above the budget (the thesis asks for
10 % and gets 18 %). A multiplier mu in front of r - t_d can push at the budget itself; it grows
while the cost is too high and falls while it is too low, which is ascent on the dual problem
(Bertsekas, Constrained Optimization and Lagrange Multiplier Methods, 1982, ch. 2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import TEMPERATURE, WEIGHT, Config, ConfigError, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.gating.cost import NetworkCost, check_budget


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
        input_dependent: whether a gate looks at the image (thesis); else it is one learnt logit a
            channel, and the trained network is static.
    """

    sparsity: Annotated[float, WEIGHT] = 5.0
    bound: Annotated[float, WEIGHT] = 1.0
    bound_decay: Annotated[float, WEIGHT] = 10.0
    reduction: Annotated[int, Range(at_least=1)] = 4
    temperature: Annotated[float, TEMPERATURE] = 2 / 3
    steering: Literal["fixed", "dual_ascent"] = "fixed"
    steering_rate: Annotated[float, Range(above=0, at_most=1e6)] = 100.0
    diversity: Annotated[float, WEIGHT] = 0.0
    warmup: Annotated[float, Range(at_least=0, below=1)] = 0.0
    input_dependent: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steering == "dual_ascent" and self.bound > 0 and self.bound_decay == 0:
            expected = "above 0 with steering = dual_ascent, or bound = 0: the multiplier learns as"
            raise ConfigError("bound_decay", 0, f"{expected} the bounds loosen")


# Where the warm-up starts: open with probability 1 - 2e-9.
_OPEN_LOGIT = 20.0
# Times in a training that the deployed cost is measured, and how much the last one counts.
_MEASUREMENTS = 100
_MEASUREMENT_WEIGHT = 0.2
# Without bounds the target of the multiplier moves as it does with the authors' bounds.
_TARGET_DECAY = 10.0


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
    ratio: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """L_G = lambda * sparsity + gamma * bound for one branch (thesis eq. 6.3 and 5.5).

    Args:
        masks: one (N, C_l) tensor a block.
        cost: prices of the blocks at the training image size.
        budget: t_d, the wanted share of the dense cost.
        config: weights.
        progress: share of training done, in [0, 1].
        ratio: cost ratio that is held against the budget; None = ``cost.ratio(masks)``.

    Returns:
        The objective, and the cost ratio held against the budget; both scalars.
    """
    ratio = cost.ratio(masks) if ratio is None else ratio
    densities = loss_average(torch.stack([mask.mean() for mask in masks]))
    tightness = bound_tightness(config.bound_decay, progress)
    objective = config.sparsity * sparsity_loss(ratio, budget) + config.bound * bound_loss(
        densities, budget, tightness
    )
    return objective, ratio


def channel_diversity_loss(masks: Sequence[Tensor]) -> Tensor:
    """Squared coefficient of variation of the channels' use, averaged over blocks.

    With u_c the share of the batch that opens channel c of a block, the block's term is
    var_c(u) / (mean_c(u)^2 + 1e-4): 0 where every channel is open equally often, and
    unchanged when all shares scale alike, so that it does not pull at the budget.

    Args:
        masks: one (N, C_l) tensor a block; gradients pass through.

    Returns:
        A scalar >= 0.
    """
    terms = []
    for mask in masks:
        use = loss_average(mask.mean(dim=0))
        terms.append(use.var(unbiased=False) / (use.mean() ** 2 + 1e-4))
    return torch.stack(terms).mean()


class DualAscent(nn.Module):
    """Term mu (r - t_d) with a multiplier that follows the violation.

    The cost starts far from the budget and takes time to get there. A multiplier that adds
    up that way as violation overshoots and has to unlearn it (integrator windup, Astrom &
    Hagglund, PID Controllers, 1995), so the violation is the distance to a target that
    itself moves from the first cost to the budget.

    Args:
        budget: t_d.
        rate: change of mu over a whole training at a constant violation of 1.
    """

    multiplier: Tensor
    updated_at: Tensor
    first_ratio: Tensor

    def __init__(self, budget: float, rate: float) -> None:
        super().__init__()
        self.budget = budget
        self.rate = rate
        self.register_buffer("multiplier", torch.zeros(()))
        # Progress at the last update: steps and repeated calls within one are told apart by it.
        self.register_buffer("updated_at", torch.zeros((), dtype=torch.float64))
        self.register_buffer("first_ratio", torch.full((), torch.nan))

    def forward(self, ratio: Tensor, progress: Progress, remaining: Progress) -> Tensor:
        """The term; in training the multiplier moves afterwards.

        Args:
            ratio: cost ratio of the batch, a scalar with gradient.
            progress: share of training done, in [0, 1].
            remaining: share of the way from the first cost to the budget that the target
                still has to go, in [0, 1].
        """
        term = self.multiplier.clone() * (ratio - self.budget)
        if self.training:
            held = ratio.detach()
            self.first_ratio.copy_(torch.where(self.first_ratio.isnan(), held, self.first_ratio))
            if isinstance(remaining, Tensor):
                remaining = remaining.to(ratio.dtype)
            target = self.budget + remaining * (self.first_ratio - self.budget)
            elapsed = progress - self.updated_at
            self.multiplier += self.rate * elapsed.to(ratio.dtype) * (held - target)
            self.updated_at.fill_(progress)
        return term


class BudgetPenalty(nn.Module):
    """What a gated view pays for its cost.

    Args:
        cost: prices of the network at the size of images that it is made for.
        budget: t_d, the wanted share of the dense cost.
        config: weights and switches.

    Raises:
        ValueError: the budget is out of reach.
    """

    deployed_gap: Tensor

    def __init__(self, cost: NetworkCost, budget: float, config: GateConfig) -> None:
        super().__init__()
        check_budget(budget, cost)
        self.cost = cost
        self.budget = budget
        self.config = config
        self.ascent: DualAscent | None = None
        if config.steering == "dual_ascent":
            self.ascent = DualAscent(budget, config.steering_rate)
            self.register_buffer("deployed_gap", torch.zeros(()))
        self._decided = torch.zeros(())
        self._began_at = 0.0

    def forward(
        self, masks: Sequence[Tensor], decisions: Sequence[Tensor], progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Penalty of one gated view and what there is to log.

        Args:
            masks: one (N, C_l) tensor a block, with gradient.
            decisions: the same gates without noise, boolean.
            progress: share of training done, in [0, 1].
        """
        held = sampled = self.cost.ratio(masks)
        if self.ascent is not None:
            # What must meet the budget is what is deployed: decisions without noise in any
            # block, on images that are not augmented. Measuring that takes a pass of its own,
            # so it is done now and then, and the gap to this step's decisions remembered. The
            # gradient stays that of the sampled cost.
            self._decided = self.cost.ratio([d.to(masks[0].dtype) for d in decisions]).detach()
            deployed = self._decided + self.deployed_gap
            held = deployed + (sampled - sampled.detach())
        # While the warm-up holds the gates open, neither bounds nor multiplier have a say.
        gating = gating_progress(progress, self.config.warmup)
        loss, _ = gate_objective(masks, self.cost, self.budget, self.config, gating, held)
        scalars = {"flop_ratio": sampled.detach()}
        if self.config.diversity > 0:
            diversity = channel_diversity_loss(masks)
            loss = loss + self.config.diversity * diversity
            scalars["channel_diversity"] = diversity.detach()
        if self.ascent is not None:
            # The bounds open on the same schedule: until then they fix the cost themselves.
            decay = self.config.bound_decay if self.config.bound > 0 else _TARGET_DECAY
            remaining = bound_tightness(decay, gating)
            loss = loss + self.ascent(held, progress, remaining)
            scalars["deployed_ratio"] = deployed
            scalars["multiplier"] = self.ascent.multiplier.clone()
        return loss, scalars | {"gate_loss": loss.detach()}

    def begin_step(self, progress: float) -> None:
        """Take the share of training done before the next step, in [0, 1)."""
        self._began_at = progress

    def wants_deployed_cost(self, progress: float) -> bool:
        """Whether the cost as deployed should be measured after the step that was begun.

        Args:
            progress: share of training done with that step, in (0, 1].

        Depends on nothing but the step, so that a resumed training measures at the same ones.
        """
        if self.ascent is None:
            return False
        return int(progress * _MEASUREMENTS) > int(self._began_at * _MEASUREMENTS)

    def observe_deployed(self, masks: Sequence[Tensor]) -> None:
        """Learn the gap between the cost as deployed and that of the last step's decisions.

        Args:
            masks: one (N, C_l) tensor a block, of the encoder in evaluation mode.
        """
        gap = self.cost.ratio(masks) - self._decided.to(masks[0].device)
        self.deployed_gap.lerp_(gap.to(self.deployed_gap.dtype), _MEASUREMENT_WEIGHT)
