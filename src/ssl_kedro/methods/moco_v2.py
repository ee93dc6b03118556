"""MoCo v2 (He et al. 2020; Chen, Fan, Girshick & He 2020): plain, gated and dual."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import gathered
from ssl_kedro.core.config import TEMPERATURE, ConfigError, Range
from ssl_kedro.losses.info_nce import queue_nce
from ssl_kedro.methods.base import Loss, MethodConfig, Views
from ssl_kedro.methods.heads import two_layers
from ssl_kedro.methods.momentum_target import MOMENTUM, MomentumMethod, MomentumOptions


@dataclass(frozen=True)
class MoCoV2Options(MomentumOptions):
    """Parameters of MoCo v2; defaults are those of its authors' demo on CIFAR-10.

    Args:
        momentum: of the target, constant (0.99; on ImageNet 0.999).
        temperature: tau (0.1; on ImageNet 0.2).
        queue: keys kept (4096; on ImageNet 65,536).
        splits: parts of the batch that the target normalises on their own (8). With 1, query and
            key of an image share what their batch's statistics say of it, and the pair can be told
            by that alone (He et al. 2020, 3.3: "shuffling BN"). The online network normalises the
            whole batch, which is drawn at random, so that nothing else has to be shuffled. Divides
            each process' share of the batch.
    """

    momentum: Annotated[float, MOMENTUM] = 0.99
    temperature: Annotated[float, TEMPERATURE] = 0.1
    queue: Annotated[int, Range(at_least=2, at_most=262_144)] = 4096
    splits: Annotated[int, Range(at_least=1, at_most=1024)] = 8


class MoCoV2(MomentumMethod):
    """Both views dense; each picks the target of its other view among that and a queue.

    The loss is the mean of both directions, as in the authors' demo on CIFAR-10 and in Chen & He
    2021. The queue starts as random unit vectors and takes in the targets of both views after each
    update, over the oldest. The head has two layers without norm, as wide as the expander's.
    """

    name = "moco_v2"
    options_type = MoCoV2Options
    options: MoCoV2Options
    queue: Tensor
    queued: Tensor

    def add_heads(self) -> None:
        """Head, target and queue."""
        super().add_heads()
        self.splits = self.options.splits
        first = torch.randn(self.options.queue, self.config.expander.output)
        self.register_buffer("queue", nn.functional.normalize(first, dim=1))
        self.register_buffer("queued", torch.zeros((), dtype=torch.int64))
        self._waiting: Sequence[Tensor] = ()

    def new_projector(self) -> nn.Module:
        """Two layers."""
        shape = self.config.expander
        features = self.encoder.feature_dimensions
        return two_layers(features, shape.hidden, shape.output, norm=False)

    @classmethod
    def check_batch(cls, config: MethodConfig, rows: int, processes: int) -> None:
        """Refuse batches that the target cannot part."""
        options: Any = config.options
        own, splits = rows // processes, options.splits
        if own % splits or rows < 2 * splits:
            expected = f"a divisor of {own}, the images a process has of a batch, and at most half"
            raise ConfigError("splits", splits, f"{expected} of the batch of {rows}")

    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """Mean of InfoNCE(q_1, k_2) and InfoNCE(q_2, k_1) over the queue."""
        k_1, k_2 = self._targets
        with torch.autocast(views[0].device.type, enabled=False):
            forth = queue_nce(z_1.float(), k_2, self.queue, self.options.temperature)
            back = queue_nce(z_2.float(), k_1, self.queue, self.options.temperature)
            loss = (forth + back) / 2
            self._waiting = [gathered(nn.functional.normalize(k, dim=1)) for k in (k_1, k_2)]
        return loss, {"contrast": loss.detach()}

    @torch.no_grad()
    def after_update(self, images: Tensor, progress: float) -> None:
        """Move the target, and put the batch's keys into the ring, over the oldest.

        Not before: the backward pass still needs the queue that the loss was taken over.
        """
        super().after_update(images, progress)
        kept = torch.cat(list(self._waiting))[-len(self.queue) :]
        places = (self.queued + torch.arange(len(kept), device=kept.device)) % len(self.queue)
        self.queue.index_copy_(0, places, kept)
        self.queued += len(kept)

    def momentum_at(self, progress: float) -> float:  # noqa: ARG002
        """The same all along."""
        momentum: float = self.options.momentum
        return momentum


class MoCoV2Gating(MoCoV2):
    """Both views gated, and the target."""

    name = "moco_v2_gating"
    view_branches = ("gated", "gated")


class MoCoV2DualGating(MoCoV2):
    """View 1 gated, view 2 dense, the target dense."""

    name = "moco_v2_dual_gating"
    view_branches = ("gated", "dense")
