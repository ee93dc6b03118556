"""What the rest of the project knows of an encoder: branches, features, masks and cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.gating.gate import ChannelGate

Branch = Literal["dense", "gated"]


class Encoding(NamedTuple):
    """What a batch of images becomes.

    Args:
        features: (N, D).
        masks: for the gated branch, one (N, C_l) mask a block, with its gradient.
        decisions: for the gated branch, one boolean (N, C_l) a block: the same gates without
            training noise, which is what evaluation will use. Equal to the masks outside
            training.
    """

    features: Tensor
    masks: tuple[Tensor, ...]
    decisions: tuple[Tensor, ...]


class Encoder(nn.Module, ABC):
    """Images in, feature vectors out, through a dense branch, a gated branch, or both."""

    branches: tuple[Branch, ...]
    image_size: int

    @property
    @abstractmethod
    def feature_dimensions(self) -> int:
        """Length of a feature vector."""

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        branch: Branch,
        generator: torch.Generator | None = None,
        masks: Sequence[Tensor] | None = None,
    ) -> Encoding:
        """Encode images through one branch.

        Args:
            images: (N, 3, H, W), uint8 or float in [0, 1].
            branch: "dense" or "gated".
            generator: source of the gates' training noise.
            masks: forced masks instead of the gates' own, one (N or 1, C_l) a block.

        Raises:
            ValueError: the encoder has no such branch, or images have the wrong shape.
        """

    @abstractmethod
    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of stem and blocks for one square image.

        Args:
            image_size: side in px; None = the size it was trained on.
        """

    @abstractmethod
    def gates(self) -> list[ChannelGate]:
        """The gates in the order of the blocks; empty without a gated branch."""

    def dense(self, images: Tensor) -> Tensor:
        """Features (N, D) with every channel computed."""
        return self(images, "dense").features  # type: ignore[no-any-return]

    def gated(self, images: Tensor) -> Tensor:
        """Features (N, D) with the channels that the gates open."""
        return self(images, "gated").features  # type: ignore[no-any-return]
