"""A method as another package would add it: both branches of two views are pulled together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import POSITIVE, Config
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch
from ssl_kedro.methods.base import StepResult, TwoViewMethod, options_of, smallest_deviation


@dataclass(frozen=True)
class PullOptions(Config):
    weight: Annotated[float, POSITIVE] = 1.0


class Pull(TwoViewMethod):
    name = "pull"
    options_type = PullOptions
    view_branches: ClassVar[tuple[Branch, Branch]] = ("gated", "dense")

    def forward(
        self,
        view_1: Tensor,
        view_2: Tensor,
        progress: Progress,
        generator: torch.Generator | None = None,
    ) -> StepResult:
        encodings = [
            self.encoder(view, branch, generator)
            for view, branch in zip((view_1, view_2), self.view_branches, strict=True)
        ]
        near, far = (encoding.features for encoding in encodings)
        distance = loss_average((near - far).square().mean())
        loss = options_of(self.config, PullOptions).weight * distance
        result = self.with_penalty(loss, {"distance": distance.detach()}, encodings, progress)
        result.scalars["embedding_std"] = smallest_deviation([near, far])
        return result
