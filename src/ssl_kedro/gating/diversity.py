"""Channel diversity: a term against channels that no image ever opens.

The thesis names it as open (6.6): nothing in its objective spreads the use over channels, so
that a block may meet the budget with a few channels that are always on and many that are
dead. Borrowed from the load balancing of mixtures of experts (Shazeer et al. 2017, eq. 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_kedro.core.collectives import loss_average


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
