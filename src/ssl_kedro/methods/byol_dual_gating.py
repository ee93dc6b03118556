"""BYOL in the dual setting (the thesis' third open question; Grill et al. 2020)."""

import copy
import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.losses.cosine import normalised_regression
from ssl_kedro.methods.base import TRAINED_PASS, Loss, TwoViewMethod, Views, expander
from ssl_kedro.methods.simsiam import predictor


@dataclass(frozen=True)
class BYOLOptions(Config):
    """Parameters of BYOL.

    Args:
        momentum: of the target network at the start; it rises to 1 on a cosine (0.996).
    """

    momentum: Annotated[float, Range(at_least=0, below=1)] = 0.996


class BYOLDualGating(TwoViewMethod):
    """View 1 gated, view 2 dense; each predicts what a slow dense copy makes of the other.

    The target network is the exponential moving average of encoder and projector, always
    dense: the gated branch learns from what it is meant to replace.
    """

    name = "byol_dual_gating"
    options_type = BYOLOptions
    options: BYOLOptions
    encoder_passes = 2 * TRAINED_PASS + 2  # two of the target
    view_branches = ("gated", "dense")

    def add_heads(self) -> None:
        """Projector, predictor and the target network."""
        config = self.config
        self.projector = expander(self.encoder.feature_dimensions, config.expander)
        self.predictor = predictor(config.expander, config.expander.hidden)
        self.target = nn.ModuleDict(
            {"encoder": copy.deepcopy(self.encoder), "projector": copy.deepcopy(self.projector)}
        ).requires_grad_(False)

    def embedded(self, features: Tensor) -> Tensor:
        """Features through the projector."""
        embedding: Tensor = self.projector(features)
        return embedding

    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """|q(z_1) - t_2|^2 + |q(z_2) - t_1|^2 of normalised vectors."""
        with torch.no_grad():
            t_1, t_2 = (
                self.target["projector"](self.target["encoder"](view, "dense").features).float()
                for view in views
            )
        p_1, p_2 = self.predictor(z_1).float(), self.predictor(z_2).float()
        with torch.autocast(views[0].device.type, enabled=False):
            loss = normalised_regression(p_1, t_2) + normalised_regression(p_2, t_1)
        return loss, {"distance": loss.detach()}

    @torch.no_grad()
    def after_update(self, images: Tensor, progress: float) -> None:
        """Move the target towards the online network (Grill et al. 2020, eq. 1 and 3.3)."""
        super().after_update(images, progress)
        momentum = 1 - (1 - self.options.momentum) * (math.cos(math.pi * progress) + 1) / 2
        online: list[Tensor] = [*self.encoder.parameters(), *self.projector.parameters()]
        torch._foreach_lerp_(list(self.target.parameters()), online, 1 - momentum)
