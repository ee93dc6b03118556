"""What the distilling methods share: a frozen teacher and a thinner student."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import (
    TRAINED_PASS,
    Method,
    MethodConfig,
    StepResult,
    Views,
    normalised_deviation,
)


class FrozenTeacher:
    """A trained encoder that is only asked; not a part of the method's state.

    It is no module: its weights belong in no checkpoint of the student and no optimiser.

    Args:
        encoder: used in evaluation mode, through its dense branch where it has one.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder.eval()
        self.branch: Branch = "dense" if "dense" in encoder.branches else "gated"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """L2-normalised features (N, D) in float32."""
        self.encoder.to(images.device)
        features = self.encoder(images, self.branch).features
        return torch.nn.functional.normalize(features.float(), dim=1)


class DistillationMethod(Method):
    """A dense student of any shape that learns from a teacher.

    Args:
        setup: makes the student, and holds its teacher.
        config: heads.
        budget: of the gates that gave the student its channels; its own cost is fixed.

    Raises:
        ValueError: there is no teacher.
    """

    head: nn.Module

    @abstractmethod
    def compared(self, features: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of the student's features (N, m) given the teacher's (N, d), and the embedding."""

    def forward(
        self,
        views: Views,
        progress: Progress,  # noqa: ARG002
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Mean loss over the two views, each seen by student and teacher."""
        losses = []
        for view in views:
            features = self.encoder(view, "dense", generator).features
            loss, embedding = self.compared(features, self.teacher(view))
            losses.append(loss)
        scalars = {"embedding_std": normalised_deviation(embedding)}
        return StepResult(torch.stack(losses).mean(), scalars)

    def new_encoder(self, setup: EncoderSetup, config: MethodConfig) -> Encoder:  # noqa: ARG002
        """The student, dense; its teacher is kept."""
        if setup.teacher is None:
            raise ValueError(f"method {self.name!r} distils and needs a teacher")
        self.teacher = FrozenTeacher(setup.teacher)
        return setup.build(("dense",), GateConfig())

    @property
    def macs_per_image(self) -> int:
        """Two trained passes of the student and two questions to the teacher."""
        asked = self.teacher.encoder.cost(self.view_size).dense
        return 2 * (TRAINED_PASS * self.encoder.cost(self.view_size).dense + asked)
