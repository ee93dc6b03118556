"""Networks none of whose values is 0 or 1, which would hide mistakes."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from oracles.norms import with_used_norms

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def with_drawn_values(network: M, seed: int = 0) -> M:
    """A transformer, in evaluation mode, with norms near 1, factors of layers from 0.5 to 1.5."""
    torch.manual_seed(seed)
    for name, value in network.named_parameters():
        value.normal_(0, 0.05)
        if "norm" in name and name.endswith("weight"):
            value.add_(1)
        if "gamma" in name:
            value.uniform_(0.5, 1.5)
    return with_used_norms(network)
