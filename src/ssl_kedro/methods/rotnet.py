"""Dual gating with RotNet as a proxy loss on the dense branch (thesis 6.6)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import loss_average, own_rows, rows_of_all
from ssl_kedro.core.config import WEIGHT
from ssl_kedro.core.progress import Progress
from ssl_kedro.methods.base import TRAINED_PASS, StepResult, Views
from ssl_kedro.methods.dual_gating import DualGating
from ssl_kedro.methods.vicreg import VICRegOptions


@dataclass(frozen=True)
class RotNetOptions(VICRegOptions):
    """Parameters of dual gating with RotNet.

    Args:
        rotation: weight of the cross-entropy of the rotations. The thesis tried this loss without
            saying its weight.
    """

    rotation: Annotated[float, WEIGHT] = 1.0


class RotNetDualGating(DualGating):
    """VICReg dual gating; the dense branch also tells by how much an image was rotated.

    Each image of view 2 is rotated by 0, 90, 180 or 270 degrees (Gidaris, Singh & Komodakis 2018)
    and goes through the dense branch once more, and a linear layer predicts which it was. The dense
    branch's running statistics are over rotated images as well.
    """

    name = "rotnet_dual_gating"
    options_type = RotNetOptions
    options: RotNetOptions
    encoder_passes = 3 * TRAINED_PASS

    def add_heads(self) -> None:
        """The expander, and the layer that tells rotations."""
        super().add_heads()
        self.rotation_head = nn.Linear(self.encoder.feature_dimensions, 4)

    def forward(
        self, views: Views, progress: Progress, generator: torch.Generator | None = None
    ) -> StepResult:
        """Dual gating's loss plus the weighted cross-entropy of the rotations."""
        loss, scalars = super().forward(views, progress, generator)
        turned, turns = rotated(views[1], generator)
        logits = self.rotation_head(self.encoder(turned, "dense").features)
        with torch.autocast(logits.device.type, enabled=False):
            rotation = loss_average(nn.functional.cross_entropy(logits.float(), turns))
            right = (logits.argmax(dim=1) == turns).float()
        scalars["rotation_loss"] = rotation.detach()
        scalars["rotation_accuracy"] = loss_average(right.mean())
        return StepResult(loss + self.options.rotation * rotation, scalars)


def rotated(images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Square images, each turned by a number of quarters of its own, and these numbers.

    Args:
        images: (N, C, H, H).
        generator: where the quarters are drawn, on the images' device.

    Returns:
        (N, C, H, H) and int64 (N,), quarters counter-clockwise.
    """
    count = rows_of_all(len(images))
    turns = own_rows(torch.randint(4, (count,), generator=generator, device=images.device))
    every = torch.stack([torch.rot90(images, quarters, (2, 3)) for quarters in range(4)])
    return every[turns, torch.arange(len(images), device=images.device)], turns
