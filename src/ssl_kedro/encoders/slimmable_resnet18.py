"""ResNet-18 that is trained to be cut to any width: narrow networks are slices of its weights.

Universally slimmable networks (Yu & Huang 2019, "Universally Slimmable Networks and Improved
Training Techniques"; in self-supervised learning US3L, Cao et al. 2023). Width c of the whole width
W keeps the first c channels of the first stage, 2 c of the second and so on, inner channels
included; every layer computes its slice and nothing else. :mod:`ssl_kedro.methods.slim` trains it.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.encoders.cutting import (
    cut_encoder,
    features_by,
    first_channels,
    without_memory,
)
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.cost import NetworkCost


@dataclass(frozen=True)
class SlimmableConfig(EncoderConfig):
    """Shape of the whole network; fields are those of a ResNet-18."""

    architecture: ClassVar[str] = "slimmable_resnet18"

    def plain(self, width: int) -> EncoderConfig:
        """The ResNet-18 that it is at a width.

        Raises:
            ValueError: not a width from 2 to its own.
        """
        if not 2 <= width <= self.width:
            raise ValueError(f"width = {width}: expected channels from 2 to {self.width}")
        return EncoderConfig(**dataclasses.asdict(self.narrowed(width)))


def slimmable(shape: EncoderConfig) -> SlimmableConfig:
    """The shape of a ResNet-18 as one that can be cut to any width."""
    return SlimmableConfig(**dataclasses.asdict(shape))


class SlimmableResNet18(GatedResNet18):
    """A ResNet-18 whose dense branch works at any width from 2 channels to its own.

    At its own width it is a :class:`~ssl_kedro.encoders.gated_resnet.GatedResNet18` in all
    respects, and its batch norms' running statistics are those of that width. Arguments are those
    of :class:`~ssl_kedro.encoders.base.Backbone`.
    """

    config_type = SlimmableConfig
    config: SlimmableConfig

    def narrow_features(self, images: Tensor, width: int) -> Tensor:
        """Features (N, D of the width) in training, with gradients to the slices alone.

        Args:
            images: (N, 3, H, W), uint8 or float in [0, 1].
            width: channels of the first stage.
        """
        return features_by(self, first_channels(self, self.config.plain(width)), images)

    def at_width(
        self,
        width: int,
        images: np.ndarray,
        *,
        batch_size: int = 512,
        device: torch.device | str = "cpu",
    ) -> GatedResNet18:
        """A plain dense encoder: slices of the weights, batch norms re-estimated on images.

        Args:
            width: channels of the first stage.
            images: uint8 (N, 3, H, W), such as 2,000 training images.
            batch_size: as in :func:`~ssl_kedro.encoders.recalibration.recalibrated`.
            device: where to re-estimate.

        Returns:
            The encoder, which shares no memory with this one, on the CPU, in evaluation mode.

        Raises:
            ValueError: not a width from 2 to its own, or no images.
        """
        shape = self.config.plain(width)
        thin, weights = without_memory(shape, self.image_size), first_channels(self, shape)
        return cut_encoder(thin, weights, images, batch_size=batch_size, device=device)

    def cost_at(self, width: int, image_size: int | None = None) -> NetworkCost:
        """Prices at a width for one square image; see :class:`~ssl_kedro.encoders.base.Encoder`."""
        return without_memory(self.config.plain(width), image_size or self.image_size).cost()
