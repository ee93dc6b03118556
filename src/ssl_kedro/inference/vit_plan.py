"""The shape of a compact vision transformer: which heads and hidden units are kept, who decides."""

from dataclasses import dataclass
from typing import get_args

from ssl_kedro.encoders.base import SIDE
from ssl_kedro.encoders.tokens import Pooling, head_macs, unit_macs
from ssl_kedro.gating.cost import BlockCost, NetworkCost
from ssl_kedro.inference.plan import LayerPlan, NetworkPlan, PlanError

FORMAT = "ssl_kedro compact_vit v1"


@dataclass(frozen=True)
class ViTBlockPlan:
    """One block after compaction.

    Args:
        attn: its heads.
        mlp: hidden units of its MLP.
    """

    attn: LayerPlan
    mlp: LayerPlan


@dataclass(frozen=True)
class ViTPlan(NetworkPlan):
    """A whole compact vision transformer.

    Args:
        width: channels of a token.
        patch: side in px.
        pooling: what features are, "class" or "mean".
        image_size: side in px of the images it is made for, a multiple of the patch.
        blocks: in order.
    """

    width: int
    patch: int
    pooling: Pooling
    image_size: int
    blocks: tuple[ViTBlockPlan, ...]

    def __post_init__(self) -> None:
        sizes = self.width >= 1 and self.patch >= 1 and SIDE.contains(self.image_size)
        known = self.pooling in get_args(Pooling) and bool(self.blocks)
        if not (sizes and known) or self.image_size % self.patch:
            raise PlanError(
                f"width = {self.width}, patch = {self.patch}, pooling = {self.pooling!r}, "
                f"image_size = {self.image_size}, {len(self.blocks)} blocks: expected a width and "
                f"a patch of at least 1, class or mean, an image size that is {SIDE} and a "
                "multiple of the patch, and a block"
            )

    @property
    def feature_dimensions(self) -> int:
        """See :class:`NetworkPlan`."""
        return self.width

    @property
    def layers(self) -> tuple[LayerPlan, ...]:
        """Heads and hidden units of each block in turn; see :class:`NetworkPlan`."""
        return tuple(layer for block in self.blocks for layer in (block.attn, block.mlp))

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """See :class:`NetworkPlan`."""
        patches = ((image_size or self.image_size) // self.patch) ** 2
        tokens = patches + 1
        prices = head_macs(self.width, tokens), unit_macs(self.width, tokens)
        costs = [
            BlockCost(
                layer.name,
                len(layer.kept),
                prices[index % 2],
                0,
                layer.hidden * (self.width + layer.dependent),
            )
            for index, layer in enumerate(self.layers)
        ]
        return NetworkCost(patches * 3 * self.patch**2 * self.width, tuple(costs))
