"""SimCLR (Chen et al. 2020): plain, gated and dual."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from ssl_kedro.core.config import TEMPERATURE, Config
from ssl_kedro.encoders.base import Branch
from ssl_kedro.losses.info_nce import nt_xent
from ssl_kedro.methods.base import Loss, SymmetricMethod
from ssl_kedro.methods.heads import two_layers


@dataclass(frozen=True)
class SimCLROptions(Config):
    """Parameters of SimCLR.

    Args:
        temperature: tau (0.5, the paper's best on CIFAR-10, B.9; 0.1 on ImageNet).
    """

    temperature: Annotated[float, TEMPERATURE] = 0.5


class SimCLR(SymmetricMethod):
    """Both views dense; each view picks its partner among all views of the batch.

    The projection head has two layers with a batch norm between them, as wide as the expander's;
    the paper's are 2048 and 128.
    """

    name = "simclr"
    options_type = SimCLROptions
    options: SimCLROptions
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")

    def add_heads(self) -> None:
        """The projection head."""
        shape = self.config.expander
        self.expander = two_layers(self.encoder.feature_dimensions, shape.hidden, shape.output)

    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """NT-Xent."""
        loss = nt_xent(z_1, z_2, self.options.temperature)
        return loss, {"contrast": loss.detach()}


class SimCLRGating(SimCLR):
    """Both views gated."""

    name = "simclr_gating"
    view_branches = ("gated", "gated")


class SimCLRDualGating(SimCLR):
    """View 1 gated, view 2 dense: negatives of a gated view are gated and dense ones."""

    name = "simclr_dual_gating"
    view_branches = ("gated", "dense")
