"""Gated methods whose gates should decide alike for two views of an image (thesis 5.5)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import WEIGHT
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch
from ssl_kedro.methods.base import StepResult, TwoViewMethod, Views
from ssl_kedro.methods.simsiam import SimSiam, SimSiamOptions
from ssl_kedro.methods.vicreg import VICReg, VICRegOptions


@dataclass(frozen=True)
class ConsistentSimSiamOptions(SimSiamOptions):
    """Parameters of SimSiam with consistent gates.

    Args:
        consistency: weight of the constraint (not in the thesis, which names it only).
    """

    consistency: Annotated[float, WEIGHT] = 5.0


@dataclass(frozen=True)
class ConsistentVICRegOptions(VICRegOptions):
    """Parameters of VICReg with consistent gates.

    Args:
        consistency: weight of the constraint (not in the thesis, which names it only).
    """

    consistency: Annotated[float, WEIGHT] = 5.0


class ConsistentGates(TwoViewMethod):
    """Adds the mean squared difference of open probabilities between an image's two views.

    Mean over blocks, images and channels of (sigmoid(l_1) - sigmoid(l_2))^2, l being the gates'
    logits: the same in expectation whatever noise is drawn, and 0 where views are gated alike.
    """

    view_branches: ClassVar[tuple[Branch, Branch]] = ("gated", "gated")

    def forward(
        self, views: Views, progress: Progress, generator: torch.Generator | None = None
    ) -> StepResult:
        """The method's loss plus the weighted constraint."""
        gates = self.encoder.gates()
        for gate in gates:
            gate.seen = []
        loss, scalars = super().forward(views, progress, generator)
        pairs = [gate.seen or [] for gate in gates]
        for gate in gates:
            gate.seen = None
        with torch.autocast(views[0].device.type, enabled=False):
            found = gate_inconsistency(pairs)
        scalars["gate_inconsistency"] = found.detach()
        return StepResult(loss + self.options.consistency * found, scalars)


def gate_inconsistency(logits: list[list[Tensor]]) -> Tensor:
    """Mean over blocks of the mean squared difference of open probabilities.

    Args:
        logits: for each block those of both views, (N, C_l) each.
    """
    terms = [(a.sigmoid() - b.sigmoid()).square().mean() for a, b in logits]
    return loss_average(torch.stack(terms).mean())


class ConsistentSimSiamGating(ConsistentGates, SimSiam):
    """SimSiam, both views gated, alike."""

    name = "simsiam_gating_consistent"
    options_type = ConsistentSimSiamOptions
    options: ConsistentSimSiamOptions


class ConsistentVICRegGating(ConsistentGates, VICReg):
    """VICReg, both views gated, alike."""

    name = "vicreg_gating_consistent"
    options_type = ConsistentVICRegOptions
    options: ConsistentVICRegOptions
