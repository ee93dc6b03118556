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


class DualAscent(nn.Module):
    """Term mu (r - t_d) with a multiplier that follows the violation.

    The gradient goes through the sampled cost r; the multiplier follows the cost of the
    gates' noise-free decisions, because those are what is deployed.

    Args:
        budget: t_d.
        rate: change of mu over a whole training at a constant violation of 1.
    """

    multiplier: Tensor
    updated_at: Tensor

    def __init__(self, budget: float, rate: float) -> None:
        super().__init__()
        self.budget = budget
        self.rate = rate
        self.register_buffer("multiplier", torch.zeros(()))
        # Progress at the last update: steps and repeated calls within one are told apart by it.
        self.register_buffer("updated_at", torch.zeros((), dtype=torch.float64))

    def forward(self, ratio: Tensor, decided: Tensor, progress: float, loosened: float) -> Tensor:
        """The term; in training the multiplier moves afterwards.

        Args:
            ratio: sampled cost ratio of the batch, a scalar with gradient.
            decided: cost ratio of the noise-free decisions, a scalar.
            progress: share of training done, in [0, 1].
            loosened: how far the per-block bounds have opened, in [0, 1]. While they are
                tight they fix the cost themselves, and learning from it would overshoot.
        """
        term = self.multiplier.clone() * (ratio - self.budget)
        if self.training:
            elapsed = progress - self.updated_at
            step = self.rate * elapsed.to(ratio.dtype) * loosened
            self.multiplier += step * (decided.detach() - self.budget)
            self.updated_at.fill_(progress)
        return term
