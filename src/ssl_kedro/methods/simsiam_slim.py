"""Universally slimmable self-supervision in the SimSiam setting, for chapter 5."""

from dataclasses import dataclass

from torch import Tensor, nn

from ssl_kedro.encoders.slimmable_resnet18 import SlimmableResNet18
from ssl_kedro.losses.cosine import negative_cosine
from ssl_kedro.methods.simsiam import SimSiam, SimSiamOptions
from ssl_kedro.methods.slim import SlimmableMethod, SlimOptions


@dataclass(frozen=True)
class SimSiamSlimOptions(SlimOptions, SimSiamOptions):
    """Parameters of SimSiam and of a slimmable method."""


class SimSiamSlim(SlimmableMethod, SimSiam):
    """SimSiam of the widest pass; narrow passes predict its projections; see :class:`Slim`."""

    name = "simsiam_slim"
    options_type = SimSiamSlimOptions
    options: SimSiamSlimOptions
    encoder: SlimmableResNet18

    @property
    def head(self) -> nn.Module:
        """The projector."""
        return self.projector

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Negative cosine, as SimSiam's own."""
        return negative_cosine(prediction, target)
