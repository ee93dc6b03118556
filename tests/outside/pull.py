"""A method as another package would add it: both branches of two views are pulled together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import POSITIVE, Config
from ssl_kedro.encoders.base import Branch
from ssl_kedro.methods.base import TwoViewMethod


@dataclass(frozen=True)
class PullOptions(Config):
    weight: Annotated[float, POSITIVE] = 1.0


class Pull(TwoViewMethod):
    name = "pull"
    options_type = PullOptions
    view_branches: ClassVar[tuple[Branch, Branch]] = ("gated", "dense")

    options: PullOptions

    def objective(
        self, views: tuple[Tensor, Tensor], z_1: Tensor, z_2: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        distance = loss_average((z_1 - z_2).square().mean())
        return self.options.weight * distance, {"distance": distance.detach()}
