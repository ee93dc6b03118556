"""A compact network where an encoder is expected: for features, accuracy and cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.gating.gate import ChannelGate
from ssl_kedro.inference.network import CompactNetwork


class CompactEncoder(Encoder):
    """Has the one branch "gated" if channels depend on the image, else the one branch "dense".

    Masks and costs are those of the kept channels, in the plan's order.

    Args:
        network: compact, static or dense.
    """

    def __init__(self, network: CompactNetwork) -> None:
        super().__init__()
        self.network = network
        self.branches = ("gated",) if network.plan.dependent else ("dense",)
        self.image_size = network.plan.image_size

    @property
    def feature_dimensions(self) -> int:
        """Length of a feature vector."""
        return self.network.plan.feature_dimensions

    def maps(
        self,
        images: Tensor,
        branch: Branch,
        generator: torch.Generator | None = None,  # noqa: ARG002  there is no training
        masks: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Maps of the last block; forced masks are of the kept channels, (N or 1, kept) a block."""
        self.check_branch(branch)
        blocks = self.network.plan.blocks
        imposed = None
        if masks is not None:
            parts = [m[:, b.always_on :] for m, b in zip(masks, blocks, strict=True)]
            imposed = torch.cat(parts, dim=1)
        x, decided = self.network.maps(images, imposed)
        if branch == "dense":
            return x, (), ()
        parts = list(torch.split(decided, [block.dependent for block in blocks], dim=1))
        applied = tuple(
            torch.nn.functional.pad(part.expand(len(x), -1), (block.always_on, 0), value=1.0)
            for part, block in zip(parts, blocks, strict=True)
        )
        return x, applied, tuple(mask > 0 for mask in applied)

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of stem and blocks for one square image, kept channels only."""
        return self.network.plan.cost(image_size)

    def gates(self) -> list[ChannelGate]:
        """None that could be trained."""
        return []
