"""Vision transformers whose heads and hidden units gates can switch off, dense and gated."""

import dataclasses
import itertools
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.core.config import ConfigError, Range
from ssl_kedro.encoders.base import (
    Backbone,
    BackboneOptions,
    Branch,
    EncoderShape,
    Encoding,
    Forced,
    Masked,
    Noise,
    mask_and_decision,
)
from ssl_kedro.encoders.folding import Layer
from ssl_kedro.encoders.tokens import (
    EPSILON,
    HEAD,
    Pooling,
    as_maps,
    check_sides,
    head_macs,
    placed,
    pooled,
    resampled,
    unit_macs,
)
from ssl_kedro.encoders.vit_folding import FoldedViT, folded_step
from ssl_kedro.gating.cost import BlockCost, NetworkCost
from ssl_kedro.gating.gate import Gate

# Hidden units of a block's MLP over its width.
MLP_RATIO = 4
_Width = Annotated[int, Range(at_least=HEAD, at_most=4096)]
_LAYER_SCALE = 1e-5
_DEVIATION = 0.02
# Patches a side: of more the products of attention cost more than all else.
_MOST_PATCHES = 48


@dataclass(frozen=True)
class ViTConfig(EncoderShape):
    """Shape of the encoder; its own values are ViT-Ti (Touvron et al. 2021) at 32 px.

    Args:
        width: channels of a token, a multiple of 64: there is a head for each 64.
        patch: side in px of the patches that become tokens; 4 suits images of 32 px, 8 those of 64,
            16 those of 224. Images' sides are multiples of it.
        depth: blocks.
        inner_channels: of each block in turn the number of its heads and of its MLP's hidden
            units, two numbers a block; None = width / 64 and 4 width. A thinner network has
            fewer, for instance as many as learnt gates open on average.
        pooling: what features are, after the last norm: "class" = the class token, "mean" = the
            mean of the patches' tokens.
        layer_scale: multiply what attention and MLP add by a learnt factor a channel, which begins
            at 1e-5 (CaiT for its deepest networks; DINOv2 and timm). Needed to begin with weights
            of DINOv2; from random ones a short training only sees the patches' embedding.
    """

    architecture: ClassVar[str] = "vit_tiny"
    native: ClassVar[bool] = False

    width: _Width = 192
    patch: Annotated[int, Range(at_least=1, at_most=64)] = 4
    depth: Annotated[int, Range(at_least=1, at_most=64)] = 12
    inner_channels: tuple[Annotated[int, Range(at_least=1, at_most=16384)], ...] | None = None
    pooling: Pooling = "class"
    layer_scale: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.width, int) and self.width % HEAD:
            expected = f"a multiple of {HEAD}, the channels of a head, such as 64, 192 or 384"
            raise ConfigError("width", self.width, expected)
        super().__post_init__()
        if self.inner_channels is not None and len(self.inner_channels) != 2 * self.depth:
            expected = f"heads and hidden units of each block, {2 * self.depth} numbers in all"
            raise ConfigError("inner_channels", list(self.inner_channels), expected)

    @property
    def side_step(self) -> int:
        """The patch, in px."""
        return self.patch

    def check_side(self, key: str, side: int) -> None:
        """Refuse sides that are no multiple of the patch, and patches far too small for a side."""
        super().check_side(key, side)
        if side > _MOST_PATCHES * self.patch:
            larger = (
                f"patches of at least {-(-side // _MOST_PATCHES)} px (encoder.patch), or images"
            )
            expected = f"{larger} of at most {_MOST_PATCHES * self.patch} px"
            raise ConfigError(key, side, expected)

    @property
    def units(self) -> tuple[int, ...]:
        """Heads and hidden units of each block in turn."""
        return self.inner_channels or (self.width // HEAD, MLP_RATIO * self.width) * self.depth

    def thinned(self, inner_channels: Sequence[int]) -> Self:
        """The shape with so many heads and hidden units in each block in turn."""
        return dataclasses.replace(self, inner_channels=tuple(inner_channels))

    def narrowed(self, width: int) -> Self:
        """The shape with another width; heads and hidden units that are given shrink with it.

        Raises:
            ConfigError: no multiple of 64.
        """
        inner = self.inner_channels
        if inner is not None:
            inner = tuple(max(1, round(count * width / self.width)) for count in inner)
        return dataclasses.replace(self, width=width, inner_channels=inner)


@dataclass(frozen=True)
class ViTSmallConfig(ViTConfig):
    """Shape of the encoder; fields are those of ViT-Ti."""

    architecture: ClassVar[str] = "vit_small"

    width: _Width = 384


class Attention(nn.Module):
    """Multi-head self-attention, whose mask has a value a head.

    The mask multiplies what a head gives, so that neither the head nor its columns of ``proj`` need
    be computed where it is 0.
    """

    def __init__(self, width: int, heads: int, gate: Gate | None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = _linear(width, 3 * heads * HEAD)
        self.proj = _linear(heads * HEAD, width)
        self.gate = gate

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens (N, T, width) to what is added to them, under a mask (N or 1, heads) or none."""
        split = self.qkv(x).view(*x.shape[:2], 3, self.heads, HEAD)
        found = functional.scaled_dot_product_attention(*split.permute(2, 0, 3, 1, 4))
        if mask is not None:
            found = found * mask.to(found.dtype)[:, :, None, None]
        added: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return added

    def cost(self, name: str, tokens: int) -> BlockCost:
        """Prices of its heads for so many tokens."""
        head = head_macs(self.proj.out_features, tokens)
        return BlockCost(name, self.heads, head, 0, 0 if self.gate is None else self.gate.macs)


class Mlp(nn.Module):
    """Two linear layers and a GELU, whose mask has a value a hidden unit and multiplies the GELU's.

    The GELU is exact, x Phi(x).
    """

    def __init__(self, width: int, hidden: int, gate: Gate | None) -> None:
        super().__init__()
        self.fc1 = _linear(width, hidden)
        self.fc2 = _linear(hidden, width)
        self.gate = gate

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens (N, T, width) to what is added to them, under a mask (N or 1, hidden) or none."""
        inner = functional.gelu(self.fc1(x))
        if mask is not None:
            inner = inner * mask.to(inner.dtype)[:, None]
        added: Tensor = self.fc2(inner)
        return added

    def cost(self, name: str, tokens: int) -> BlockCost:
        """Prices of its hidden units for so many tokens."""
        unit = unit_macs(self.fc1.in_features, tokens)
        gate = 0 if self.gate is None else self.gate.macs
        return BlockCost(name, self.fc1.out_features, unit, 0, gate)


class LayerScale(nn.Module):
    """A learnt factor a channel (Touvron et al. 2021, "Going deeper with image transformers")."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), _LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., width), scaled."""
        return x * self.gamma


class TransformerBlock(nn.Module):
    """x + ls1(attn(norm1(x))), then x + ls2(mlp(norm2(x))): two units, each with a gate of its own.

    A gate sees the unit's input, the mean over all tokens. Each branch has norms of its own.
    """

    def __init__(
        self,
        config: ViTConfig,
        heads: int,
        hidden: int,
        branches: Sequence[Branch],
        gates: tuple[Gate | None, Gate | None],
    ) -> None:
        super().__init__()
        width = config.width
        self.norm1 = _norms(width, branches)
        self.attn = Attention(width, heads, gates[0])
        self.ls1 = LayerScale(width) if config.layer_scale else nn.Identity()
        self.norm2 = _norms(width, branches)
        self.mlp = Mlp(width, hidden, gates[1])
        self.ls2 = LayerScale(width) if config.layer_scale else nn.Identity()

    def steps(self) -> tuple[tuple[nn.ModuleDict, Attention | Mlp, nn.Module], ...]:
        """Norms, unit and scale of attention and MLP."""
        return (self.norm1, self.attn, self.ls1), (self.norm2, self.mlp, self.ls2)

    def forward(
        self, x: Tensor, branch: Branch, generator: Noise, masks: Forced
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Tokens (N, T, width), and the mask and the gate's decision of each unit that has one."""
        told = []
        for index, (norms, unit, scale) in enumerate(self.steps()):
            forced = None if masks is None else masks[index]
            as_map = x.transpose(1, 2)[..., None]
            mask, decision = mask_and_decision(unit.gate, as_map, branch, generator, forced)
            x = x + scale(unit(norms[branch](x), mask))
            if mask is not None and decision is not None:
                told.append((mask, decision))
        return x, told


class GatedViT(Backbone):
    """Vision transformer with a dense branch, a gated branch, or both on shared weights.

    Pre-norm, with a class token and learnt positions (Dosovitskiy et al. 2021). Masks come in
    pairs: block l has the units "blocks.l.attn", of its heads, and "blocks.l.mlp", of its MLP's
    hidden units. Layers are called as timm calls them and begin as there: positions and linear
    weights normal with deviation 0.02, the class token with 1e-6, biases 0, the patches' embedding
    and gates as PyTorch has them. Arguments are those of :class:`Backbone`; images of another size
    than ``image_size`` get interpolated positions.

    Raises:
        ConfigError: ``image_size`` is no multiple of the patch.
    """

    config_type = ViTConfig
    config: ViTConfig

    def __init__(self, config: ViTConfig, **options: Unpack[BackboneOptions]) -> None:
        super().__init__(config, **options)
        width, patch = config.width, config.patch
        self.feature_dimensions = width
        embedding = nn.Conv2d(3, width, patch, patch)
        self.patch_embed = nn.Sequential(OrderedDict(proj=embedding))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, self._tokens_at(self.image_size), width))
        self.blocks = nn.ModuleList()
        for heads, hidden in zip(config.units[::2], config.units[1::2], strict=True):
            gates = self.new_gate(width, heads), self.new_gate(width, hidden)
            block = TransformerBlock(config, heads, hidden, self.branches, gates)
            self.blocks.append(block)
        self.norm = _norms(width, self.branches)
        if not self.pos_embed.is_meta:
            nn.init.trunc_normal_(self.pos_embed, std=_DEVIATION)
            nn.init.normal_(self.cls_token, std=1e-6)

    def maps(
        self, images: Tensor, branch: Branch, generator: Noise = None, masks: Forced = None
    ) -> Masked:
        """Tokens of the patches after the last norm, (N, width, h, w); see :class:`Encoder`.

        Raises:
            InputError: sides that are no multiples of the patch.
        """
        tokens, applied, decided = self._tokens(images, branch, generator, masks)
        grid = [side // self.config.patch for side in images.shape[2:]]
        return as_maps(tokens, *grid), applied, decided

    def forward(
        self, images: Tensor, branch: Branch, generator: Noise = None, masks: Forced = None
    ) -> Encoding:
        """Encode images; features are what the shape's ``pooling`` says. See :class:`Encoder`."""
        tokens, applied, decided = self._tokens(images, branch, generator, masks)
        return Encoding(pooled(tokens, self.config.pooling), applied, decided)

    def _tokens(self, images: Tensor, branch: Branch, generator: Noise, masks: Forced) -> Masked:
        """All tokens after the last norm, (N, 1 + h w, width), the class token first."""
        self.check_branch(branch)
        pixels = self.laid_out(images, cast(nn.Conv2d, self.patch_embed.proj))
        check_sides(pixels, self.config.patch)
        x = placed(self.patch_embed(pixels), self.cls_token, self.pos_embed)
        told: list[tuple[Tensor, Tensor]] = []
        for index, block in enumerate(self.blocks):
            forced = None if masks is None else masks[2 * index : 2 * index + 2]
            x, of_block = block(x, branch, generator, forced)
            told += of_block
        applied, decided = zip(*told, strict=True) if told else ((), ())
        return self.norm[branch](x), applied, decided

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of the patches' embedding and of both units of each block; see :class:`Encoder`.

        Biases, norms, softmax and GELU are free, as those of ResNets are.

        Raises:
            ConfigError: a size that is no multiple of the patch.
        """
        tokens = self._tokens_at(image_size or self.image_size)
        stem = (tokens - 1) * cast(nn.Conv2d, self.patch_embed.proj).weight.numel()
        blocks = [cast(TransformerBlock, block) for block in self.blocks]
        units = [
            unit.cost(f"blocks.{index}.{name}", tokens)
            for index, block in enumerate(blocks)
            for name, unit in (("attn", block.attn), ("mlp", block.mlp))
        ]
        return NetworkCost(stem, tuple(units))

    @torch.no_grad()
    def folded(self, branch: Branch) -> FoldedViT:
        """A branch as plain weights; see :class:`Encoder`."""
        self.check_branch(branch)
        norm = cast(nn.LayerNorm, self.norm[branch])
        patches = cast(nn.Conv2d, self.patch_embed.proj)
        steps = (cast(TransformerBlock, block).steps() for block in self.blocks)
        units = []
        for index, (norms, unit, scale) in enumerate(itertools.chain.from_iterable(steps)):
            attends = isinstance(unit, Attention)
            layers = (unit.qkv, unit.proj) if isinstance(unit, Attention) else (unit.fc1, unit.fc2)
            units.append(
                folded_step(
                    f"blocks.{index // 2}.{'attn' if attends else 'mlp'}",
                    cast(nn.LayerNorm, norms[branch]),
                    *layers,
                    scale.gamma if isinstance(scale, LayerScale) else None,
                    unit.gate,
                )
            )
        return FoldedViT(
            patches=Layer(patches.weight, torch.as_tensor(patches.bias)),
            class_token=self.cls_token,
            positions=self.pos_embed,
            units=tuple(units),
            norm=Layer(norm.weight, norm.bias),
            pooling=self.config.pooling,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            image_size=self.image_size,
        )

    def adopted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """With the positions of another grid brought to this one's; see :class:`Backbone`."""
        found, side = dict(weights), math.isqrt(self.pos_embed.shape[1])
        theirs = found.get("pos_embed")
        if theirs is not None and theirs.ndim == 3 and _is_grid(theirs.shape[1]):
            found["pos_embed"] = resampled(theirs, side, side)
        return found

    def _tokens_at(self, image_size: int) -> int:
        """Tokens of a square image, the class token among them."""
        self.config.check_side("image_size", image_size)
        return (image_size // self.config.patch) ** 2 + 1


class GatedViTSmall(GatedViT):
    """ViT-S; see :class:`GatedViT`."""

    config_type = ViTSmallConfig
    config: ViTSmallConfig


def _is_grid(tokens: int) -> bool:
    """Whether these are a square grid and one more."""
    return tokens > 1 and math.isqrt(tokens - 1) ** 2 == tokens - 1


def _norms(width: int, branches: Sequence[Branch]) -> nn.ModuleDict:
    return nn.ModuleDict({branch: nn.LayerNorm(width, eps=EPSILON) for branch in branches})


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    if not layer.weight.is_meta:  # one of which only the cost is asked has no values to draw
        nn.init.trunc_normal_(layer.weight, std=_DEVIATION)
        nn.init.zeros_(layer.bias)
    return layer
