"""Barlow Twins in the dual setting (thesis Table 6.4)."""

from torch import Tensor

from ssl_kedro.losses.barlow_twins import BarlowTwinsConfig, barlow_twins_loss
from ssl_kedro.methods.base import Loss, SymmetricMethod


class BarlowDualGating(SymmetricMethod):
    """View 1 gated, view 2 dense, as dual gating; Barlow Twins in place of VICReg."""

    name = "barlow_dual_gating"
    options_type = BarlowTwinsConfig
    options: BarlowTwinsConfig
    view_branches = ("gated", "dense")

    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """Barlow Twins loss with the method's own weights."""
        return barlow_twins_loss(z_1, z_2, self.options)
