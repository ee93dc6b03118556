"""L_G as a part of a method: fixed penalty, bounds, steering and diversity together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_kedro.core.progress import Progress
from ssl_kedro.gating.budget import (
    GateConfig,
    bound_tightness,
    gate_objective,
    gating_progress,
)
from ssl_kedro.gating.cost import NetworkCost, check_budget
from ssl_kedro.gating.diversity import channel_diversity_loss
from ssl_kedro.gating.steering import DualAscent

# Times in a training that the deployed cost is measured, and how much the last one counts.
_MEASUREMENTS = 100
_MEASUREMENT_WEIGHT = 0.2
# Without bounds the target of the multiplier moves as it does with the authors' bounds.
_TARGET_DECAY = 10.0


class BudgetPenalty(nn.Module):
    """What a gated view pays for its cost.

    Args:
        cost: prices of the network at the training image size.
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
        deployed = None
        if self.ascent is not None:
            # What must meet the budget is what is deployed: decisions without noise in any
            # block, on images that are not augmented. Measuring that takes a pass of its own,
            # so it is done now and then, and the gap to this step's decisions remembered.
            self._decided = self.cost.ratio([d.to(masks[0].dtype) for d in decisions]).detach()
            deployed = self._decided + self.deployed_gap
        # While the warm-up holds the gates open, neither bounds nor multiplier have a say.
        gating = gating_progress(progress, self.config.warmup)
        sampled = self.cost.ratio(masks)
        loss, ratio = gate_objective(
            masks, self.cost, self.budget, self.config, gating, deployed, sampled
        )
        scalars = {"flop_ratio": sampled.detach()}
        if self.config.diversity > 0:
            diversity = channel_diversity_loss(masks)
            loss = loss + self.config.diversity * diversity
            scalars["channel_diversity"] = diversity.detach()
        if self.ascent is not None and deployed is not None:
            # The bounds open on the same schedule: until then they fix the cost themselves.
            decay = self.config.bound_decay if self.config.bound > 0 else _TARGET_DECAY
            remaining = bound_tightness(decay, gating)
            loss = loss + self.ascent(ratio, progress, remaining)
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
