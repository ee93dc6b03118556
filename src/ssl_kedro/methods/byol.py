"""BYOL (Grill et al. 2020): plain, gated, and dual (the thesis' third open question)."""

import torch
from torch import Tensor, nn

from ssl_kedro.losses.cosine import normalised_regression
from ssl_kedro.methods.base import Loss, Views, expander
from ssl_kedro.methods.momentum_target import MomentumMethod
from ssl_kedro.methods.simsiam import predictor


class BYOL(MomentumMethod):
    """Both views dense; each predicts what the slow target makes of the other.

    The projector is the expander, of three layers where the paper has two.
    """

    name = "byol"

    def new_projector(self) -> nn.Module:
        """The expander."""
        return expander(self.encoder.feature_dimensions, self.config.expander)

    def add_predictor(self) -> None:
        """Two layers."""
        self.predictor = predictor(self.config.expander, self.config.expander.hidden)

    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """|q(z_1) - t_2|^2 + |q(z_2) - t_1|^2 of normalised vectors."""
        t_1, t_2 = self._targets
        p_1, p_2 = self.predictor(z_1).float(), self.predictor(z_2).float()
        with torch.autocast(views[0].device.type, enabled=False):
            loss = normalised_regression(p_1, t_2) + normalised_regression(p_2, t_1)
        return loss, {"distance": loss.detach()}


class BYOLGating(BYOL):
    """Both views gated, and the target."""

    name = "byol_gating"
    view_branches = ("gated", "gated")


class BYOLDualGating(BYOL):
    """View 1 gated, view 2 dense, the target dense."""

    name = "byol_dual_gating"
    view_branches = ("gated", "dense")
