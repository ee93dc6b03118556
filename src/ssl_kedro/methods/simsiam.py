"""SimSiam (Chen & He 2021): two views, a predictor, a stopped gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch
from ssl_kedro.losses.cosine import negative_cosine
from ssl_kedro.methods.base import (
    ExpanderConfig,
    StepResult,
    TwoViewMethod,
    expander,
    options_of,
    smallest_deviation,
)


@dataclass(frozen=True)
class SimSiamOptions(Config):
    """Parameters of SimSiam.

    Args:
        bottleneck: hidden width of the predictor over the embedding's (1/4 in the paper).
        constant_predictor: keep the predictor's learning rate at its peak (paper, 4.2:
            "the predictor should adapt to the latest representations").
    """

    bottleneck: Annotated[float, Range(above=0, at_most=1)] = 0.25
    constant_predictor: bool = True


class SimSiam(TwoViewMethod):
    """Both views dense; each embedding predicts the other, which is a constant to it.

    The projector is the expander's shape with a batch norm behind it (no affine part), the
    predictor two layers with a bottleneck (Chen & He 2021, 3).
    """

    name = "simsiam"
    options_type = SimSiamOptions
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")

    def add_heads(self) -> None:
        """Projector and predictor."""
        config = self.config
        self.projector = nn.Sequential(
            expander(self.encoder.feature_dimensions, config.expander),
            nn.BatchNorm1d(config.expander.output, affine=False),
        )
        self.options = options_of(config, SimSiamOptions)
        narrow = self.options.bottleneck * config.expander.output
        self.predictor = predictor(config.expander, max(2, round(narrow)))

    def forward(
        self,
        view_1: Tensor,
        view_2: Tensor,
        progress: Progress,
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """D(p_1, z_2) / 2 + D(p_2, z_1) / 2, plus L_G on every gated view."""
        encodings = [
            self.encoder(view, branch, generator)
            for view, branch in zip((view_1, view_2), self.view_branches, strict=True)
        ]
        z_1, z_2 = (self.projector(encoding.features) for encoding in encodings)
        p_1, p_2 = self.predictor(z_1), self.predictor(z_2)
        with torch.autocast(view_1.device.type, enabled=False):
            similarity = negative_cosine(p_1.float(), z_2.float())
            loss = (similarity + negative_cosine(p_2.float(), z_1.float())) / 2
            scalars = {"similarity": -loss.detach()}
            result = self.with_penalty(loss, scalars, encodings, progress)
        result.scalars["embedding_std"] = smallest_deviation([z_1, z_2])
        return result

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """The predictor's, unless switched off."""
        return list(self.predictor.parameters()) if self.options.constant_predictor else []


def predictor(config: ExpanderConfig, hidden: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear: embedding -> prediction of the other embedding."""
    return nn.Sequential(
        nn.Linear(config.output, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, config.output),
    )
