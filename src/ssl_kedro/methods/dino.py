"""DINO (Caron et al. 2021): plain, gated and dual."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import TEMPERATURE, Range
from ssl_kedro.losses.dino import dino_loss, share_entropies, teacher_shares
from ssl_kedro.methods.base import Loss, Views
from ssl_kedro.methods.momentum_target import MOMENTUM, MomentumMethod, MomentumOptions

_SHARE = Range(at_least=0, at_most=1)
_WIDTH = Range(at_least=2, at_most=131_072)


@dataclass(frozen=True)
class DINOOptions(MomentumOptions):
    """Parameters of DINO (Caron et al. 2021, 3.2 and its appendix).

    Args:
        prototypes: K, dimensions of the output (65,536 on ImageNet; 2048 here, as lightly's
            benchmark on CIFAR-10).
        bottleneck: dimensions in front of the last layer (256).
        student_temperature: tau_s (0.1).
        teacher_temperature: tau_t once warmed up (0.07).
        teacher_temperature_start: tau_t at the start (0.04).
        teacher_warmup: share of the training over which tau_t rises linearly (30 epochs of 300).
        centre_momentum: of the centre (0.9).
        frozen: share of the training for which the last layer stays as it is (the first epoch
            of 100).
    """

    prototypes: Annotated[int, _WIDTH] = 2048
    bottleneck: Annotated[int, _WIDTH] = 256
    student_temperature: Annotated[float, TEMPERATURE] = 0.1
    teacher_temperature: Annotated[float, TEMPERATURE] = 0.07
    teacher_temperature_start: Annotated[float, TEMPERATURE] = 0.04
    teacher_warmup: Annotated[float, _SHARE] = 0.1
    centre_momentum: Annotated[float, MOMENTUM] = 0.9
    frozen: Annotated[float, _SHARE] = 0.01


class Prototypes(nn.Module):
    """Cosines of embeddings with K prototypes: a weight-normed layer whose magnitudes stay 1.

    ``learning`` is 1 where the prototypes take their gradient and 0 where they do not. It lives on
    the device, where a recorded step reads it anew.

    Args:
        given: D.
        count: K.
    """

    learning: Tensor

    def __init__(self, given: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, given), std=0.02))
        self.register_buffer("learning", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, K), in [-1, 1]."""
        weight = torch.lerp(self.weight.detach(), self.weight, self.learning)
        directions = nn.functional.normalize(weight, dim=1)
        return nn.functional.linear(nn.functional.normalize(x, dim=1), directions)


class DINO(MomentumMethod):
    """Both views dense; each takes over the target's shares of the other among prototypes.

    Two views of one kind: no local crops. The head is that of lightly's benchmark on CIFAR-10: one
    layer as wide as the expander's with batch norm and GELU (the paper and lightly's own
    ``DINOProjectionHead`` have two), a bottleneck and prototypes. The embedding whose collapse is
    measured is that of the bottleneck; collapse of the shares shows in ``teacher_entropy``
    (towards 1) and ``batch_entropy`` (towards 0).
    """

    name = "dino"
    options_type = DINOOptions
    options: DINOOptions
    centre: Tensor
    sharpness: Tensor
    _outputs: Tensor

    def add_heads(self) -> None:
        """Head, target, centre."""
        super().add_heads()
        self.register_buffer("centre", torch.zeros(self.options.prototypes))
        # Set before each step; on the device, where a recorded step reads it anew.
        start = torch.tensor(self.options.teacher_temperature)
        self.register_buffer("sharpness", start, persistent=False)

    def new_projector(self) -> nn.Module:
        """Layers down to the bottleneck, and the prototypes."""
        options, hidden = self.options, self.config.expander.hidden
        return nn.Sequential(
            nn.Sequential(
                nn.Linear(self.encoder.feature_dimensions, hidden),
                nn.BatchNorm1d(hidden),
                nn.GELU(),
                nn.Linear(hidden, options.bottleneck),
            ),
            Prototypes(options.bottleneck, options.prototypes),
        )

    def embedded(self, features: Tensor) -> Tensor:
        """Features down to the bottleneck."""
        embedding: Tensor = self.projector[0](features)  # type: ignore[index]
        return embedding

    def before_step(self, progress: float, indices: Tensor) -> None:
        """Set the teacher's temperature, and whether prototypes learn."""
        super().before_step(progress, indices)
        options = self.options
        done = min(1.0, progress / options.teacher_warmup) if options.teacher_warmup else 1.0
        rise = options.teacher_temperature - options.teacher_temperature_start
        self.sharpness.fill_(options.teacher_temperature_start + done * rise)
        self.projector[1].learning.fill_(float(progress >= options.frozen))  # type: ignore[index]

    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """The cross-entropy."""
        t_1, t_2 = self._targets
        s_1, s_2 = (self.projector[1](z).float() for z in (z_1, z_2))  # type: ignore[index]
        with torch.autocast(views[0].device.type, enabled=False), torch.no_grad():
            shares = teacher_shares(torch.cat([t_1, t_2]), self.centre, self.sharpness)
            of_images, of_batch = share_entropies(shares)
        with torch.autocast(views[0].device.type, enabled=False):
            loss = dino_loss(
                (s_1, s_2),
                (t_1, t_2),
                self.centre,
                self.options.student_temperature,
                self.sharpness,
            )
            self._outputs = loss_average(torch.cat([t_1, t_2]).mean(dim=0))
        return loss, {
            "cross_entropy": loss.detach(),
            "teacher_entropy": of_images,
            "batch_entropy": of_batch,
        }

    @torch.no_grad()
    def after_update(self, images: Tensor, progress: float) -> None:
        """Move the target, and the centre towards the batch's mean output (eq. 4)."""
        super().after_update(images, progress)
        self.centre.lerp_(self._outputs, 1 - self.options.centre_momentum)


class DINOGating(DINO):
    """Both views gated, and the target."""

    name = "dino_gating"
    view_branches = ("gated", "gated")


class DINODualGating(DINO):
    """View 1 gated, view 2 dense, the target dense."""

    name = "dino_dual_gating"
    view_branches = ("gated", "dense")
