"""What a network costs in multiply-accumulates, dense and with channel masks.

The thesis' "FLOPs" are multiply-accumulates of convolutions: stem, blocks, downsample and
gates. Batch norm, ReLU and pooling are free. Code says ``macs``.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.collectives import loss_average

_Function = TypeVar("_Function", bound=Callable[..., Tensor])
_Count = TypeVar("_Count", int, np.ndarray)


def _constant(function: _Function) -> _Function:
    """The function, whose result the compiler takes for a constant.

    All that ``torch.compiler.assume_constant_result`` does, but for loading the compiler: over a
    second, for programs that compile nothing.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@dataclass(frozen=True)
class BlockCost:
    """Cost of the channels that one mask switches, in a residual block.

    Args:
        name: of the block, "layer1.0", or of its layer where several have masks, "layer1.0.conv2".
        channels: the length of the mask.
        macs_per_channel: of one channel with what no mask switches: of a basic block its row of the
            first convolution and its column of the second, 9 H W (C_in + C_out).
        shortcut: of the 1x1 downsample convolution, 0 for an identity shortcut.
        gate: of the gate that decides the mask.
        macs_per_pair: of one channel with one of the mask before: 9 H W where a 3x3 convolution
            stands between two masks.
    """

    name: str
    channels: int
    macs_per_channel: int
    shortcut: int
    gate: int
    macs_per_pair: int = 0


def residual_costs(
    name: str,
    convolutions: Sequence[tuple[int, int]],
    channels: Sequence[int],
    shortcut: int,
    gates: Sequence[int],
) -> list[BlockCost]:
    """Costs of a residual block's masks: one behind each of its convolutions but the last.

    Args:
        name: of the block.
        convolutions: kernel's side and pixels of the output map of each.
        channels: of the block's input, of each mask, and of its output.
        shortcut: MACs of its downsample convolution.
        gates: MACs of the gate of each mask.
    """
    prices = [kernel**2 * pixels for kernel, pixels in convolutions]
    last = len(gates) - 1
    return [
        BlockCost(
            name=layer_name(name, index, len(gates)),
            channels=channels[index + 1],
            macs_per_channel=(index == 0) * prices[0] * channels[0]
            + (index == last) * prices[-1] * channels[-1],
            shortcut=shortcut if index == 0 else 0,
            gate=gate,
            macs_per_pair=prices[index] if index else 0,
        )
        for index, gate in enumerate(gates)
    ]


def layer_name(block: str, index: int, masks: int) -> str:
    """What the mask behind a block's convolution (from 0) is called: the block, if it is alone."""
    return block if masks == 1 else f"{block}.conv{index + 1}"


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a masked network for one image of a given size; a block here is a mask."""

    stem: int
    blocks: tuple[BlockCost, ...]

    @property
    def dense(self) -> int:
        """MACs of the network without gates, every channel computed."""
        return self.at([block.channels for block in self.blocks])

    @property
    def fixed(self) -> int:
        """MACs that no mask can save: stem, downsample and gates."""
        return self.stem + sum(block.shortcut + block.gate for block in self.blocks)

    @property
    def smallest_ratio(self) -> float:
        """Cost with every channel closed over the dense cost: the reachable minimum."""
        return self.fixed / self.dense

    def at(self, channels: Sequence[_Count]) -> _Count:
        """MACs of a network with so many channels and without gates.

        Args:
            channels: behind each mask, a number or, for several networks, an array of int64.
        """
        macs = channels[0] * 0 + self.stem
        before = channels[0] * 0
        for block, count in zip(self.blocks, channels, strict=True):
            price = before * block.macs_per_pair + block.macs_per_channel
            macs = macs + count * price + block.shortcut
            before = count
        return macs

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
        if not active.requires_grad:
            active = active.double()
        terms = self._with_pairs(active)
        return terms @ self._prices(active.device, active.dtype, 1) + self.fixed

    def ratio(self, masks: Sequence[Tensor]) -> Tensor:
        """Batch mean of the masked over the dense cost, sum F_real / sum F_orig, a scalar."""
        active = torch.stack([mask.sum(dim=1) for mask in masks], dim=1)
        terms = loss_average(self._with_pairs(active).mean(dim=0))
        return terms @ self._prices(terms.device, terms.dtype, self.dense) + self.smallest_ratio

    def _with_pairs(self, active: Tensor) -> Tensor:
        """Open channels (N, L), and after them their products for masks that have such a price."""
        places = [index for index, block in enumerate(self.blocks) if block.macs_per_pair]
        if not places:
            return active
        before = [index - 1 for index in places]
        return torch.cat([active, active[:, places] * active[:, before]], dim=1)

    def _prices(self, device: torch.device, dtype: torch.dtype, unit: int) -> Tensor:
        """What :meth:`_with_pairs` is multiplied by, in units of so many MACs."""
        prices = [block.macs_per_channel for block in self.blocks]
        prices += [block.macs_per_pair for block in self.blocks if block.macs_per_pair]
        return _on_device(tuple(price / unit for price in prices), device, dtype)


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
