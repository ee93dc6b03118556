"""L_G as a part of a method: fixed penalty, bounds, steering and diversity together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ssl_kedro.gating.budget import GateConfig, bound_tightness, gate_objective
from ssl_kedro.gating.cost import NetworkCost, check_budget
from ssl_kedro.gating.diversity import channel_diversity_loss
from ssl_kedro.gating.steering import DualAscent


class BudgetPenalty(nn.Module):
    """What a gated view pays for its cost.

    Args:
        cost: prices of the network at the training image size.
        budget: t_d, the wanted share of the dense cost.
        config: weights and switches.

    Raises:
        ValueError: the budget is out of reach.
    """

    def __init__(self, cost: NetworkCost, budget: float, config: GateConfig) -> None:
        super().__init__()
        check_budget(budget, cost)
        self.cost = cost
        self.budget = budget
        self.config = config
        self.ascent: DualAscent | None = None
        if config.steering == "dual_ascent":
            self.ascent = DualAscent(budget, config.steering_rate)

    def forward(
        self, masks: Sequence[Tensor], decisions: Sequence[Tensor], progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Penalty of one gated view and what there is to log.

        Args:
            masks: one (N, C_l) tensor a block, with gradient.
            decisions: the same gates without noise, boolean.
            progress: share of training done, in [0, 1].
        """
        loss, ratio = gate_objective(masks, self.cost, self.budget, self.config, progress)
        scalars = {"flop_ratio": ratio.detach()}
        if self.config.diversity > 0:
            diversity = channel_diversity_loss(masks)
            loss = loss + self.config.diversity * diversity
            scalars["channel_diversity"] = diversity.detach()
        if self.ascent is not None:
            decided = self.cost.ratio([decision.to(masks[0].dtype) for decision in decisions])
            tight = bound_tightness(self.config.bound_decay, progress)
            loosened = 1 - tight if self.config.bound > 0 else 1.0
            loss = loss + self.ascent(ratio, decided, progress, loosened)
            scalars["decided_ratio"] = decided
            scalars["multiplier"] = self.ascent.multiplier.clone()
        return loss, scalars | {"gate_loss": loss.detach()}
