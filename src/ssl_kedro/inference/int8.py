"""A compact network in int8: signed weights, unsigned inputs of convolutions, float gates.

Weights have a scale for each output channel, inputs one for each map, so that 255 is the largest
value that calibration images gave. All of these inputs follow a ReLU, so that 0 is 0. Pixels are
bytes already: their normalisation is part of the stem. Sums of a convolution are integers::

    real = scale[o] * input_scale * sum(weight * input) + bias[o]

The kernel computes it (:class:`~ssl_kedro.inference.native.kernel.NativeNetwork`); what blocks
add up it keeps as float16, and gates it decides in float32.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.core.errors import UserError
from ssl_kedro.encoders.bundled import INPUT, Bundled
from ssl_kedro.encoders.folding import STEMS
from ssl_kedro.inference.network import CompactBlock, CompactGate, CompactNetwork
from ssl_kedro.inference.plan import FORMAT, BlockPlan, CompactPlan, plan_from_json

_LEVELS, _LARGEST_WEIGHT = 255, 127


class CalibrationError(UserError, ValueError):
    """Images that no scale can be taken from."""


class Int8Layer(nn.Module):
    """Weights of a convolution as integers.

    Args:
        shape: of the weights, (out, in, kernel, kernel).
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(shape[0]))
        self.register_buffer("bias", torch.zeros(shape[0]))

    def quantise(self, weight: Tensor, bias: Tensor) -> None:
        """Take weights (out, in, kernel, kernel) and biases (out,) in float."""
        if weight.numel():
            largest = weight.abs().amax(dim=(1, 2, 3))
            self.scale = torch.where(largest > 0, largest / _LARGEST_WEIGHT, 1.0).float()
            self.weight = (weight / self.scale[:, None, None, None]).round().to(torch.int8)
        self.bias = bias.detach().clone().float()


class Int8Block(nn.Module):
    """Layers of a block, and what 1 stands for in its input and between its convolutions."""

    input_scale: Tensor
    inner_scale: Tensor

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        kept = len(plan.kept)
        self.conv1 = Int8Layer(kept, plan.in_channels, 3, 3)
        self.conv2 = Int8Layer(plan.out_channels, kept, 3, 3)
        self.downsample: Int8Layer | None = None
        if plan.downsample:
            self.downsample = Int8Layer(plan.out_channels, plan.in_channels, 1, 1)
        self.gate: CompactGate | None = None
        if plan.dependent:
            self.gate = CompactGate(plan.in_channels, plan.hidden, plan.dependent)
        self.register_buffer("input_scale", torch.ones(()))
        self.register_buffer("inner_scale", torch.ones(()))

    def quantise(self, block: CompactBlock, input_scale: float, inner_scale: float) -> None:
        """Take a block's weights; scales are those of the maps."""
        self.input_scale = torch.tensor(input_scale)
        self.inner_scale = torch.tensor(inner_scale)
        if block.conv1 is None or block.conv2 is None:
            self.conv2.bias = cast(Tensor, block.constant).detach().clone()
        else:
            self.conv1.quantise(block.conv1.weight, cast(Tensor, block.conv1.bias))
            self.conv2.quantise(block.conv2.weight, cast(Tensor, block.conv2.bias))
        if self.downsample is not None and block.downsample is not None:
            self.downsample.quantise(block.downsample.weight, cast(Tensor, block.downsample.bias))
        if self.gate is not None and block.gate is not None:
            self.gate.load_state_dict(block.gate.state_dict())


class Int8Network(Bundled):
    """Weights and scales of a compact network in int8.

    Attributes:
        stem: its weights take bytes of pixels.
        pixel_levels: bytes (3,) of a pixel that normalisation makes 0, with which images are
            padded.

    Args:
        plan: the shape; weights are to be loaded or filled in afterwards.
    """

    bundle_format = "ssl_kedro compact_int8_resnet18 v1"
    bundle_name = "compact network in int8"
    pixel_levels: Tensor

    def __init__(self, plan: CompactPlan) -> None:
        super().__init__()
        self.plan = plan
        kernel = STEMS[plan.stem][0]
        self.stem = Int8Layer(plan.width, 3, kernel, kernel)
        self.blocks = nn.ModuleList(Int8Block(block) for block in plan.blocks)
        self.register_buffer("pixel_levels", torch.zeros(3, dtype=torch.uint8))
        self.requires_grad_(False)
        self.eval()

    def description(self) -> dict[str, Any]:
        """The plan, and what readers of the file may want to know."""
        notes = {"feature_dimensions": self.plan.feature_dimensions, "input": INPUT}
        return dataclasses.asdict(self.plan) | notes

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """Without memory: what a damaged plan asks for is only checked against the file."""
        with torch.device("meta"):
            return cls(plan_from_json({**values, "format": FORMAT}))

    def int8_blocks(self) -> list[Int8Block]:
        """The blocks in order."""
        return [cast(Int8Block, block) for block in self.blocks]


@torch.no_grad()
def int8_network(network: CompactNetwork, images: np.ndarray, batch_size: int = 64) -> Int8Network:
    """Post-training quantisation: largest weights and largest values of maps.

    Args:
        network: gated, static or dense; left as it was.
        images: that it is calibrated on, uint8 (N, 3, H, W), e.g. 300 training images; its gates
            decide on them.
        batch_size: of the passes over them.

    Raises:
        CalibrationError: no images, or maps that are not finite.
    """
    inputs, inner = _largest(network, images, batch_size)
    made = Int8Network(network.plan)
    mean, std = network.pixel_mean.double(), network.pixel_std.double()
    weight, level = network.stem.weight.double(), _LEVELS * mean
    made.pixel_levels = level.flatten().round().clamp(0, _LEVELS).to(torch.uint8)
    made.stem.quantise(weight / (_LEVELS * std), cast(Tensor, network.stem.bias))
    # What the mean takes away, with the weights as they are rounded.
    taken = (made.stem.weight.double() * level).sum(dim=(1, 2, 3)) * made.stem.scale.double()
    made.stem.bias = (made.stem.bias.double() - taken).float()
    for block, source, first, second in zip(
        made.int8_blocks(), network.compact_blocks(), inputs, inner, strict=True
    ):
        block.quantise(source, first, second)
    return made.requires_grad_(False)


def _largest(
    network: CompactNetwork, images: np.ndarray, batch_size: int
) -> tuple[list[float], list[float]]:
    """Scales of the input of each block, and of what lies between its convolutions."""
    if not len(images):
        raise CalibrationError("expected at least one image to calibrate on, found none")
    with _watched(network) as found:
        for start in range(0, len(images), batch_size):
            network(torch.from_numpy(np.array(images[start : start + batch_size])))
    count = len(network.plan.blocks)
    scales = [found.get(("block", i), 0.0) / _LEVELS or 1.0 for i in range(count)]
    inner = [found.get(("inner", i), 0.0) / _LEVELS or 1.0 for i in range(count)]
    if not np.isfinite(scales + inner).all():
        raise CalibrationError(
            "the network gives values that are not finite for the calibration images; quantise a "
            "network that works"
        )
    return scales, inner


@contextmanager
def _watched(network: CompactNetwork) -> Iterator[dict[tuple[str, int], float]]:
    """Largest values of maps, filled in while the network runs."""
    found: dict[tuple[str, int], float] = {}

    def watch(key: tuple[str, int], module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[key] = float(np.maximum(found.get(key, 0.0), float(inputs[0].max())))

        return module.register_forward_pre_hook(note)

    handles = []
    for index, block in enumerate(network.compact_blocks()):
        handles.append(watch(("block", index), block))
        if block.conv2 is not None:
            handles.append(watch(("inner", index), block.conv2))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
