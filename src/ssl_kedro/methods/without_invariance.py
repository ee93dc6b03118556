"""Dual gating without the invariance term (thesis Table 6.6): collapses, and shows why."""

from dataclasses import replace

from torch import Tensor

from ssl_kedro.losses.vicreg import vicreg_loss
from ssl_kedro.methods.base import Loss
from ssl_kedro.methods.dual_gating import DualGating


class WithoutInvariance(DualGating):
    """Dual gating whose views are regularised but never compared."""

    name = "without_invariance"

    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """VICReg loss (thesis eq. 6.1) whose invariance weighs nothing."""
        return vicreg_loss(z_1, z_2, replace(self.options.vicreg, invariance=0.0))
