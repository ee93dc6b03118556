"""The shape of a compact network: which channels are kept, in which order, and who decides.

Plain values that go to JSON and back; the weights stand beside them as named tensors.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_kedro.core.config import restored
from ssl_kedro.encoders.base import SIDE
from ssl_kedro.encoders.folding import STEMS, Stem
from ssl_kedro.gating.cost import BlockCost, NetworkCost

FORMAT = "ssl_kedro compact_resnet18 v1"


class PlanError(ValueError):
    """A plan that contradicts itself, or that this version cannot read."""


@dataclass(frozen=True)
class BlockPlan:
    """One residual block after compaction.

    Args:
        name: the encoder's name of it, e.g. "layer1.0".
        in_channels: of the block's input.
        out_channels: of its output.
        stride: of the first convolution and of the downsample.
        downsample: whether the shortcut is a 1x1 convolution rather than the identity.
        channels: inner channels that the encoder had.
        kept: which of them are left, in the order of the compact weights: always on first,
            then dependent, ascending in each part.
        always_on: how many of ``kept`` are computed for every image.
        hidden: width of the gate's hidden layer; 0 without a gate, where nothing depends.
    """

    name: str
    in_channels: int
    out_channels: int
    stride: int
    downsample: bool
    channels: int
    kept: tuple[int, ...]
    always_on: int
    hidden: int

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.stride, self.channels) < 1:
            raise PlanError(f"block {self.name}: expected channels and stride to be at least 1")
        if not self.downsample and (self.in_channels != self.out_channels or self.stride != 1):
            raise PlanError(
                f"block {self.name}: an identity shortcut from {self.in_channels} to "
                f"{self.out_channels} channels at stride {self.stride} is impossible"
            )
        if len(set(self.kept)) != len(self.kept) or not all(
            0 <= channel < self.channels for channel in self.kept
        ):
            raise PlanError(
                f"block {self.name}: expected kept channels to be distinct and between 0 and "
                f"{self.channels - 1}, found {list(self.kept)}"
            )
        if not 0 <= self.always_on <= len(self.kept):
            raise PlanError(
                f"block {self.name}: always_on = {self.always_on}: expected 0 to "
                f"{len(self.kept)}, the number of kept channels"
            )
        if (self.hidden > 0) != (self.dependent > 0):
            raise PlanError(
                f"block {self.name}: {self.dependent} channels depend on the image, but the gate "
                f"has {self.hidden} hidden units; expected both to be 0 or neither"
            )

    @property
    def dependent(self) -> int:
        """How many kept channels the gate decides."""
        return len(self.kept) - self.always_on


@dataclass(frozen=True)
class CompactPlan:
    """A whole compact network.

    Args:
        stem: as in :data:`~ssl_kedro.encoders.folding.STEMS`.
        width: channels of the stem.
        image_size: side in px of the images it is made for.
        blocks: in order.
    """

    stem: Stem
    width: int
    image_size: int
    blocks: tuple[BlockPlan, ...]

    def __post_init__(self) -> None:
        sizes = self.width >= 1 and SIDE.contains(self.image_size)
        if self.stem not in STEMS or not sizes or not self.blocks:
            raise PlanError(
                f"stem = {self.stem!r}, width = {self.width}, image_size = {self.image_size}, "
                f"{len(self.blocks)} blocks: expected a stem of {', '.join(STEMS)}, a width of "
                f"at least 1, an image size that is {SIDE}, and a block"
            )
        channels = self.width
        for block in self.blocks:
            if block.in_channels != channels:
                raise PlanError(
                    f"block {block.name} reads {block.in_channels} channels, but what stands "
                    f"before it gives {channels}"
                )
            channels = block.out_channels

    @property
    def feature_dimensions(self) -> int:
        """Length of a feature vector."""
        return self.blocks[-1].out_channels

    @property
    def dependent(self) -> int:
        """Channels that are decided per image, in the whole network."""
        return sum(block.dependent for block in self.blocks)

    def dependent_masks(self, masks: Sequence[Tensor]) -> Tensor:
        """The dependent channels' part of the encoder's masks, (N, dependent).

        Args:
            masks: one (N, C_l) a block; what they say of other channels is not read.
        """
        places = [list(block.kept[block.always_on :]) for block in self.blocks]
        return torch.cat([m[:, p] for m, p in zip(masks, places, strict=True)], dim=1)

    def encoder_masks(self, masks: Tensor) -> list[Tensor]:
        """The encoder's masks, (N, C_l) a block, of those of the dependent channels."""
        found = []
        parts = torch.split(masks, [block.dependent for block in self.blocks], dim=1)
        for block, part in zip(self.blocks, parts, strict=True):
            full = part.new_zeros(len(part), block.channels)
            full[:, list(block.kept[: block.always_on])] = 1
            full[:, list(block.kept[block.always_on :])] = part
            found.append(full)
        return found

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices with the kept channels only, gates included, for one square image.

        Args:
            image_size: side in px; None = that of the training images.
        """
        kernel, stride, padding = STEMS[self.stem]
        side = (image_size or self.image_size) + 2 * padding - kernel
        side = side // stride + 1
        stem = side * side * self.width * 3 * kernel**2
        if self.stem == "imagenet":
            side = (side - 1) // 2 + 1
        costs = []
        for block in self.blocks:
            side = (side - 1) // block.stride + 1
            pixels = side * side
            costs.append(
                BlockCost(
                    name=block.name,
                    channels=len(block.kept),
                    macs_per_channel=9 * pixels * (block.in_channels + block.out_channels),
                    shortcut=pixels * block.in_channels * block.out_channels * block.downsample,
                    gate=block.hidden * (block.in_channels + block.dependent),
                )
            )
        return NetworkCost(stem, tuple(costs))


def plan_from_json(values: Mapping[str, Any]) -> CompactPlan:
    """The plan that ``dataclasses.asdict`` and JSON made of it, with its format.

    Raises:
        PlanError: values are missing, of another version, or contradict each other.
    """
    found = values.get("format") if isinstance(values, Mapping) else None
    if found != FORMAT:
        raise PlanError(
            f"format = {found!r}: expected {FORMAT!r}; the file is not a compact "
            "network, or another version wrote it: export it again"
        )
    known = {field.name: values.get(field.name) for field in dataclasses.fields(CompactPlan)}
    try:
        return restored(CompactPlan, known)
    except (TypeError, AttributeError) as error:
        raise PlanError(
            f"the plan of a compact network is incomplete ({error!r}): export it again"
        ) from error
