"""One pass over the images."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from ssl_kedro.core.seeding import torch_generator
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.step import TrainingStep

# A uint8 batch (N, 3, H, W) and a generator on its device -> two views, float in [0, 1].
PairOfViews = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


def train_epoch(
    step: TrainingStep,
    source: BatchSource,
    views: PairOfViews,
    epoch: int,
    advance: Callable[[int], object],
) -> dict[str, float]:
    """One pass over the images; the epoch's row of metrics.

    Raises:
        TrainingDiverged: a step was not finite.
    """
    began = time.perf_counter()
    view_noise = torch_generator(source.seed, "views", epoch, device=source.device)
    step.begin_epoch(source.seed, epoch)
    sums: dict[str, Tensor] = {}
    first_step = epoch * source.batches_per_epoch
    for index, (images, indices) in enumerate(source.epoch(epoch)):
        view_1, view_2 = views(images, view_noise)
        result = step.take(images, view_1, view_2, indices, first_step + index)
        for name, value in {"loss": result.loss.detach(), **result.scalars}.items():
            sums[name] = sums[name] + value if name in sums else value.clone()
        advance(source.batch_size)
    step.settle()
    seconds = time.perf_counter() - began
    row: dict[str, float] = {"epoch": epoch + 1}
    row |= {name: float(value) / source.batches_per_epoch for name, value in sums.items()}
    row["lr"] = step.learning_rate(first_step)
    row["images_per_second"] = source.batches_per_epoch * source.batch_size / seconds
    return row
