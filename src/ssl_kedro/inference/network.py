"""The compact network as a PyTorch module; without dependent channels it is a dense ResNet."""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ssl_kedro.encoders.base import Branch, Encoder, Encoding, Forced, Masked, Noise
from ssl_kedro.encoders.folding import STEMS, stem_pool
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.inference import plain_module
from ssl_kedro.inference.plan import FORMAT, BlockPlan, CompactPlan
from ssl_kedro.inference.planned import CompactGate, PlannedNetwork, decided


class CompactBlock(nn.Module):
    """Residual block whose kept inner channels are ordered [always on, dependent].

    A block is as far from its input as the last layer that keeps no channel: behind it stands a
    constant, of the last convolution that is left or of the block.
    """

    conv1: nn.Conv2d | None
    conv2: nn.Conv2d | None
    conv3: nn.Conv2d | None
    constant: nn.Parameter | None
    gate: CompactGate | None
    gate2: CompactGate | None
    downsample: nn.Conv2d | None

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.plan = plan
        self.first = first_convolution(plan)
        widths = plan.widths
        for index, (kernel, stride) in enumerate(zip(plan.kernels, plan.strides, strict=True)):
            conv = None
            if index >= self.first:
                given, returned = widths[index : index + 2]
                conv = nn.Conv2d(given, returned, kernel, stride, padding=kernel // 2)
            self.register_module(f"conv{index + 1}", conv)
        self.constant = nn.Parameter(torch.zeros(widths[self.first])) if self.first else None
        self.downsample = None
        if plan.downsample:
            self.downsample = nn.Conv2d(plan.in_channels, plan.out_channels, 1, plan.stride)
        for place, layer in zip(("gate", "gate2"), plan.layers, strict=False):
            gate = None
            if layer.dependent:
                gate = CompactGate(plan.in_channels, layer.hidden, layer.dependent)
            self.register_module(place, gate)

    def convolutions(self) -> list[nn.Conv2d]:
        """Those that are left, in order."""
        found = (self._modules[f"conv{index + 1}"] for index in range(len(self.plan.kernels)))
        return [cast(nn.Conv2d, conv) for conv in found if conv is not None]

    def gates(self) -> list[CompactGate | None]:
        """The gate of each layer."""
        return [self.gate] if len(self.plan.layers) == 1 else [self.gate, self.gate2]

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Output (N, C_out, H', W') and the mask (N, dependent) that was applied.

        Args:
            x: (N, C_in, H, W).
            mask: imposed, (N or 1, dependent); None leaves it to the gates.
        """
        imposed: list[Tensor | None] = [None] * len(self.plan.layers)
        if mask is not None:
            imposed = [*torch.split(mask, [layer.dependent for layer in self.plan.layers], dim=1)]
        applied = [
            None if gate is None else decided(gate, x, wanted)
            for gate, wanted in zip(self.gates(), imposed, strict=True)
        ]
        shortcut = x if self.downsample is None else self.downsample(x)
        out = x
        if self.constant is not None:
            out = self.constant[:, None, None].expand(len(x), -1, *shortcut.shape[2:])
            out = self._masked(out, self.first - 1, applied)
        for index, conv in enumerate(self.convolutions(), self.first):
            out = self._masked(conv(out), index, applied)
        found = [part for part in applied if part is not None]
        return torch.relu(out + shortcut), torch.cat(found, dim=1) if found else None

    def _masked(self, x: Tensor, index: int, applied: list[Tensor | None]) -> Tensor:
        """What stands behind a convolution (from 0): a ReLU and a mask, behind the last nothing."""
        if index == len(self.plan.layers):
            return x
        mask = applied[index]
        if mask is None:
            return torch.relu(x)
        whole = nn.functional.pad(mask, (self.plan.layers[index].always_on, 0), value=1.0)
        return torch.relu(x) * whole.to(x.dtype)[:, :, None, None]


def first_convolution(plan: BlockPlan) -> int:
    """Number (from 0) of the first convolution with an input, behind all that keep none."""
    empty = [index for index, layer in enumerate(plan.layers) if not layer.kept]
    return empty[-1] + 2 if empty else 0


class CompactNetwork(PlannedNetwork):
    """Residual blocks with folded batch norms and the channels of a plan.

    Args:
        plan: the shape; weights are to be loaded or filled in afterwards.
    """

    bundle_format = FORMAT
    plan_type = CompactPlan
    plain: ClassVar[Any] = plain_module
    plan: CompactPlan

    def __init__(self, plan: CompactPlan) -> None:
        super().__init__(plan)
        kernel, stride, padding = STEMS[plan.stem]
        self.stem = nn.Conv2d(3, plan.width, kernel, stride, padding)
        self.pool = stem_pool(plan.stem) or nn.Identity()
        self.blocks = nn.ModuleList(CompactBlock(block) for block in plan.blocks)
        self.requires_grad_(False)
        self.eval()

    def maps(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps of the last block (N, D, h, w) and the masks (N, dependent) that were applied."""
        pixels = self.normalised(images).to(self.stem.weight.dtype)
        x = self.pool(torch.relu(self.stem(pixels)))
        imposed: list[Tensor | None] = [None] * len(self.blocks)
        if masks is not None:
            imposed = [*torch.split(masks, [b.dependent for b in self.plan.blocks], dim=1)]
        applied = []
        for block, mask in zip(self.blocks, imposed, strict=True):
            x, found = block(x, mask)
            if found is not None:
                applied.append(found)
        return x, torch.cat(applied, dim=1) if applied else x.new_zeros(x.shape[0], 0)

    def compact_blocks(self) -> list[CompactBlock]:
        """The blocks in order."""
        return [cast(CompactBlock, block) for block in self.blocks]


class CompactEncoder(Encoder):
    """A compact network where an encoder is expected: for features, accuracy and cost.

    Has the one branch "gated" if channels depend on the image, else the one branch "dense".

    Masks and costs are those of the kept channels of each layer, in the plan's order.

    Args:
        network: gated, static or dense.
    """

    def __init__(self, network: PlannedNetwork) -> None:
        super().__init__()
        self.network = network
        self.branches = ("gated",) if network.plan.dependent else ("dense",)
        self.image_size = network.plan.image_size
        self.feature_dimensions = network.plan.feature_dimensions

    def maps(
        self,
        images: Tensor,
        branch: Branch,
        generator: Noise = None,  # noqa: ARG002  there is no training
        masks: Forced = None,
    ) -> Masked:
        """Maps of the last block; forced masks are of the kept channels, (N or 1, kept) a layer."""
        return self._told(*self.network.maps(images, self._imposed(branch, masks)))

    def forward(
        self,
        images: Tensor,
        branch: Branch,
        generator: Noise = None,  # noqa: ARG002  there is no training
        masks: Forced = None,
    ) -> Encoding:
        """Features as the network has them; masks as those of :meth:`maps`."""
        return Encoding(*self._told(*self.network.decide(images, self._imposed(branch, masks))))

    def _imposed(self, branch: Branch, masks: Forced) -> Tensor | None:
        """The network's masks, of those of the kept channels."""
        self.check_branch(branch)
        if masks is None:
            return None
        layers = self.network.plan.layers
        parts = [m[:, layer.always_on :] for m, layer in zip(masks, layers, strict=True)]
        return torch.cat(parts, dim=1)

    def _told(self, x: Tensor, decided: Tensor) -> Masked:
        """What a network gives, with masks of the kept channels; without any where none depends."""
        layers = self.network.plan.layers
        if not self.network.plan.dependent:
            return x, (), ()
        parts = list(torch.split(decided, [layer.dependent for layer in layers], dim=1))
        applied = tuple(
            torch.nn.functional.pad(part.expand(len(x), -1), (layer.always_on, 0), value=1.0)
            for part, layer in zip(parts, layers, strict=True)
        )
        return x, applied, tuple(mask > 0 for mask in applied)

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of stem and blocks for one square image, kept channels only."""
        return self.network.plan.cost(image_size)
