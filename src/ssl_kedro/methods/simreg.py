"""SimReg (Navaneet et al. 2021): a student regresses onto its teacher (thesis Table 6.3)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ssl_kedro.core.progress import Progress
from ssl_kedro.losses.cosine import normalised_regression
from ssl_kedro.methods.base import StepResult, normalised_deviation
from ssl_kedro.methods.distillation import DistillationMethod


class SimReg(DistillationMethod):
    """Squared distance of L2-normalised features, the student's through an MLP.

    The head has four linear layers of widths 2m, m, 2m, d for m student and d teacher
    features, with batch norm and ReLU between, and is thrown away afterwards (Navaneet et
    al. 2021, 3.1). Student and teacher see the same view; both views of an image are used.
    """

    name = "simreg"

    def add_heads(self) -> None:
        """The student's head."""
        m = self.encoder.feature_dimensions
        layers: list[nn.Module] = []
        widths = [m, 2 * m, m, 2 * m]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        self.head = nn.Sequential(
            *layers, nn.Linear(widths[-1], self.teacher.encoder.feature_dimensions)
        )

    def forward(
        self,
        view_1: Tensor,
        view_2: Tensor,
        progress: Progress,  # noqa: ARG002
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Mean over the two views of the normalised regression."""
        losses = []
        for view in (view_1, view_2):
            features = self.encoder(view, "dense", generator).features
            predicted = self.head(features).float()
            losses.append(normalised_regression(predicted, self.teacher(view)))
        loss = torch.stack(losses).mean()
        return StepResult(loss, {"embedding_std": normalised_deviation(features.detach())})
