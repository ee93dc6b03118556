"""A compact network in int8: signed weights, unsigned inputs of convolutions, float gates.

Weights have a scale for each output channel, inputs of convolutions one for each map, so that 255
is the largest value that calibration images gave. All of these inputs follow a ReLU, so that 0 is
0. Pixels are bytes already: their normalisation is part of the stem. Convolutions sum integers::

    real = scale[o] * input_scale * sum(weight * input) + bias[o]

What blocks add up, bytes would round again and again. It is kept as words of 16 bits, in steps of a
64th of a byte or so, from which the bytes are made in integers as well::

    byte = min(255, (word * factor + 2 ** 14) >> 15)

:class:`~ssl_kedro.inference.native.kernel.NativeNetwork` computes it. Gates decide in float32, with
weights that it keeps in half precision.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.core.errors import UserError
from ssl_kedro.encoders.folding import STEMS
from ssl_kedro.inference.network import CompactBlock, CompactNetwork
from ssl_kedro.inference.plan import BlockPlan, CompactPlan
from ssl_kedro.inference.planned import CompactGate, Planned

_LEVELS, _LARGEST_WEIGHT = 255, 127
# Words for a byte in the map of the largest values; as much again is left above them.
_WORDS, _FACTOR_ONE = 64, 2**15
# Behind names of what each layer of a block has.
_SUFFIXES = ("", "2")


class CalibrationError(UserError, ValueError):
    """Images that no scale can be taken from.

    Cause: int8 was asked for with no images, with images of another size, or for a network
    whose values are not finite.
    Remedy: give some hundred training images (``inference.calibration``).
    """


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
    """Layers of a block, and what numbers stand for.

    Attributes:
        input_factor: bytes of the input for 2^15 words.
        inner_scale: what 1 stands for in the bytes behind the first convolution.
        inner_scale2: the same behind the second one of a bottleneck.
        word: what 1 stands for in the words of the output.
    """

    conv1: Int8Layer
    conv2: Int8Layer
    gate: CompactGate | None
    input_factor: Tensor
    inner_scale: Tensor
    word: Tensor

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.layers = len(plan.layers)
        widths = plan.widths
        for number, kernel in enumerate(plan.kernels, 1):
            given, returned = widths[number - 1 : number + 1]
            self.register_module(f"conv{number}", Int8Layer(returned, given, kernel, kernel))
        self.downsample: Int8Layer | None = None
        if plan.downsample:
            self.downsample = Int8Layer(plan.out_channels, plan.in_channels, 1, 1)
        for layer, behind in zip(plan.layers, _SUFFIXES, strict=False):
            gate = None
            if layer.dependent:
                gate = CompactGate(plan.in_channels, layer.hidden, layer.dependent)
            self.register_module(f"gate{behind}", gate)
            self.register_buffer(f"inner_scale{behind}", torch.ones(()))
        self.register_buffer("input_factor", torch.zeros((), dtype=torch.int16))
        self.register_buffer("word", torch.ones(()))

    def convolutions(self) -> list[Int8Layer]:
        """In order, without the shortcut."""
        numbers = range(1, self.layers + 2)
        return [cast(Int8Layer, self._modules[f"conv{number}"]) for number in numbers]

    def gates(self) -> list[CompactGate | None]:
        """The gate of each layer."""
        found = (self._modules[f"gate{behind}"] for behind in _SUFFIXES[: self.layers])
        return [cast(CompactGate | None, gate) for gate in found]

    def inner_scales(self) -> list[Tensor]:
        """What 1 stands for in the bytes behind each convolution but the last."""
        names = (f"inner_scale{behind}" for behind in _SUFFIXES[: self.layers])
        return [self.get_buffer(name) for name in names]

    def quantise(self, block: CompactBlock) -> None:
        """Take a block's weights."""
        layers = self.convolutions()
        if block.constant is not None:
            layers[block.first - 1].bias = block.constant.detach().clone()
        for layer, conv in zip(layers[block.first :], block.convolutions(), strict=True):
            layer.quantise(conv.weight, cast(Tensor, conv.bias))
        if self.downsample is not None and block.downsample is not None:
            self.downsample.quantise(block.downsample.weight, cast(Tensor, block.downsample.bias))
        for gate, source in zip(self.gates(), block.gates(), strict=True):
            if gate is not None and source is not None:
                gate.load_state_dict(source.state_dict())


class Int8Network(Planned):
    """Weights and scales of a compact network in int8.

    Attributes:
        stem: its weights take bytes of pixels.
        pixel_levels: bytes (3,) of a pixel that normalisation makes 0, with which images are
            padded.
        word: what 1 stands for in the words of the first map.

    Args:
        plan: the shape; weights are to be loaded or filled in afterwards.
    """

    bundle_format = "ssl_kedro compact_int8_resnet18 v1"
    bundle_name = "compact network in int8"
    plan_type = CompactPlan
    plan: CompactPlan
    pixel_levels: Tensor
    word: Tensor

    def __init__(self, plan: CompactPlan) -> None:
        super().__init__()
        self.plan = plan
        kernel = STEMS[plan.stem][0]
        self.stem = Int8Layer(plan.width, 3, kernel, kernel)
        self.blocks = nn.ModuleList(Int8Block(block) for block in plan.blocks)
        self.register_buffer("pixel_levels", torch.zeros(3, dtype=torch.uint8))
        self.register_buffer("word", torch.ones(()))
        self.requires_grad_(False)
        self.eval()

    def int8_blocks(self) -> list[Int8Block]:
        """The blocks in order."""
        return [cast(Int8Block, block) for block in self.blocks]

    def input_scales(self) -> list[Tensor]:
        """What 1 stands for in the bytes of each block's input, float64 scalars."""
        words = [self.word, *(block.word for block in self.int8_blocks())]
        factors = [block.input_factor for block in self.int8_blocks()]
        pairs = zip(words[:-1], factors, strict=True)
        return [word.double() * _FACTOR_ONE / factor for word, factor in pairs]


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
    maps, inner = _largest(network, images, batch_size)
    made = Int8Network(network.plan)
    mean, std = network.pixel_mean.double(), network.pixel_std.double()
    weight, level = network.stem.weight.double(), _LEVELS * mean
    made.pixel_levels = level.flatten().round().clamp(0, _LEVELS).to(torch.uint8)
    made.stem.quantise(weight / (_LEVELS * std), cast(Tensor, network.stem.bias))
    # What the mean takes away, with the weights as they are rounded.
    taken = (made.stem.weight.double() * level).sum(dim=(1, 2, 3)) * made.stem.scale.double()
    made.stem.bias = (made.stem.bias.double() - taken).float()
    for block, source, largest in zip(
        made.int8_blocks(), network.compact_blocks(), inner, strict=True
    ):
        block.quantise(source)
        for scale, value in zip(block.inner_scales(), largest, strict=False):
            scale.fill_(value / _LEVELS or 1.0)
    _set_words(made, maps)
    return made.requires_grad_(False)


def _set_words(made: Int8Network, maps: list[float]) -> None:
    """Words of maps and factors of inputs; one word for maps that are added to each other.

    Args:
        made: without them.
        maps: largest values of the first map and of the output of each block.
    """
    start = 0
    blocks = made.int8_blocks()
    for index in range(1, len(maps) + 1):
        if index < len(maps) and blocks[index - 1].downsample is None:
            continue
        largest = max(maps[start:index]) or 1.0
        for place in range(start, index):
            holder = blocks[place - 1] if place else made
            holder.word = torch.tensor(largest / (_LEVELS * _WORDS))
            if place < len(blocks):
                exact = _FACTOR_ONE / _WORDS * largest / (maps[place] or largest)
                factor = min(round(exact), _FACTOR_ONE - 1)
                blocks[place].input_factor = torch.tensor(factor, dtype=torch.int16)
        start = index


def _largest(
    network: CompactNetwork, images: np.ndarray, batch_size: int
) -> tuple[list[float], list[list[float]]]:
    """Largest values of the first map and of each block's output, and of each block's layers."""
    if not len(images):
        raise CalibrationError("expected at least one image to calibrate on, found none")
    count = len(network.plan.blocks)
    maps, inner = np.zeros(count + 1), np.zeros((count, len(_SUFFIXES)))
    with _watched(network, maps, inner):
        for start in range(0, len(images), batch_size):
            network(torch.from_numpy(np.array(images[start : start + batch_size])))
    if not (np.isfinite(maps).all() and np.isfinite(inner).all()):
        raise CalibrationError(
            "the network gives values that are not finite for the calibration images; quantise a "
            "network that works"
        )
    return maps.tolist(), inner.tolist()


@contextmanager
def _watched(network: CompactNetwork, maps: np.ndarray, inner: np.ndarray) -> Iterator[None]:
    """Largest values are filled in while the network runs: of maps, and behind layers."""

    def note(found: np.ndarray, place: tuple[int, ...], values: Tensor) -> None:
        found[place] = np.maximum(found[place], float(values.max()))

    handles = []
    for index, block in enumerate(network.compact_blocks()):
        if index == 0:
            handles.append(block.register_forward_pre_hook(lambda _, x: note(maps, (0,), x[0])))
        place: tuple[int, ...] = (index + 1,)
        handles.append(
            block.register_forward_hook(lambda *values, at=place: note(maps, at, values[2][0]))
        )
        for number, conv in enumerate(block.convolutions(), block.first):
            if number:  # it reads what the layer before it gives
                place = (index, number - 1)
                handles.append(
                    conv.register_forward_pre_hook(lambda _, x, at=place: note(inner, at, x[0]))
                )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
