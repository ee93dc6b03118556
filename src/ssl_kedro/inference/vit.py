"""The compact vision transformer as a PyTorch module, without heads and units that are not kept."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.encoders.tokens import EPSILON, HEAD, as_maps, check_sides, placed, pooled
from ssl_kedro.encoders.vit_folding import FoldedViT
from ssl_kedro.inference import plain_vit
from ssl_kedro.inference.plan import LayerPlan
from ssl_kedro.inference.planned import CompactGate, PlannedNetwork, decided, filled
from ssl_kedro.inference.vit_plan import FORMAT, ViTBlockPlan, ViTPlan


class CompactStep(nn.Module, ABC):
    """What a block adds to its tokens, and the tokens: attention or the MLP of a block.

    Kept heads or hidden units are ordered [always on, dependent]. The dependent ones are computed
    and multiplied by the mask, which saves no time. A step that keeps none adds a constant.

    Args:
        plan: of its heads or hidden units.
        width: channels of a token.
        parts: rows of the first layer for each column of the last: 3 of attention, 1 of an MLP.
        size: columns of the last layer for each head or hidden unit.
    """

    first: nn.Linear | None
    last: nn.Linear | None
    constant: nn.Parameter | None
    gate: CompactGate | None

    def __init__(self, plan: LayerPlan, width: int, parts: int, size: int) -> None:
        super().__init__()
        self.plan, kept = plan, size * len(plan.kept)
        self.first = nn.Linear(width, parts * kept) if kept else None
        self.last = nn.Linear(kept, width) if kept else None
        self.constant = None if kept else nn.Parameter(torch.zeros(width))
        hidden = plan.hidden
        self.gate = CompactGate(width, hidden, plan.dependent) if plan.dependent else None

    def forward(self, x: Tensor, imposed: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens (N, T, width) and the mask (N, dependent) that was applied.

        Args:
            x: tokens (N, T, width), in float32.
            imposed: mask (N or 1, dependent); None leaves it to the gate.
        """
        if self.first is None or self.last is None:
            return x + torch.as_tensor(self.constant), None
        mask = whole = None
        if self.gate is not None:
            mask = decided(self.gate, x.transpose(1, 2)[..., None], imposed)
            whole = functional.pad(mask, (self.plan.always_on, 0), value=1.0)
        # Tokens and norms stay in float32 where linear layers are in bfloat16.
        normed = functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
        inner = self.inner(self.first(normed.to(self.first.weight.dtype)), whole)
        return x + self.last(inner), mask

    @abstractmethod
    def inner(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What the last layer reads, of what the first gives, under a mask (N or 1, kept)."""


class CompactAttention(CompactStep):
    """Attention with the kept heads: rows of the first layer are queries, keys and values."""

    def __init__(self, plan: LayerPlan, width: int) -> None:
        super().__init__(plan, width, 3, HEAD)

    def inner(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See :class:`CompactStep`."""
        split = x.view(*x.shape[:2], 3, -1, HEAD)
        found = functional.scaled_dot_product_attention(*split.permute(2, 0, 3, 1, 4))
        if mask is not None:
            found = found * mask.to(found.dtype)[:, :, None, None]
        return found.transpose(1, 2).flatten(2)


class CompactMlp(CompactStep):
    """MLP with the kept hidden units, and an exact GELU."""

    def __init__(self, plan: LayerPlan, width: int) -> None:
        super().__init__(plan, width, 1, 1)

    def inner(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See :class:`CompactStep`."""
        found = functional.gelu(x)
        return found if mask is None else found * mask.to(found.dtype)[:, None]


class CompactViT(PlannedNetwork):
    """Vision transformer with the heads and hidden units of a plan.

    Norms' factors are folded into what reads them, all but those of the last norm. Images of
    another size than the plan's get interpolated positions.

    Args:
        plan: the shape; weights are to be loaded or filled in afterwards.
    """

    bundle_format = FORMAT
    plan_type = ViTPlan
    plain: ClassVar[Any] = plain_vit
    plan: ViTPlan

    def __init__(self, plan: ViTPlan) -> None:
        super().__init__(plan)
        width = plan.width
        self.patch_embed = nn.Conv2d(3, width, plan.patch, plan.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        tokens = (plan.image_size // plan.patch) ** 2 + 1
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {"attn": CompactAttention(block.attn, width), "mlp": CompactMlp(block.mlp, width)}
            )
            for block in plan.blocks
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.requires_grad_(False)
        self.eval()

    def maps(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens of the patches after the last norm (N, D, h, w); see :class:`PlannedNetwork`.

        Raises:
            InputError: sides that are no multiples of the patch.
        """
        tokens, applied = self._tokens(images, masks)
        rows, columns = (side // self.plan.patch for side in images.shape[2:])
        return as_maps(tokens, rows, columns), applied

    def decide(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features as the plan pools them, (N, D); see :class:`PlannedNetwork`."""
        tokens, applied = self._tokens(images, masks)
        return pooled(tokens, self.plan.pooling), applied

    def _tokens(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """All tokens after the last norm (N, 1 + h w, D), and the masks (N, dependent)."""
        pixels = self.normalised(images)
        check_sides(pixels, self.plan.patch)
        patches = self.patch_embed(pixels.to(self.patch_embed.weight.dtype))
        x = placed(patches.to(self.pos_embed.dtype), self.cls_token, self.pos_embed)
        imposed: Sequence[Tensor | None] = [None] * len(self.plan.layers)
        if masks is not None:
            imposed = torch.split(masks, [layer.dependent for layer in self.plan.layers], dim=1)
        applied = []
        for step, mask in zip(self.steps(), imposed, strict=True):
            x, found = step(x, mask)
            if found is not None:
                applied.append(found)
        none = x.new_zeros(len(x), 0)
        return self.norm(x), torch.cat(applied, dim=1) if applied else none

    def steps(self) -> list[CompactStep]:
        """Attention and MLP of each block in turn."""
        blocks = cast("list[nn.ModuleDict]", list(self.blocks))
        return [cast(CompactStep, step) for block in blocks for step in block.values()]


@torch.no_grad()
def vit_network(source: FoldedViT, kept: list[tuple[list[int], int]]) -> CompactViT:
    """A compact transformer from a branch and, for each mask, what is kept and how much is on."""
    width = source.class_token.shape[-1]
    tensors = {
        "pixel_mean": source.pixel_mean,
        "pixel_std": source.pixel_std,
        "cls_token": source.class_token,
        "pos_embed": source.positions,
    }
    layers = {"patch_embed": source.patches, "norm": source.norm}
    plans = []
    for unit, (left, always_on) in zip(source.units, kept, strict=True):
        dependent = unit.gate is not None and len(left) > always_on
        hidden = len(unit.gate.squeeze.bias) if unit.gate is not None and dependent else 0
        plans.append(LayerPlan(unit.name, unit.channels[0], tuple(left), always_on, hidden))
        if not left:
            tensors[f"{unit.name}.constant"] = unit.last.bias
            continue
        layers[f"{unit.name}.first"], layers[f"{unit.name}.last"] = unit.only(left)
        if unit.gate is not None and dependent:
            layers[f"{unit.name}.gate.squeeze"] = unit.gate.squeeze
            tensors[f"{unit.name}.gate.expand.weight"] = unit.gate.expand[left[always_on:]]
    blocks = tuple(map(ViTBlockPlan, plans[::2], plans[1::2]))
    patch = source.patches.weight.shape[-1]
    plan = ViTPlan(width, patch, source.pooling, source.image_size, blocks)
    with torch.device("meta"):
        network = CompactViT(plan)
    return filled(network, layers, tensors)
