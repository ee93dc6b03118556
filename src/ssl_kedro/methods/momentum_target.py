"""Methods whose target is a slow copy of the network: BYOL, MoCo, DINO."""

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch, Encoder, Noise
from ssl_kedro.gating.budget import opening_at
from ssl_kedro.methods.base import TRAINED_PASS, StepResult, TwoViewMethod, Views

MOMENTUM = Range(at_least=0, below=1)


@dataclass(frozen=True)
class MomentumOptions(Config):
    """Parameters of a method with a slow target.

    Args:
        momentum: of the target network at the start; it rises to 1 on a cosine (0.996; Grill et
            al. 2020, 3.3; DINO the same, Caron et al. 2021, 3.2).
    """

    momentum: Annotated[float, MOMENTUM] = 0.996


class MomentumTarget(nn.Module):
    """Exponential moving average of an encoder and its projector; no gradient.

    Args:
        encoder: copied.
        projector: copied.
    """

    def __init__(self, encoder: Encoder, projector: nn.Module) -> None:
        super().__init__()
        self.encoder: Encoder = copy.deepcopy(encoder)
        self.projector: nn.Module = copy.deepcopy(projector)
        self.requires_grad_(False)

    @property
    def branch(self) -> Branch:
        """Dense, unless nothing dense is trained."""
        return "dense" if "dense" in self.encoder.branches else "gated"

    @torch.no_grad()
    def forward(self, view: Tensor, generator: Noise = None, splits: int = 1) -> Tensor:
        """Projections of a view, (N, 3, H, W) -> (N, D), in float32.

        Args:
            view: of the images.
            generator: source of the gates' noise, where the target is gated.
            splits: parts that pass one after the other, each with statistics of its own; part k
                has rows k, k + splits, ... of the batch.
        """
        parts = [
            self.projector(self.encoder(view[part::splits], self.branch, generator).features)
            for part in range(splits)
        ]
        return torch.stack(parts, dim=1).flatten(0, 1).float()

    @torch.no_grad()
    def follow(self, encoder: Encoder, projector: nn.Module, momentum: float) -> None:
        """Target <- momentum target + (1 - momentum) online, of all weights."""
        online: list[Tensor] = [*encoder.parameters(), *projector.parameters()]
        torch._foreach_lerp_(list(self.parameters()), online, 1 - momentum)


class MomentumMethod(TwoViewMethod):
    """Both views learn from what a slow copy of encoder and projector makes of the images.

    The target is dense wherever a view is: in the dual form the gated branch learns from what it
    is meant to replace. Where both views are gated, so is the target.
    """

    options_type = MomentumOptions
    encoder_passes = 2 * TRAINED_PASS + 2  # two of the target
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")
    splits = 1  # parts of the target's batch
    projector: nn.Module
    _targets: Sequence[Tensor] = ()

    def add_heads(self) -> None:
        """Projector, what stands behind it, and the target network."""
        self.projector = self.new_projector()
        self.add_predictor()
        self.target = MomentumTarget(self.encoder, self.projector)

    @abstractmethod
    def new_projector(self) -> nn.Module:
        """What stands behind the features, and is averaged with the encoder."""

    def add_predictor(self) -> None:
        """Build what stands behind the projector of the online network alone."""

    def embedded(self, features: Tensor) -> Tensor:
        """Features through the projector."""
        embedding: Tensor = self.projector(features)
        return embedding

    def forward(
        self, views: Views, progress: Progress, generator: torch.Generator | None = None
    ) -> StepResult:
        """The objective with the targets of both views at hand; see :class:`Trainable`."""
        self._targets = [self.target(view, generator, self.splits) for view in views]
        return super().forward(views, progress, generator)

    def before_step(self, progress: float, indices: Tensor) -> None:
        """The gates of the target ease from open as the others do."""
        super().before_step(progress, indices)
        for gate in self.target.encoder.gates():
            gate.opening = opening_at(progress, self.config.gates.warmup)

    @torch.no_grad()
    def after_update(self, images: Tensor, progress: float) -> None:
        """Move the target towards the online network."""
        super().after_update(images, progress)
        self.target.follow(self.encoder, self.projector, self.momentum_at(progress))

    def momentum_at(self, progress: float) -> float:
        """Momentum of the target: from the option to 1 on a cosine (Grill et al. 2020, 3.3)."""
        momentum: float = self.options.momentum
        return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2
