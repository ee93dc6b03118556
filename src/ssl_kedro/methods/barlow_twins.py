"""Barlow Twins (Zbontar et al. 2021): plain, gated, and in the dual setting (thesis Table 6.4)."""

from typing import ClassVar

from torch import Tensor

from ssl_kedro.encoders.base import Branch
from ssl_kedro.losses.barlow_twins import BarlowTwinsConfig, barlow_twins_loss
from ssl_kedro.methods.base import Loss, SymmetricMethod


class BarlowTwins(SymmetricMethod):
    """Both views dense; VICReg's expander, which is Barlow Twins' projector, and its loss."""

    name = "barlow"
    options_type = BarlowTwinsConfig
    options: BarlowTwinsConfig
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")

    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """Barlow Twins loss with the method's own weights."""
        return barlow_twins_loss(z_1, z_2, self.options)


class BarlowGating(BarlowTwins):
    """Both views gated."""

    name = "barlow_gating"
    view_branches = ("gated", "gated")


class BarlowDualGating(BarlowTwins):
    """View 1 gated, view 2 dense, as dual gating; Barlow Twins in place of VICReg."""

    name = "barlow_dual_gating"
    view_branches = ("gated", "dense")
