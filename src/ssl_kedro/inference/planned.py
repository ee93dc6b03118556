"""What engines, comparisons and exports know of a network that a plan describes.

Masks are one tensor (N, dependent): what depends on the image of all blocks side by side, in the
order of the plan. :meth:`~ssl_kedro.inference.plan.NetworkPlan.dependent_masks` makes it of the
encoder's masks.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from ssl_kedro.encoders.bundled import INPUT, Bundled, Normalised
from ssl_kedro.encoders.folding import Layer
from ssl_kedro.gating.gate import global_average
from ssl_kedro.inference.plan import NetworkPlan

N = TypeVar("N", bound="PlannedNetwork")


class CompactGate(nn.Module):
    """Gate with its batch norm folded in; logits of the dependent channels only."""

    def __init__(self, in_channels: int, hidden: int, dependent: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(in_channels, hidden)
        self.expand = nn.Linear(hidden, dependent, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, dependent) of a unit's input (N, C_in, H, W)."""
        logits: Tensor = self.expand(torch.relu(self.squeeze(global_average(x))))
        return logits


def decided(gate: CompactGate, x: Tensor, wanted: Tensor | None) -> Tensor:
    """A gate's mask (N, dependent), or the one that is wanted."""
    logits: Tensor = gate(x)
    if wanted is not None:
        # Imposed by moving logits rather than by passing the gate over: a network under
        # imposed masks takes the time that it takes with its own.
        logits = logits.clamp(-1, 1) + (4 * wanted.to(logits.dtype) - 2)
    return (logits >= 0).to(x.dtype)


class Planned(Bundled):
    """What a bundle says of a network that a plan describes, and that is built from it."""

    plan: NetworkPlan
    plan_type: ClassVar[type[NetworkPlan]]

    def description(self) -> dict[str, Any]:
        """The plan, and what readers of the file may want to know."""
        notes = {"feature_dimensions": self.plan.feature_dimensions, "input": INPUT}
        return dataclasses.asdict(self.plan) | notes  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """Without memory: what a damaged plan asks for is only checked against the file."""
        make: Any = cls
        with torch.device("meta"):
            return make(cls.plan_type.from_values(values))  # type: ignore[no-any-return]


class PlannedNetwork(Planned, Normalised, ABC):
    """Images in, features out, by plain layers without what the network does not compute.

    ``plain`` is the module that computes one without gates with PyTorch alone.

    Args:
        plan: the shape; weights are to be loaded or filled in afterwards.
    """

    bundle_name = "compact network"
    plain: ClassVar[Any]

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.plan = plan

    @abstractmethod
    def maps(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps of the last block (N, D, h, w) and the masks (N, dependent) that were applied."""

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Features (N, D).

        Args:
            images: (N, 3, H, W), uint8 or float in [0, 1].
            masks: (N or 1, dependent), imposed instead of what the gates decide.
        """
        return self.decide(images, masks)[0]

    def decide(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (N, D) and the masks (N, dependent) that were applied."""
        maps, applied = self.maps(images, masks)
        return global_average(maps), applied


def filled(network: N, layers: Mapping[str, Layer], tensors: Mapping[str, Tensor]) -> N:
    """A network with copies of weights on the CPU.

    Args:
        network: made without memory, so that no weights were drawn from the global generator.
        layers: by name.
        tensors: all others, by name.
    """
    given = dict(tensors)
    for name, layer in layers.items():
        given[f"{name}.weight"], given[f"{name}.bias"] = layer
    own = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in given.items()
    }
    network.load_state_dict(own, assign=True)
    return network.requires_grad_(False)
