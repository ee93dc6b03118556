"""A branch of a vision transformer as plain weights: what compaction works with.

A block is two steps, attention and MLP. Each normalises the tokens without factors of its own,
computes a linear layer, what stands between, and another linear layer, and adds that to them.
Norms' factors and biases are in the first linear layer, factors of layers in the second.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_kedro.encoders.folding import FoldedGate, Layer, folded_gate
from ssl_kedro.encoders.tokens import HEAD, Pooling
from ssl_kedro.gating.gate import Gate


@dataclass(frozen=True)
class FoldedStep:
    """Attention or the MLP of a block.

    Args:
        name: of its mask in the encoder, "blocks.0.attn".
        first: (parts n size, width): of attention queries, keys and values (3 parts) of n heads of
            64 channels, of an MLP n hidden units (1 part, size 1).
        last: (width, n size).
        gate: of the heads or hidden units; None where no image decides which are computed.
    """

    name: str
    first: Layer
    last: Layer
    gate: FoldedGate | None

    @property
    def size(self) -> int:
        """Channels of a head, or 1."""
        return HEAD if self.parts == 3 else 1

    @property
    def parts(self) -> int:
        """Rows of the first layer for each column of the last: 3 of attention, 1 of an MLP."""
        return len(self.first.bias) // self.last.weight.shape[1]

    @property
    def channels(self) -> list[int]:
        """Length of the step's mask."""
        return [self.last.weight.shape[1] // self.size]

    def only(self, kept: list[int]) -> tuple[Layer, Layer]:
        """Both layers of some of the heads or hidden units, in this order."""
        rows = self.parts, self.channels[0], self.size
        weight, bias = self.first.weight.view(*rows, -1), self.first.bias.view(rows)
        first = Layer(weight[:, kept].flatten(0, 2), bias[:, kept].flatten())
        columns = self.last.weight.view(-1, *rows[1:])[:, kept].flatten(1)
        return first, Layer(columns, self.last.bias)


@dataclass(frozen=True)
class FoldedViT:
    """One branch of a vision transformer.

    Args:
        patches: embedding of the patches, (width, 3, patch, patch).
        class_token: (1, 1, width).
        positions: of the class token and a square grid of patches, (1, 1 + s^2, width).
        units: attention and MLP of each block in turn.
        norm: factor and bias (width,) behind all blocks.
        pooling: what features are of the tokens.
        pixel_mean: (1, 3, 1, 1), in [0, 1].
        pixel_std: likewise.
        image_size: side in px of the images it is made for.
    """

    patches: Layer
    class_token: Tensor
    positions: Tensor
    units: tuple[FoldedStep, ...]
    norm: Layer
    pooling: Pooling
    pixel_mean: Tensor
    pixel_std: Tensor
    image_size: int


@torch.no_grad()
def folded_step(
    name: str,
    norm: nn.LayerNorm,
    first: nn.Linear,
    last: nn.Linear,
    factor: Tensor | None,
    gate: Gate | None,
) -> FoldedStep:
    """A step with its norm's factor and bias and its own factor folded, in float64.

    Args:
        name: of its mask.
        norm: before it.
        first: linear layer.
        last: linear layer.
        factor: (width,) that what it adds is multiplied by; None = 1.
        gate: of its mask.
    """
    weight = first.weight.double()
    bias = first.bias.double() + weight @ norm.bias.double()
    scale = torch.ones_like(last.bias).double() if factor is None else factor.double()
    return FoldedStep(
        name,
        Layer((weight * norm.weight.double()).float(), bias.float()),
        Layer(
            (last.weight.double() * scale[:, None]).float(),
            (last.bias.double() * scale).float(),
        ),
        folded_gate(gate),
    )
