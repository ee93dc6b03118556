"""VICReg (Bardes et al. 2022): the dense baseline of chapter 6 (Baseline-1)."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from ssl_kedro.core.config import Config
from ssl_kedro.encoders.base import Branch
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.methods.base import Loss, SymmetricMethod


@dataclass(frozen=True)
class VICRegOptions(Config):
    """Parameters of VICReg.

    Args:
        vicreg: weights of the loss.
    """

    vicreg: VICRegConfig = field(default_factory=VICRegConfig)


class VICReg(SymmetricMethod):
    """Both views through the dense branch; no gates exist."""

    name = "vicreg"
    options_type = VICRegOptions
    options: VICRegOptions
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")

    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """VICReg loss (thesis eq. 6.1)."""
        return vicreg_loss(z_1, z_2, self.options.vicreg)
