"""ResNets of basic blocks with channel gates: one set of convolutions, usable dense and gated."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, Unpack, cast

import torch
from torch import Tensor, nn

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
from ssl_kedro.encoders.folding import STEMS, FoldedEncoder, FoldedUnit, Stem, folded, folded_gate
from ssl_kedro.gating.cost import BlockCost, NetworkCost
from ssl_kedro.gating.gate import Gate

_Blocks = Annotated[int, Range(at_least=1, at_most=64)]
Stages = tuple[_Blocks, _Blocks, _Blocks, _Blocks]


@dataclass(frozen=True)
class EncoderConfig(EncoderShape):
    """Shape of the encoder.

    Args:
        stem: "cifar" = 3x3, stride 1, padding 2, no pooling (32 px -> 34x34 maps; the
            authors' padding, which is why the thesis counts 7.03E8); "cifar_pad1" = the same
            with padding 1; "imagenet" = 7x7, stride 2, padding 3, then 3x3 max-pool stride 2.
        width: channels of the first stage; 64 is ResNet-18, 16 costs a sixteenth.
        inner_channels: channels between the two convolutions of each block; None = as many as the
            block puts out, which is ResNet-18. A thinner network has fewer, for instance as many
            as learnt gates open on average.
        zero_init_residual: start each block as its shortcut, with zeros as the weights of
            its last batch norm (Goyal et al. 2017, 5.1; SimSiam).
        stages: blocks of each stage, each stage twice as wide as the one before: (2, 2, 2, 2) is
            ResNet-18.
    """

    architecture: ClassVar[str] = "resnet18"

    stem: Stem = "cifar"
    width: Annotated[int, Range(at_least=2, at_most=1024)] = 64
    inner_channels: tuple[Annotated[int, Range(at_least=1, at_most=8192)], ...] | None = None
    zero_init_residual: bool = False
    stages: Stages = (2, 2, 2, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks = sum(self.stages)
        if self.inner_channels is not None and len(self.inner_channels) != blocks:
            raise ConfigError(
                "inner_channels", list(self.inner_channels), f"one number a block, {blocks} in all"
            )

    def thinned(self, inner_channels: Sequence[int]) -> Self:
        """The shape with so many channels between the convolutions of each block."""
        return dataclasses.replace(self, inner_channels=tuple(inner_channels))

    def narrowed(self, width: int) -> Self:
        """The shape with another width; inner channels that are given shrink in proportion."""
        inner = self.inner_channels
        if inner is not None:
            inner = tuple(max(1, round(channels * width / self.width)) for channels in inner)
        return dataclasses.replace(self, width=width, inner_channels=inner)


class GatedBlock(nn.Module):
    """Residual basic block whose inner channels a gate can switch off per sample.

    Each branch has batch norms of its own for both convolutions; the downsample's is shared
    (thesis 6.3.1, after slimmable networks). The mask multiplies ReLU(BN(conv1(x))), so a
    masked channel need be neither computed by conv1 nor read by conv2.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        out_channels: int,
        stride: int,
        branches: Sequence[Branch],
        gate: Gate | None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner_channels, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(inner_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.ModuleDict({branch: nn.BatchNorm2d(inner_channels) for branch in branches})
        self.bn2 = nn.ModuleDict({branch: nn.BatchNorm2d(out_channels) for branch in branches})
        self.gate = gate
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(
        self, x: Tensor, branch: Branch, generator: Noise, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Output (N, C_out, H', W'), the mask that was applied and the gate's decision.

        Both are None when dense; a forced mask is its own decision.
        """
        mask, decision = mask_and_decision(self.gate, x, branch, generator, mask)
        inner = torch.relu_(self.bn1[branch](self.conv1(x)))
        if mask is not None:
            inner = inner * mask.to(inner.dtype)[:, :, None, None]
        out = self.bn2[branch](self.conv2(inner))
        shortcut = x if self.downsample is None else self.downsample(x)
        # In place: neither batch norm nor sum needs its output for the gradient.
        return torch.relu_(out.add_(shortcut)), mask, decision

    def cost(self, name: str, side: int) -> BlockCost:
        """Prices at a square output map of a side in px."""
        pixels, given, returned = side * side, self.conv1.in_channels, self.conv2.out_channels
        return BlockCost(
            name=name,
            channels=self.conv1.out_channels,
            macs_per_channel=9 * pixels * (given + returned),
            shortcut=0 if self.downsample is None else pixels * given * returned,
            gate=0 if self.gate is None else self.gate.macs,
        )

    def folded(self, name: str, branch: Branch) -> FoldedUnit:
        """The block as plain weights."""
        return FoldedUnit(
            name=name,
            stride=self.conv1.stride[0],
            first=folded(self.conv1, self.bn1[branch]),
            second=folded(self.conv2, self.bn2[branch]),
            shortcut=None if self.downsample is None else folded(*self.downsample),
            gate=folded_gate(self.gate),
        )


class GatedResNet18(Backbone):
    """ResNet of basic blocks with a dense branch, a gated branch, or both on shared weights.

    Convolutions are initialised Kaiming normal (fan out), batch norms 1 / 0, from torch's default
    generator. Arguments are those of :class:`Backbone`.
    """

    config_type = EncoderConfig
    config: EncoderConfig

    def __init__(self, config: EncoderConfig, **options: Unpack[BackboneOptions]) -> None:
        super().__init__(config, **options)
        self.feature_dimensions = 8 * config.width
        self.stem = _stem(config.stem, config.width)
        self.blocks = nn.ModuleDict()
        in_channels = config.width
        places = [(stage, index) for stage, n in enumerate(config.stages) for index in range(n)]
        for number, (stage, index) in enumerate(places):
            out_channels = config.width << stage
            inner = out_channels if config.inner_channels is None else config.inner_channels[number]
            gate = self.new_gate(in_channels, inner)
            stride = 2 if stage > 0 and index == 0 else 1
            self.blocks[f"layer{stage + 1}_{index}"] = GatedBlock(
                in_channels, inner, out_channels, stride, self.branches, gate
            )
            in_channels = out_channels
        for module in self.modules():
            # A network without memory, of which only the cost is asked, has no values to draw;
            # PyTorch would load its compiler, over a second, to draw none.
            if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if config.zero_init_residual:
            for _, block in self.residual_blocks():
                for norm in block.bn2.values():
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
        """Maps of the last block (N, 8 width, h, w); see :class:`Encoder`."""
        self.check_branch(branch)
        x = self.stem(self.laid_out(images, self._stem_conv))
        applied: list[Tensor] = []
        decided: list[Tensor] = []
        for index, (_, block) in enumerate(self.residual_blocks()):
            forced = None if masks is None else masks[index]
            x, mask, decision = block(x, branch, generator, forced)
            if mask is not None and decision is not None:
                applied.append(mask)
                decided.append(decision)
        return x, tuple(applied), tuple(decided)

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of stem and blocks for one square image; see :class:`Encoder`."""
        first = self._stem_conv
        side = _after(image_size or self.image_size, first)
        stem = side * side * first.out_channels * first.in_channels * first.kernel_size[0] ** 2
        if self.config.stem == "imagenet":
            side = (side + 2 - 3) // 2 + 1
        costs = []
        for name, block in self.residual_blocks():
            side = _after(side, block.conv1)
            costs.append(block.cost(name, side))
        return NetworkCost(stem, tuple(costs))

    def folded(self, branch: Branch) -> FoldedEncoder:
        """A branch as plain weights; see :class:`Encoder`."""
        self.check_branch(branch)
        return FoldedEncoder(
            stem=self.config.stem,
            first=folded(self.stem[0], self.stem[1]),
            units=tuple(block.folded(name, branch) for name, block in self.residual_blocks()),
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            image_size=self.image_size,
        )


def _after(side: int, conv: nn.Conv2d) -> int:
    """Side of the map behind a square convolution."""
    return (side + 2 * int(conv.padding[0]) - conv.kernel_size[0]) // conv.stride[0] + 1


def _stem(kind: Stem, width: int) -> nn.Sequential:
    kernel, stride, padding = STEMS[kind]
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    if kind == "imagenet":
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers)
