"""How a training step is computed, apart from its precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from ssl_kedro.core.config import Config, Range

MemoryFormat = Literal["channels_last", "contiguous"]
# Steps that a GPU may be ahead of the check for numbers that are not finite: enough to keep it
# busy, few enough that a diverged training ends at once.
DEVICE_LAG = 8


@dataclass(frozen=True)
class StepOptions(Config):
    """How a step is computed; results stay the same up to rounding.

    Args:
        memory_format: order of the maps' and kernels' numbers in memory.
        compiled: forward and backward pass through ``torch.compile``.
        recorded: the step is recorded as a CUDA graph and replayed. On a CPU the same function
            runs on the same fixed tensors, without a graph.
        lag: steps between a step and the moment that its finiteness is read. 0 waits for it
            before the weights are touched; else the device itself leaves all as it was before
            the first step that is not finite. None = 0 on a CPU, 8 on a GPU.
    """

    memory_format: MemoryFormat = "channels_last"
    compiled: bool = False
    recorded: bool = False
    lag: Annotated[int, Range(at_least=0)] | None = None

    @property
    def layout(self) -> torch.memory_format:
        """The memory format as torch names it."""
        last = self.memory_format == "channels_last"
        return torch.channels_last if last else torch.contiguous_format

    def lag_on(self, device: torch.device) -> int:
        """Steps between a step and the reading of its finiteness, on one device."""
        if self.lag is not None:
            return max(1, self.lag) if self.recorded else self.lag
        return DEVICE_LAG if device.type == "cuda" or self.recorded else 0
