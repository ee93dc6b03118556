"""Two encoders behind one entrance: one dense, one gated, no weight in common."""

from collections.abc import Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor

from ssl_kedro.encoders.base import Backbone, Branch, Encoder, Encoding, Forced, Masked, Noise
from ssl_kedro.encoders.bundled import kinds_of
from ssl_kedro.encoders.folding import FoldedEncoder
from ssl_kedro.encoders.vit_folding import FoldedViT
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.gating.gate import Gate


class EncoderPair(Encoder):
    """A dense and a gated encoder side by side (thesis Table 6.5, "2 x ResNet-18").

    Args:
        dense: serves the dense branch.
        gated: serves the gated branch.

    Raises:
        ValueError: an encoder lacks its branch, or the two do not match in shape.
    """

    bundle_format = "ssl_kedro encoder_pair v1"
    branches: tuple[Branch, ...] = ("dense", "gated")

    def __init__(self, dense: Backbone, gated: Backbone) -> None:
        super().__init__()
        if "dense" not in dense.branches or "gated" not in gated.branches:
            found = f"{dense.branches} and {gated.branches}"
            raise ValueError(f"expected encoders with a dense and a gated branch, found {found}")
        if dense.config != gated.config or dense.image_size != gated.image_size:
            raise ValueError("the encoders of a pair must have one shape and one image size")
        self.of_branch = torch.nn.ModuleDict({"dense": dense, "gated": gated})
        self.image_size = dense.image_size
        self.feature_dimensions = dense.feature_dimensions

    def member(self, branch: Branch) -> Backbone:
        """The encoder behind a branch."""
        self.check_branch(branch)
        return cast(Backbone, self.of_branch[branch])

    def maps(
        self, images: Tensor, branch: Branch, generator: Noise = None, masks: Forced = None
    ) -> Masked:
        """Maps of the branch's encoder; see :class:`Encoder`."""
        return self.member(branch).maps(images, branch, generator, masks)

    def forward(
        self, images: Tensor, branch: Branch, generator: Noise = None, masks: Forced = None
    ) -> Encoding:
        """Features of the branch's encoder; see :class:`Encoder`."""
        found: Encoding = self.member(branch)(images, branch, generator, masks)
        return found

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of the gated encoder; its dense total is the dense encoder's too."""
        return self.member("gated").cost(image_size)

    def gates(self) -> list[Gate]:
        """The gated encoder's gates."""
        return self.member("gated").gates()

    def folded(self, branch: Branch) -> FoldedEncoder | FoldedViT:
        """A branch of the branch's encoder as plain weights."""
        return self.member(branch).folded(branch)

    def description(self) -> dict[str, Any]:
        """Those of its members, by branch."""
        members = {}
        for branch in self.branches:
            member = self.member(branch)
            members[branch] = {"format": member.bundle_format} | member.description()
        return {"members": members} | self.readme()

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        members = {}
        for branch, described in values["members"].items():
            found = described["format"]
            kinds = kinds_of(Backbone, found=found)  # type: ignore[type-abstract]
            members[branch] = kinds[found].from_description(described)
        return cls(**members)
