"""Dual gating whose dense branch trains as if it were alone (the thesis' first open question).

In dual gating the dense branch only ever sees gated partners, and ends below a dense encoder
trained on its own. Here two dense views are compared with each other, as in the dense
baseline, and the gated view regresses onto the dense embedding of the other view, which is a
constant to it (the "in-place distillation" of slimmable networks, Yu & Huang 2019). The
price is a third pass through the encoder. What is left between the two: the batch norms of
the downsample path, whose running statistics both branches feed.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import WEIGHT, Config
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Encoding
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.methods.base import (
    TRAINED_PASS,
    Loss,
    StepResult,
    SymmetricMethod,
    Views,
    normalised_deviation,
)


@dataclass(frozen=True)
class AnchorOptions(Config):
    """Parameters of the anchored method.

    Args:
        following: weight of the gated view's squared distance to the dense embedding,
            relative to VICReg's invariance weight.
        shared: whether the gated view trains the weights that both branches share. False
            leaves them to the dense views alone: the dense branch then takes the steps of
            the dense baseline, and the gated view trains its gates and its batch norms.
        vicreg: weights of the dense views' loss.
    """

    following: Annotated[float, WEIGHT] = 1.0
    shared: bool = False
    vicreg: VICRegConfig = field(default_factory=VICRegConfig)


class DenseAnchored(SymmetricMethod):
    """VICReg of two dense views; the gated branch follows the dense one."""

    name = "dense_anchored"
    options_type = AnchorOptions
    options: AnchorOptions
    encoder_passes = 3 * TRAINED_PASS
    view_branches = ("gated", "dense")

    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """VICReg of the two dense views (thesis eq. 6.1)."""
        return vicreg_loss(z_1, z_2, self.options.vicreg)

    def forward(
        self, views: Views, progress: Progress, generator: torch.Generator | None = None
    ) -> StepResult:
        """VICReg(dense 1, dense 2) + weight * mean (gated 1 - dense 2)^2 + L_G."""
        dense = [self.embedded(self.encoder(view, "dense").features) for view in views]
        gated = self._gated(views[0], generator)
        z_gated = self._constant_expander(gated.features)
        loss, scalars = self.objective(views, *dense)
        with torch.autocast(views[0].device.type, enabled=False):
            distances = (z_gated.float() - dense[1].detach().float()).square()
            following = loss_average(distances.mean())
            scalars["following"] = following.detach()
            loss = loss + self.options.following * self.options.vicreg.invariance * following
            result = self.with_penalty(loss, scalars, [gated], progress)
        result.scalars["embedding_std"] = normalised_deviation(z_gated, dense[1])
        return result

    def _gated(self, view: Tensor, generator: torch.Generator | None) -> Encoding:
        """The gated pass, with the shared weights as constants unless they are to learn."""
        own = {id(p) for p in self.gate_parameters()}
        constants = {
            name: p.detach()
            for name, p in self.encoder.named_parameters()
            if not (self.options.shared or id(p) in own or ".gated." in name)
        }
        found: Encoding = torch.func.functional_call(
            self.encoder, constants, (view, "gated", generator)
        )
        return found

    def _constant_expander(self, features: Tensor) -> Tensor:
        """The expander with its weights as constants: the gated view trains the encoder only.

        If it could also move the expander, that would move the target as well, which is a
        constant to the loss: the distance would stay and the embeddings drift without end.
        """
        weights = {name: p.detach() for name, p in self.expander.named_parameters()}
        embeddings: Tensor = torch.func.functional_call(self.expander, weights, (features,))
        return embeddings
