"""A budget that is met: dual ascent on the weight of the cost constraint.

A squared penalty pushes with 2 lambda (r - t_d), which is nothing at the budget: it settles
where that push equals what accuracy pulls, above the budget (the thesis asks for 10 % and
gets 18 %). A multiplier mu in front of r - t_d can push at the budget itself; it grows while
the cost is too high and falls while it is too low, which is ascent on the dual problem
(Bertsekas, Constrained Optimization and Lagrange Multiplier Methods, 1982, ch. 2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_kedro.core.progress import Progress


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
