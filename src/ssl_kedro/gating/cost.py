"""What a network costs in multiply-accumulates, dense and with channel masks.

The thesis' "FLOPs" are multiply-accumulates of convolutions: stem, blocks, downsample and
gates. Batch norm, ReLU and pooling are free. Code says ``macs``.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ssl_kedro.core.collectives import loss_average

_Function = TypeVar("_Function", bound=Callable[..., Tensor])


def _constant(function: _Function) -> _Function:
    """The function, whose result the compiler takes for a constant.

    All that ``torch.compiler.assume_constant_result`` does, but for loading the compiler: over a
    second, for programs that compile nothing.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@dataclass(frozen=True)
class BlockCost:
    """Cost of one residual block whose inner channels can be masked.

    Args:
        name: the block's name, e.g. "layer1.0".
        channels: inner channels, the length of the block's mask.
        macs_per_channel: of one inner channel: its row of the first convolution and its
            column of the second, 9 H W (C_in + C_out).
        shortcut: of the 1x1 downsample convolution, 0 for an identity shortcut.
        gate: of the gate that decides the mask.
    """

    name: str
    channels: int
    macs_per_channel: int
    shortcut: int
    gate: int


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a masked network for one image of a given size."""

    stem: int
    blocks: tuple[BlockCost, ...]

    @property
    def dense(self) -> int:
        """MACs of the network without gates, every channel computed."""
        return self.stem + sum(
            block.channels * block.macs_per_channel + block.shortcut for block in self.blocks
        )

    @property
    def fixed(self) -> int:
        """MACs that no mask can save: stem, downsample and gates."""
        return self.stem + sum(block.shortcut + block.gate for block in self.blocks)

    @property
    def smallest_ratio(self) -> float:
        """Cost with every channel closed over the dense cost: the reachable minimum."""
        return self.fixed / self.dense

    def masked(self, masks: Sequence[Tensor]) -> Tensor:
        """MACs of each sample under its masks, gates included.

        Args:
            masks: one (N, C_l) tensor a block; 1 = computed. Gradients pass through.

        Returns:
            (N,) MACs, in float64 off the gradient's path and the masks' type on it.

        Raises:
            ValueError: the masks do not fit the blocks.
        """
        if [mask.shape[1] for mask in masks] != [block.channels for block in self.blocks]:
            found = [mask.shape[1] for mask in masks]
            expected = [block.channels for block in self.blocks]
            raise ValueError(f"masks have {found} channels, the network's blocks {expected}")
        active = torch.stack([mask.sum(dim=1) for mask in masks], dim=1)
        prices = _on_device(
            tuple(float(block.macs_per_channel) for block in self.blocks),
            active.device,
            active.dtype,
        )
        if not active.requires_grad:
            active, prices = active.double(), prices.double()
        return active @ prices + self.fixed

    def ratio(self, masks: Sequence[Tensor]) -> Tensor:
        """Batch mean of the masked over the dense cost, sum F_real / sum F_orig, a scalar."""
        dense = self.dense
        shares = tuple(block.macs_per_channel / dense for block in self.blocks)
        prices = _on_device(shares, masks[0].device, masks[0].dtype)
        open_channels = loss_average(torch.stack([mask.sum(dim=1).mean() for mask in masks]))
        return open_channels @ prices + self.smallest_ratio


@_constant
def _on_device(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Constants as a tensor, kept for each device: building it there waits for the device.

    The compiler looks through a cache and would build them in each step.
    """
    return _kept(values, device, dtype)


@functools.cache  # one a network, device and type: few
def _kept(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # a training may be the next to use it
        return torch.tensor(values, dtype=dtype, device=device)


def check_budget(budget: float, cost: NetworkCost) -> None:
    """Refuse a target budget that the network cannot reach.

    Raises:
        ValueError: the budget is not above the cost of stem, downsample and gates alone, or
            not below the dense network's.
    """
    smallest = cost.smallest_ratio
    if not smallest < budget < 1:
        raise ValueError(
            f"budget {budget:g} cannot be met: stem, downsample and gates alone cost "
            f"{smallest:.3f} of the dense network ({cost.fixed:,} of {cost.dense:,} MACs); "
            f"choose a budget above {smallest:.3f} and below 1"
        )
