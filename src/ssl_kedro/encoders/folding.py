"""A branch of an encoder as plain weights, batch norms folded in: what compaction works with.

A backbone that can be compacted is a stem and a row of gated residual units: basic ones,
relu(conv2(m relu(conv1(x))) + shortcut(x)) with 3x3 convolutions and the mask m of a gate, or
bottlenecks, relu(conv3(m' relu(conv2(m relu(conv1(x))))) + shortcut(x)) with 1x1, 3x3 and 1x1.
Features are the mean over the last map.
"""

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ssl_kedro.gating.gate import ChannelGate, Gate

Stem = Literal["cifar", "cifar_pad1", "imagenet", "imagenet_same"]
# Kernel side, stride and padding of a stem's convolution.
STEMS: dict[Stem, tuple[int, int, int]] = {
    "cifar": (3, 1, 2),
    "cifar_pad1": (3, 1, 1),
    "imagenet": (7, 2, 3),
    "imagenet_same": (7, 2, 3),
}
# Kernels of a residual unit's convolutions, by how many masks it has.
KERNELS: dict[int, tuple[int, ...]] = {1: (3, 3), 2: (1, 3, 1)}


def stem_pool(stem: Stem) -> nn.MaxPool2d | None:
    """The pooling behind a stem's convolution, 3x3 of stride 2; None where there is none."""
    if stem == "imagenet_same":
        return SameMaxPool()
    return nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else None


class SameMaxPool(nn.MaxPool2d):
    """3x3 of stride 2 on values of at least 0, padded as TensorFlow does: as much as is needed."""

    # How columns go on: "constant" = zeros, "circular" = with those of the other side.
    columns = "constant"

    def __init__(self) -> None:
        super().__init__(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h / 2, w / 2), rounded up."""
        x = nn.functional.pad(x, (0, 0, *same_padding(x.shape[2])))
        x = nn.functional.pad(x, (*same_padding(x.shape[3]), 0, 0), mode=self.columns)
        return nn.functional.max_pool2d(x, 3, 2)


def same_padding(side: int) -> tuple[int, int]:
    """Zeros before and after a side that TensorFlow pools by 3 in steps of 2."""
    needed = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
    return needed // 2, needed - needed // 2


class Layer(NamedTuple):
    """Weight (C_out, ...) and bias (C_out,) of a convolution or a linear layer, float32."""

    weight: Tensor
    bias: Tensor


class FoldedGate(NamedTuple):
    """A gate: hidden layer (H, C_in), then one row a channel, (C_l, H), without bias."""

    squeeze: Layer
    expand: Tensor


@dataclass(frozen=True)
class FoldedUnit:
    """One gated residual unit.

    Args:
        name: as in the encoder, "layer1.0".
        stride: of the first 3x3 convolution and of the shortcut.
        layers: convolutions, (C_l, C_l-1, k, k), with the kernels of :data:`KERNELS`.
        shortcut: (C_out, C_in, 1, 1); None = the identity.
        gates: of the channels behind each convolution but the last; None where no image decides
            which of them are computed.

    Raises:
        ValueError: other convolutions, or some that do not follow each other.
    """

    name: str
    stride: int
    layers: tuple[Layer, ...]
    shortcut: Layer | None
    gates: tuple[FoldedGate | None, ...]

    def __post_init__(self) -> None:
        shapes = [tuple(layer.weight.shape) for layer in self.layers]
        kernels = KERNELS.get(len(self.gates), ())
        follow = all(a[0] == b[1] for a, b in itertools.pairwise(shapes))
        if not follow or [shape[2:] for shape in shapes] != [(side, side) for side in kernels]:
            raise ValueError(
                f"unit {self.name}: expected two 3x3 convolutions and a gate, or 1x1, 3x3, 1x1 and "
                f"two gates, each reading the channels that the one before gives; found {shapes} "
                f"and {len(self.gates)} gates"
            )

    @property
    def channels(self) -> list[int]:
        """Lengths of the unit's masks."""
        return [len(layer.bias) for layer in self.layers[:-1]]


@dataclass(frozen=True)
class FoldedEncoder:
    """One branch of an encoder.

    Args:
        stem: kind of its first convolution; see :data:`STEMS`.
        first: the stem's convolution, (width, 3, k, k), before a ReLU.
        units: in order.
        pixel_mean: (1, 3, 1, 1), in [0, 1].
        pixel_std: likewise.
        image_size: side in px of the images it is made for.
    """

    stem: Stem
    first: Layer
    units: tuple[FoldedUnit, ...]
    pixel_mean: Tensor
    pixel_std: Tensor
    image_size: int


@torch.no_grad()
def folded(layer: nn.Module, norm: nn.Module) -> Layer:
    """Weight and bias that do what a layer and then its norm in evaluation mode do.

    In float64, so that the fold itself adds no error.

    Raises:
        TypeError: not a layer without bias with a batch norm behind it.
        ValueError: the norm keeps no running statistics.
    """
    if not isinstance(layer, nn.Conv2d | nn.Linear) or layer.bias is not None:
        raise TypeError(f"expected a layer without bias to fold into, found {layer}")
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        raise TypeError(f"expected a batch norm to fold, found {type(norm).__name__}")
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError(
            "a batch norm without running statistics cannot be folded; train the encoder with "
            "track_running_stats"
        )
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    weight = layer.weight.double() * scale.view(-1, *(1 for _ in layer.weight.shape[1:]))
    return Layer(weight.float(), (norm.bias.double() - mean.double() * scale).float())


def folded_gate(gate: Gate | None) -> FoldedGate | None:
    """A gate with its batch norm folded in; None for none, or for one that sees no image."""
    if not isinstance(gate, ChannelGate):
        return None
    return FoldedGate(folded(gate.squeeze, gate.norm), gate.expand.weight.detach())
