"""ResNets with channel gates: one set of convolutions, usable dense and gated."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.core.config import ConfigError, Range
from ssl_kedro.encoders.base import (
    Backbone,
    BackboneOptions,
    Branch,
    EncoderShape,
    Forced,
    Masked,
    Noise,
    mask_and_decision,
)
from ssl_kedro.encoders.folding import (
    KERNELS,
    STEMS,
    FoldedEncoder,
    FoldedUnit,
    Stem,
    folded,
    folded_gate,
    stem_pool,
)
from ssl_kedro.gating.cost import BlockCost, NetworkCost, residual_costs
from ssl_kedro.gating.gate import Gate

_Blocks = Annotated[int, Range(at_least=1, at_most=64)]
Stages = tuple[_Blocks, _Blocks, _Blocks, _Blocks]
BlockKind = Literal["basic", "bottleneck"]
_LEAST_CHANNELS = 8


@dataclass(frozen=True)
class EncoderConfig(EncoderShape):
    """Shape of the encoder.

    Args:
        stem: "cifar" = 3x3, stride 1, padding 2, no pooling (32 px -> 34x34 maps; the
            authors' padding, which is why the thesis counts 7.03E8); "cifar_pad1" = the same
            with padding 1; "imagenet" = 7x7, stride 2, padding 3, then 3x3 max-pool stride 2;
            "imagenet_same" = the same, with a pooling that is padded as TensorFlow does (SimCLR).
        width: channels of the first stage; 64 is ResNet-18, 16 costs a sixteenth.
        inner_channels: channels between the convolutions of each block, one number for a basic
            block, two for a bottleneck; None = those of a ResNet. A thinner network has fewer, for
            instance as many as learnt gates open on average.
        zero_init_residual: start each block as its shortcut, with zeros as the weights of
            its last batch norm (Goyal et al. 2017, 5.1; SimSiam's code). PyTorch's default
            initialisation, which thesis 5.4 has, does not.
        separate_norms: batch norms that each branch has of its own: "blocks" = those behind the
            convolutions of blocks, while stem and downsample share theirs (authors' code); "all" =
            these as well, as in slimmable networks (Yu et al. 2019), which thesis 6.3.1 follows.
        stages: blocks of each stage, each stage twice as wide as the one before: (2, 2, 2, 2) is
            ResNet-18.
        block: "basic" = two 3x3 convolutions; "bottleneck" = 1x1, 3x3 and 1x1, the last to four
            times as many channels, with the stride in the 3x3 (He et al. 2016, Fig. 5; "v1.5").
    """

    architecture: ClassVar[str] = "resnet18"

    stem: Stem = "cifar"
    width: Annotated[int, Range(at_least=2, at_most=1024)] = 64
    inner_channels: tuple[Annotated[int, Range(at_least=1, at_most=8192)], ...] | None = None
    zero_init_residual: bool = False
    separate_norms: Literal["blocks", "all"] = "blocks"
    stages: Stages = (2, 2, 2, 2)
    block: BlockKind = "basic"

    def __post_init__(self) -> None:
        super().__post_init__()
        masks = self.masks_a_block * sum(self.stages)
        if self.inner_channels is not None and len(self.inner_channels) != masks:
            numbers = "one number" if self.masks_a_block == 1 else "two numbers"
            raise ConfigError(
                "inner_channels", list(self.inner_channels), f"{numbers} a block, {masks} in all"
            )

    @property
    def masks_a_block(self) -> int:
        """Layers of a block whose channels can be masked: all but the last."""
        return 1 if self.block == "basic" else 2

    @property
    def feature_dimensions(self) -> int:
        """Channels of the last block."""
        return self.channels_out(3)

    def channels_out(self, stage: int) -> int:
        """Channels that blocks of a stage (from 0) put out."""
        return (self.width << stage) * (1 if self.block == "basic" else 4)

    def channels_inside(self, number: int, stage: int) -> tuple[int, ...]:
        """Channels between the convolutions of a block, the number-th (from 0) of the network."""
        masks = self.masks_a_block
        if self.inner_channels is None:
            return (self.width << stage,) * masks
        return self.inner_channels[number * masks : (number + 1) * masks]

    def thinned(self, inner_channels: Sequence[int]) -> Self:
        """The shape with so many channels between the convolutions of each block."""
        return dataclasses.replace(self, inner_channels=tuple(inner_channels))

    def narrowed(self, width: int) -> Self:
        """The shape with another width; inner channels that are given shrink in proportion."""
        inner = self.inner_channels
        if inner is not None:
            inner = tuple(max(1, round(channels * width / self.width)) for channels in inner)
        return dataclasses.replace(self, width=width, inner_channels=inner)


class Projection(nn.Conv2d):
    """1x1 convolution of a shortcut, with a stride and no bias.

    With fewer than 8 input channels it picks the pixels itself: of channels_last maps, PyTorch's
    backward pass of the convolution with a stride then overwrites memory on CPUs without AVX-512
    (2.14, oneDNN).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h', w')."""
        if x.shape[1] >= _LEAST_CHANNELS or self.stride == (1, 1):
            return super().forward(x)
        rows, columns = self.stride
        return functional.conv2d(x[..., ::rows, ::columns], self.weight)


class GatedBlock(nn.Module):
    """Residual block whose inner channels gates can switch off per sample.

    A basic block has one mask, between its two 3x3 convolutions; a bottleneck has two, around its
    3x3 convolution. Each is decided by a gate of its own, from the block's input. A mask multiplies
    ReLU(BN(conv(x))), so a masked channel need be neither computed by the convolution before it
    nor read by the one behind.

    Each branch has batch norms of its own for all convolutions; whether for the downsample as well,
    the shape says (``separate_norms``).

    Args:
        channels: of the input, of each mask, and of the output.
        stride: of the first 3x3 convolution.
        branches: which there are.
        gates: one for each mask, or None where there is no gated branch.
        separate: whether the gated branch has a norm of its own for the downsample.
    """

    conv1: nn.Conv2d
    gate: Gate | None
    gate2: Gate | None
    downsample: nn.Sequential | None
    downsample_norm: nn.ModuleDict

    def __init__(
        self,
        channels: Sequence[int],
        stride: int,
        branches: Sequence[Branch],
        gates: Sequence[Gate | None],
        *,
        separate: bool = False,
    ) -> None:
        super().__init__()
        kernels = KERNELS[len(gates)]
        strides = [1] * len(kernels)
        strides[kernels.index(3)] = stride
        sizes = zip(channels, channels[1:], kernels, strides, strict=False)
        convs = [nn.Conv2d(a, b, k, s, padding=k // 2, bias=False) for a, b, k, s in sizes]
        for number, conv in enumerate(convs, 1):
            self.add_module(f"conv{number}", conv)
        for number, width in enumerate(channels[1:], 1):
            norms = nn.ModuleDict({branch: nn.BatchNorm2d(width) for branch in branches})
            self.add_module(f"bn{number}", norms)
        self.masks = len(gates)
        for place, gate in zip(("gate", "gate2"), gates, strict=False):
            self.register_module(place, gate)
        self.downsample, self.downsample_norm = None, nn.ModuleDict()
        if stride != 1 or channels[0] != channels[-1]:
            self.downsample = nn.Sequential(
                Projection(channels[0], channels[-1], stride),
                nn.BatchNorm2d(channels[-1]),
            )
            self.downsample_norm = _gated_norm(channels[-1], separate)

    def layers(self) -> list[tuple[nn.Conv2d, nn.ModuleDict]]:
        """Convolutions and their norms by branch, in order."""
        found = [(f"conv{number}", f"bn{number}") for number in range(1, self.masks + 2)]
        return [
            (cast(nn.Conv2d, getattr(self, conv)), cast(nn.ModuleDict, getattr(self, norms)))
            for conv, norms in found
        ]

    def gates(self) -> list[Gate | None]:
        """The gate of each mask."""
        return [self.gate] if self.masks == 1 else [self.gate, self.gate2]

    def forward(
        self, x: Tensor, branch: Branch, generator: Noise, masks: Sequence[Tensor] | None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Output (N, C_out, H', W'), the masks that were applied and the gates' decisions.

        There are none when dense; a forced mask is its own decision.
        """
        given: Sequence[Tensor | None] = masks or [None] * self.masks
        found = [
            mask_and_decision(gate, x, branch, generator, mask)
            for gate, mask in zip(self.gates(), given, strict=True)
        ]
        out = x
        for index, (conv, norms) in enumerate(self.layers()):
            out = norms[branch](conv(out))
            if index == self.masks:
                break
            out, mask = torch.relu_(out), found[index][0]
            if mask is not None:
                out = out * mask.to(out.dtype)[:, :, None, None]
        shortcut = x
        if self.downsample is not None:
            first, norm = _first(self.downsample, self.downsample_norm, branch)
            shortcut = norm(first(x))
        # In place: neither batch norm nor sum needs its output for the gradient.
        applied = [mask for mask, _ in found if mask is not None]
        decided = [decision for _, decision in found if decision is not None]
        return torch.relu_(out.add_(shortcut)), applied, decided

    def cost(self, name: str, side: int) -> tuple[list[BlockCost], int]:
        """Prices at a square input map of a side in px, and the side of the output map."""
        convs = [conv for conv, _ in self.layers()]
        sides = [side]
        for conv in convs:
            sides.append(_after(sides[-1], conv))
        given, returned, pixels = convs[0].in_channels, convs[-1].out_channels, sides[-1] ** 2
        sizes = [(c.kernel_size[0], side**2) for c, side in zip(convs, sides[1:], strict=True)]
        costs = residual_costs(
            name,
            sizes,
            [given, *(conv.out_channels for conv in convs)],
            0 if self.downsample is None else pixels * given * returned,
            [0 if gate is None else gate.macs for gate in self.gates()],
        )
        return costs, sides[-1]

    def folded(self, name: str, branch: Branch) -> FoldedUnit:
        """The block as plain weights."""
        shortcut = None
        if self.downsample is not None:
            shortcut = folded(*_first(self.downsample, self.downsample_norm, branch))
        return FoldedUnit(
            name=name,
            stride=max(conv.stride[0] for conv, _ in self.layers()),
            layers=tuple(folded(conv, norms[branch]) for conv, norms in self.layers()),
            shortcut=shortcut,
            gates=tuple(folded_gate(gate) for gate in self.gates()),
        )


class GatedResNet18(Backbone):
    """ResNet with a dense branch, a gated branch, or both on shared weights.

    Convolutions are initialised Kaiming normal (fan out), batch norms 1 / 0, from torch's default
    generator. Arguments are those of :class:`Backbone`.
    """

    config_type = EncoderConfig
    config: EncoderConfig

    def __init__(self, config: EncoderConfig, **options: Unpack[BackboneOptions]) -> None:
        super().__init__(config, **options)
        self.feature_dimensions = config.feature_dimensions
        self.stem = _stem(config.stem, config.width)
        separate = config.separate_norms == "all" and len(self.branches) > 1
        self.stem_norm = _gated_norm(config.width, separate)
        self.blocks = nn.ModuleDict()
        given = config.width
        places = [(stage, index) for stage, n in enumerate(config.stages) for index in range(n)]
        for number, (stage, index) in enumerate(places):
            inner, returned = config.channels_inside(number, stage), config.channels_out(stage)
            gates = [self.new_gate(given, channels) for channels in inner]
            stride = 2 if stage > 0 and index == 0 else 1
            self.blocks[f"layer{stage + 1}_{index}"] = GatedBlock(
                (given, *inner, returned), stride, self.branches, gates, separate=separate
            )
            given = returned
        for module in self.modules():
            # A network without memory, of which only the cost is asked, has no values to draw;
            # PyTorch would load its compiler, over a second, to draw none.
            if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if config.zero_init_residual:
            for _, block in self.residual_blocks():
                for norm in block.layers()[-1][1].values():
                    nn.init.zeros_(cast(nn.BatchNorm2d, norm).weight)

    def residual_blocks(self) -> list[tuple[str, GatedBlock]]:
        """Names ("layer1.0") and blocks, in order."""
        return [
            (name.replace("_", "."), cast(GatedBlock, block)) for name, block in self.blocks.items()
        ]

    @property
    def _stem_conv(self) -> nn.Conv2d:
        return cast(nn.Conv2d, self.stem[0])

    def maps(
        self, images: Tensor, branch: Branch, generator: Noise = None, masks: Forced = None
    ) -> Masked:
        """Maps of the last block, (N, D, h, w); see :class:`Encoder`."""
        self.check_branch(branch)
        conv, norm = _first(self.stem, self.stem_norm, branch)
        x = norm(conv(self.laid_out(images, self._stem_conv)))
        for layer in list(self.stem)[2:]:
            x = layer(x)
        applied: list[Tensor] = []
        decided: list[Tensor] = []
        count = self.config.masks_a_block
        for index, (_, block) in enumerate(self.residual_blocks()):
            forced = None if masks is None else masks[index * count : (index + 1) * count]
            x, of_block, decisions = block(x, branch, generator, forced)
            applied += of_block
            decided += decisions
        return x, tuple(applied), tuple(decided)

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of stem and blocks for one square image; see :class:`Encoder`."""
        first = self._stem_conv
        side = _after(image_size or self.image_size, first)
        stem = side * side * first.out_channels * first.in_channels * first.kernel_size[0] ** 2
        if stem_pool(self.config.stem):
            side = (side - 1) // 2 + 1
        costs = []
        for name, block in self.residual_blocks():
            of_block, side = block.cost(name, side)
            costs += of_block
        return NetworkCost(stem, tuple(costs))

    def folded(self, branch: Branch) -> FoldedEncoder:
        """A branch as plain weights; see :class:`Encoder`."""
        self.check_branch(branch)
        return FoldedEncoder(
            stem=self.config.stem,
            first=folded(*_first(self.stem, self.stem_norm, branch)),
            units=tuple(block.folded(name, branch) for name, block in self.residual_blocks()),
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            image_size=self.image_size,
        )


def _after(side: int, conv: nn.Conv2d) -> int:
    """Side of the map behind a square convolution."""
    return (side + 2 * int(conv.padding[0]) - conv.kernel_size[0]) // conv.stride[0] + 1


def _gated_norm(channels: int, separate: bool) -> nn.ModuleDict:
    """The gated branch's own norm beside one that is else shared; or nothing."""
    return nn.ModuleDict({"gated": nn.BatchNorm2d(channels)} if separate else {})


def _first(
    layers: nn.Sequential, own: nn.ModuleDict, branch: Branch
) -> tuple[nn.Module, nn.Module]:
    """The convolution that layers begin with, and a branch's norm behind it."""
    return layers[0], own[branch] if branch in own else layers[1]


def _stem(kind: Stem, width: int) -> nn.Sequential:
    kernel, stride, padding = STEMS[kind]
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    if pool := stem_pool(kind):
        layers.append(pool)
    return nn.Sequential(*layers)
