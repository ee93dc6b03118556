"""Nested dual gating: one training whose encoder is used whole, or at any budget.

Dual gating trains one encoder dense and gated, for one budget, and its dense branch pays for the
noise of the gates. Here the channels that a gate may close stand in order
(:mod:`ssl_kedro.encoders.nested_resnet18`), so that nothing is drawn but the budget. Two views go
through the whole network and are compared as in the dense method; further views, fresh ones of the
same images, go through the first channels of each block, as many as a random budget pays for, and
are compared with both. Every pair has the dense method's own loss, with gradients to both sides.

Not in the thesis. Docs/adr/0031 says what was tried.
"""

import math
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch

from ssl_kedro.core.config import WEIGHT, Config, ConfigError, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.encoders.nested_resnet18 import NestedResNet18, nested
from ssl_kedro.methods.base import (
    TRAINED_PASS,
    MethodConfig,
    StepResult,
    TwoViewMethod,
    Views,
    normalised_deviation,
)
from ssl_kedro.methods.vicreg import VICReg, VICRegOptions


@dataclass(frozen=True)
class NestedOptions(Config):
    """Parameters of a nested method.

    Args:
        smallest: budget of the smallest network that is trained, a share of the dense MACs; what
            one channel a block costs where that is more.
        largest: of the largest one beside the whole network. Between them budgets are drawn so
            that their logarithms are even.
        narrow_views: views of an image, besides the two of the whole network, that go through
            networks of such budgets; each has a part of the range for itself.
        weight: of the mean loss of a narrow and a whole view, relative to that of the whole ones.
    """

    smallest: Annotated[float, Range(above=0, below=1)] = 0.12
    largest: Annotated[float, Range(above=0, at_most=1)] = 0.6
    narrow_views: Annotated[int, Range(at_least=1, at_most=16)] = 1
    weight: Annotated[float, WEIGHT] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.largest <= self.smallest:
            raise ConfigError("largest", self.largest, f"more than smallest, {self.smallest}")


class NestedMethod(TwoViewMethod, ABC):
    """A dense method whose encoder serves every budget.

    Mixed in before a method of two dense views, whose embedding and objective it takes. Budgets
    come from the step's generator: alike in all processes, and the same after a restart.
    """

    options: NestedOptions
    # Budgets come from the host, and change the shapes of a step.
    recordable = False
    compilable = False
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")
    encoder: NestedResNet18

    def new_encoder(self, setup: EncoderSetup, config: MethodConfig) -> NestedResNet18:
        """The whole network; a plain ResNet-18's shape will do.

        Raises:
            ConfigError: another architecture, or one channel a block costs more than all budgets.
        """
        shape = setup.config
        if not isinstance(shape, EncoderConfig):
            raise ConfigError("architecture", shape.architecture, "a ResNet, to be cut to budgets")
        options = config.options if isinstance(config.options, NestedOptions) else NestedOptions()
        self.view_count = 2 + options.narrow_views
        encoder = NestedResNet18(
            nested(shape),
            branches=("dense",),
            image_size=setup.image_size,
            pixel_mean=setup.pixel_mean,
            pixel_std=setup.pixel_std,
        )
        self.smallest = max(options.smallest, encoder.smallest_budget)
        if options.largest <= self.smallest:
            least = f"more than {self.smallest:.4f}, what one channel a block costs"
            raise ConfigError("largest", options.largest, least)
        return encoder

    def forward(
        self,
        views: Views,
        progress: Progress,  # noqa: ARG002
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Loss of the two whole views, and of each narrow one with both of them."""
        whole = [self.embedded(self.encoder(view, "dense").features) for view in views[:2]]
        loss, scalars = self.objective(views, *whole)
        budgets = self.drawn_budgets(generator, views[0].device)
        narrow = [
            self.embedded(self.encoder.narrow_features(view, budget))
            for view, budget in zip(views[2:], budgets, strict=True)
        ]
        pairs = [self.objective(views, z, other)[0] for z in narrow for other in whole]
        between = torch.stack(pairs).mean()
        scalars |= {"narrow_loss": between.detach()}
        scalars["embedding_std"] = normalised_deviation(*whole, *narrow)
        return StepResult(loss + self.options.weight * between, scalars)

    def drawn_budgets(
        self, generator: torch.Generator | None, device: torch.device
    ) -> Sequence[float]:
        """A budget for each narrow view, from equal parts of the range of their logarithms."""
        count, span = self.options.narrow_views, self.options.largest / self.smallest
        drawn = torch.rand(count, generator=generator, device=device)
        places = [(index + float(u)) / count for index, u in enumerate(drawn)]
        return [self.smallest * span**place for place in places]

    @torch.no_grad()
    def after_training(self, images: np.ndarray) -> None:
        """Calibrate the encoder; see :class:`~ssl_kedro.methods.base.Method`."""
        self.encoder.calibrate(images)

    @property
    def macs_per_image(self) -> int:
        """Expected over the budgets that are drawn, as if each were met to the MAC."""
        low, high = self.smallest, self.options.largest
        mean = (high - low) / math.log(high / low)
        passes = 2 + self.options.narrow_views * mean
        return round(TRAINED_PASS * passes * self.encoder.cost(self.view_size).dense)


@dataclass(frozen=True)
class VICRegNestedOptions(NestedOptions, VICRegOptions):
    """Parameters of VICReg and of a nested method."""


class Nested(NestedMethod, VICReg):
    """VICReg of two whole views, and of each narrow one with both."""

    name = "nested"
    options_type = VICRegNestedOptions
    options: VICRegNestedOptions
