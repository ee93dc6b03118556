"""W-MSE (Ermolov et al. 2021): plain, gated and dual."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.encoders.base import Branch
from ssl_kedro.losses.wmse import wmse_loss
from ssl_kedro.methods.base import Loss, MethodConfig, SymmetricMethod
from ssl_kedro.methods.heads import two_layers


@dataclass(frozen=True)
class WMSEOptions(Config):
    """Parameters of W-MSE.

    Args:
        embedding: dimensions of the embedding (64; paper, 4.1).
        sub_batch: rows that are whitened together (128; paper, 4.1: twice the embedding). Divides
            the batch. With few more rows than dimensions whitening makes noise of any embedding.
    """

    embedding: Annotated[int, Range(at_least=2, at_most=4096)] = 64
    sub_batch: Annotated[int, Range(at_least=4, at_most=8192)] = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.embedding > self.sub_batch:
            expected = f"at most half of sub_batch = {self.sub_batch}, whose rows are whitened"
            raise ConfigError("embedding", self.embedding, f"{expected}; lower it or raise that")


class WMSE(SymmetricMethod):
    """Both views dense; each is whitened, which keeps it from collapsing, and pulled to the other.

    The head has two layers with a batch norm between them (paper, 4.1), the hidden one as wide as
    the expander's; its output is the option ``embedding``, since an expander's would be too wide.
    """

    name = "wmse"
    options_type = WMSEOptions
    options: WMSEOptions
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")

    def add_heads(self) -> None:
        """The head."""
        hidden = self.config.expander.hidden
        self.expander = two_layers(self.encoder.feature_dimensions, hidden, self.options.embedding)

    @classmethod
    def check_batch(cls, config: MethodConfig, rows: int, processes: int) -> None:  # noqa: ARG003
        """Refuse batches that are not whole parts, and a head too narrow to be whitened behind."""
        options: Any = config.options
        if options.embedding > config.expander.hidden:
            expected = f"at most expander.hidden = {config.expander.hidden}, which feeds it"
            raise ConfigError("embedding", options.embedding, f"{expected}; lower it or raise that")
        if rows % options.sub_batch:
            raise ConfigError("sub_batch", options.sub_batch, f"a divisor of the batch of {rows}")

    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """W-MSE."""
        loss = wmse_loss(z_1, z_2, self.options.sub_batch)
        return loss, {"distance": loss.detach()}


class WMSEGating(WMSE):
    """Both views gated."""

    name = "wmse_gating"
    view_branches = ("gated", "gated")


class WMSEDualGating(WMSE):
    """View 1 gated, view 2 dense; each is whitened by its own statistics."""

    name = "wmse_dual_gating"
    view_branches = ("gated", "dense")
