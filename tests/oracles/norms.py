"""Batch norms as a training leaves them: far from the identity, which would hide mistakes."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def with_used_norms(network: M) -> M:
    """The network, in evaluation mode, its norms drawn from torch's default generator."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.weight.uniform_(0.5, 1.5)
            part.bias.normal_(0, 0.2)
            part.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()
