"""SimSiam (Chen & He 2021): two views, a predictor, a stopped gradient."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.encoders.base import Branch
from ssl_kedro.losses.cosine import negative_cosine
from ssl_kedro.methods.base import ExpanderConfig, Loss, TwoViewMethod, Views, expander
from ssl_kedro.methods.heads import two_layers


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
    options: SimSiamOptions
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")

    def add_heads(self) -> None:
        """Projector and predictor."""
        config = self.config
        self.projector = nn.Sequential(
            expander(self.encoder.feature_dimensions, config.expander),
            nn.BatchNorm1d(config.expander.output, affine=False),
        )
        narrow = self.options.bottleneck * config.expander.output
        self.predictor = predictor(config.expander, max(2, round(narrow)))

    def embedded(self, features: Tensor) -> Tensor:
        """Features through the projector."""
        embedding: Tensor = self.projector(features)
        return embedding

    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """D(p_1, z_2) / 2 + D(p_2, z_1) / 2."""
        p_1, p_2 = self.predictor(z_1), self.predictor(z_2)
        with torch.autocast(views[0].device.type, enabled=False):
            similarity = negative_cosine(p_1.float(), z_2.float())
            loss = (similarity + negative_cosine(p_2.float(), z_1.float())) / 2
        return loss, {"similarity": -loss.detach()}

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """The predictor's, unless switched off."""
        return list(self.predictor.parameters()) if self.options.constant_predictor else []


def predictor(config: ExpanderConfig, hidden: int) -> nn.Sequential:
    """Embedding -> prediction of the other embedding, by two layers."""
    return two_layers(config.output, hidden, config.output)
