"""The shape of a compact network: which channels are kept, in which order, and who decides.

Plain values that go to JSON and back; the weights stand beside them as named tensors.
"""

import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ssl_kedro.core.config import restored
from ssl_kedro.encoders.base import SIDE
from ssl_kedro.encoders.folding import KERNELS, STEMS, Stem, stem_pool
from ssl_kedro.gating.cost import BlockCost, NetworkCost, residual_costs

FORMAT = "ssl_kedro compact_resnet18 v1"


class PlanError(ValueError):
    """A plan that contradicts itself, or that this version cannot read."""


@dataclass(frozen=True)
class LayerPlan:
    """What a mask of the encoder switches.

    In a residual block these are channels behind a convolution, all convolutions but the last; in a
    transformer heads or hidden units of an MLP.

    Args:
        name: the encoder's name of the mask, e.g. "layer1.0" or "blocks.0.attn".
        channels: that the encoder had.
        kept: which of them are left, in the order of the compact weights: always on first,
            then dependent, ascending in each part.
        always_on: how many of ``kept`` are computed for every image.
        hidden: width of the gate's hidden layer; 0 without a gate, where nothing depends.
    """

    name: str
    channels: int
    kept: tuple[int, ...]
    always_on: int
    hidden: int

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise PlanError(f"block {self.name}: expected at least 1 channel")
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
class BlockPlan:
    """One residual block after compaction.

    Args:
        in_channels: of the block's input.
        out_channels: of its output.
        stride: of its first 3x3 convolution and of the downsample.
        downsample: whether the shortcut is a 1x1 convolution rather than the identity.
        layers: one between the two convolutions of a basic block, two in a bottleneck.
    """

    in_channels: int
    out_channels: int
    stride: int
    downsample: bool
    layers: tuple[LayerPlan, ...]

    def __post_init__(self) -> None:
        if len(self.layers) not in KERNELS:
            raise PlanError(f"expected blocks of 1 or 2 inner layers, found {len(self.layers)}")
        if min(self.in_channels, self.out_channels, self.stride) < 1:
            raise PlanError(f"block {self.name}: expected channels and stride to be at least 1")
        if not self.downsample and (self.in_channels != self.out_channels or self.stride != 1):
            raise PlanError(
                f"block {self.name}: an identity shortcut from {self.in_channels} to "
                f"{self.out_channels} channels at stride {self.stride} is impossible"
            )

    @property
    def name(self) -> str:
        """The encoder's name of it, "layer1.0"."""
        name = self.layers[0].name
        return name if len(self.layers) == 1 else name.rpartition(".")[0]

    @property
    def kernels(self) -> tuple[int, ...]:
        """Sides of its convolutions' kernels."""
        return KERNELS[len(self.layers)]

    @property
    def strides(self) -> tuple[int, ...]:
        """Of its convolutions."""
        first = self.kernels.index(3)
        return tuple(self.stride if i == first else 1 for i in range(len(self.kernels)))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the input, kept ones of each layer, channels of the output."""
        inner = (len(layer.kept) for layer in self.layers)
        return (self.in_channels, *inner, self.out_channels)

    @property
    def dependent(self) -> int:
        """How many kept channels its gates decide."""
        return sum(layer.dependent for layer in self.layers)


class NetworkPlan(ABC):
    """What plans of all kinds of networks tell; ``image_size`` is a side in px."""

    image_size: int

    @property
    @abstractmethod
    def feature_dimensions(self) -> int:
        """Length of a feature vector."""

    @property
    @abstractmethod
    def layers(self) -> tuple[LayerPlan, ...]:
        """Those of all blocks: one for each mask of the encoder."""

    @abstractmethod
    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices with the kept channels only, gates included, for one square image.

        Args:
            image_size: side in px; None = that of the training images.
        """

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The plan that ``dataclasses.asdict`` and JSON made these of.

        Args:
            values: others among them are not looked at.

        Raises:
            PlanError: values are missing or contradict each other.
        """
        kind: Any = cls
        known = {field.name: values.get(field.name) for field in dataclasses.fields(kind)}
        try:
            known["blocks"] = [cls.block_values(block) for block in values["blocks"]]
            return restored(kind, known)  # type: ignore[no-any-return]
        except (KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                f"the plan of a compact network is incomplete ({error!r}): export it again"
            ) from error

    @staticmethod
    def block_values(block: Mapping[str, Any]) -> Mapping[str, Any]:
        """A block as it is written today."""
        return block

    @property
    def unread(self) -> frozenset[str]:
        """Names of layers whose channels nothing reads: a later one of the block keeps none."""
        return frozenset()

    @property
    def dependent(self) -> int:
        """Channels that are decided per image, in the whole network."""
        return sum(layer.dependent for layer in self.layers)

    def dependent_masks(self, masks: Sequence[Tensor]) -> Tensor:
        """The dependent channels' part of the encoder's masks, (N, dependent).

        Args:
            masks: one (N, C_l) a layer; what they say of other channels is not read.
        """
        places = [list(layer.kept[layer.always_on :]) for layer in self.layers]
        return torch.cat([m[:, p] for m, p in zip(masks, places, strict=True)], dim=1)

    def encoder_masks(self, masks: Tensor) -> list[Tensor]:
        """The encoder's masks, (N, C_l) a layer, of those of the dependent channels."""
        found = []
        parts = torch.split(masks, [layer.dependent for layer in self.layers], dim=1)
        for layer, part in zip(self.layers, parts, strict=True):
            full = part.new_zeros(len(part), layer.channels)
            full[:, list(layer.kept[: layer.always_on])] = 1
            full[:, list(layer.kept[layer.always_on :])] = part
            found.append(full)
        return found


@dataclass(frozen=True)
class CompactPlan(NetworkPlan):
    """A whole compact network of residual blocks.

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
        """See :class:`NetworkPlan`."""
        return self.blocks[-1].out_channels

    @property
    def unread(self) -> frozenset[str]:
        """See :class:`NetworkPlan`."""
        return frozenset(
            before.name
            for block in self.blocks
            for before, layer in itertools.pairwise(block.layers)
            if not layer.kept
        )

    @property
    def layers(self) -> tuple[LayerPlan, ...]:
        """See :class:`NetworkPlan`."""
        return tuple(layer for block in self.blocks for layer in block.layers)

    @staticmethod
    def block_values(block: Mapping[str, Any]) -> Mapping[str, Any]:
        """A block as it is written today; once it had one layer, whose values were its own."""
        if "layers" in block:
            return block
        layer = [field.name for field in dataclasses.fields(LayerPlan)]
        own = {name: value for name, value in block.items() if name not in layer}
        return own | {"layers": [{name: block[name] for name in layer}]}

    def cost(self, image_size: int | None = None) -> NetworkCost:
        """See :class:`NetworkPlan`."""
        kernel, stride, padding = STEMS[self.stem]
        side = (image_size or self.image_size) + 2 * padding - kernel
        side = side // stride + 1
        stem = side * side * self.width * 3 * kernel**2
        if stem_pool(self.stem):
            side = (side - 1) // 2 + 1
        costs: list[BlockCost] = []
        for block in self.blocks:
            sides = []
            for stride in block.strides:
                side = (side - 1) // stride + 1
                sides.append(side)
            costs += residual_costs(
                block.name,
                [(kernel, side**2) for kernel, side in zip(block.kernels, sides, strict=True)],
                block.widths,
                side**2 * block.in_channels * block.out_channels * block.downsample,
                [layer.hidden * (block.in_channels + layer.dependent) for layer in block.layers],
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
    return CompactPlan.from_values(values)
