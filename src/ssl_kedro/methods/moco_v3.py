"""MoCo v3 (Chen, Xie & He 2021): plain, gated and dual."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import TEMPERATURE
from ssl_kedro.losses.info_nce import in_batch_nce
from ssl_kedro.methods.base import Loss, Views, expander
from ssl_kedro.methods.momentum_target import MOMENTUM, MomentumMethod, MomentumOptions
from ssl_kedro.methods.simsiam import predictor


@dataclass(frozen=True)
class MoCoV3Options(MomentumOptions):
    """Parameters of MoCo v3.

    Args:
        momentum: of the target at the start; it rises to 1 on a cosine (0.99; paper, 4).
        temperature: tau (0.2; paper, 4. Its code takes 1 for ResNet-50).
    """

    momentum: Annotated[float, MOMENTUM] = 0.99
    temperature: Annotated[float, TEMPERATURE] = 0.2


class MoCoV3(MomentumMethod):
    """Both views dense; each prediction picks the target of its other view in the batch.

    The projector is the expander with a batch norm behind it (no affine part), of three layers
    as the paper's for transformers, the predictor two layers.
    """

    name = "moco_v3"
    options_type = MoCoV3Options
    options: MoCoV3Options

    def new_projector(self) -> nn.Module:
        """The expander and a norm."""
        shape = self.config.expander
        return nn.Sequential(
            expander(self.encoder.feature_dimensions, shape),
            nn.BatchNorm1d(shape.output, affine=False),
        )

    def add_predictor(self) -> None:
        """Two layers."""
        self.predictor = predictor(self.config.expander, self.config.expander.hidden)

    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """ctr(q_1, k_2) + ctr(q_2, k_1) of algorithm 1."""
        k_1, k_2 = self._targets
        q_1, q_2 = self.predictor(z_1).float(), self.predictor(z_2).float()
        tau = self.options.temperature
        with torch.autocast(views[0].device.type, enabled=False):
            loss = in_batch_nce(q_1, k_2, tau) + in_batch_nce(q_2, k_1, tau)
        return loss, {"contrast": loss.detach()}


class MoCoV3Gating(MoCoV3):
    """Both views gated, and the target."""

    name = "moco_v3_gating"
    view_branches = ("gated", "gated")


class MoCoV3DualGating(MoCoV3):
    """View 1 gated, view 2 dense, the target dense."""

    name = "moco_v3_dual_gating"
    view_branches = ("gated", "dense")
