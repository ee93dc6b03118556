"""The training loop: a method, images, views and a recipe in; a trained method out.

It knows nothing of files, trackers or what the method does. What it reports goes to an
epoch log; what it needs to continue goes to a checkpoint store; both may be absent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ssl_kedro.core.collectives import average_in_place, leads
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.seeding import torch_generator
from ssl_kedro.methods.base import StepResult, Trainable
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import (
    Checkpoint,
    CheckpointError,
    CheckpointStore,
    flattened_state,
    restore_state,
)
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.epoch_log import EpochLog
from ssl_kedro.training.optimisers import build_optimiser
from ssl_kedro.training.schedule import warmup_constant, warmup_cosine

History = list[dict[str, float]]
# A uint8 batch (N, 3, H, W) and a generator on its device -> two views, float in [0, 1].
PairOfViews = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
M = TypeVar("M", bound=Trainable)


class TrainingDiverged(RuntimeError):  # noqa: N818  the field's word for it
    """Loss or gradient stopped being finite; weights are those before that step."""


@dataclass(frozen=True)
class TrainingResult(Generic[M]):
    """What a training leaves behind.

    Args:
        method: the trained method, in evaluation mode, on the CPU.
        history: one row of metrics an epoch.
        seconds: training time, over all resumed parts.
    """

    method: M
    history: History
    seconds: float


def train(
    method: M,
    source: BatchSource,
    views: PairOfViews,
    config: TrainConfig,
    *,
    precision: str,
    label: str = "train",
    identity: dict[str, Any] | None = None,
    log: EpochLog | None = None,
    checkpoints: CheckpointStore | None = None,
) -> TrainingResult[M]:
    """Train a method, or finish a training that was interrupted.

    Every random draw of an epoch comes from generators seeded by the run's seed and the
    epoch, so that a training resumed at an epoch's start takes the same steps as one that
    never stopped.

    Args:
        method: with its initial weights; trained in place.
        source: batches and their seed.
        views: draws the two views of a batch.
        config: the recipe.
        precision: "fp32" or "bf16" (autocast).
        label: name on the progress bar.
        identity: what the run is; a checkpoint of another identity is refused.
        log: gets a row after each epoch.
        checkpoints: where the state after an epoch is kept.

    Raises:
        TrainingDiverged: loss or gradients are not finite. The last checkpoint is intact.
        CheckpointError: ``config.resume`` and the checkpoint belongs to another run.
    """
    step = TrainingStep(method, config, precision, source.device, source.batches_per_epoch)
    identity = identity or {}
    start, history, spent = _resumed(step, config, identity, checkpoints)
    if log is not None:
        log.restart(history)
    began = time.perf_counter() - spent
    total = config.epochs * source.batches_per_epoch * source.batch_size
    with progress_bar(total, label, "images", disable=not leads()) as bar:
        bar.update(start * source.batches_per_epoch * source.batch_size)
        for epoch in range(start, config.epochs):
            row = _train_epoch(step, source, views, epoch, bar.update)
            history.append(row)
            bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
            if log is not None:
                log.append(row)
            due = (epoch + 1) % config.checkpoint_every == 0 or epoch + 1 == config.epochs
            if checkpoints is not None and due:
                seconds = time.perf_counter() - began
                tensors = flattened_state(step.method, step.optimiser)
                checkpoints.save(Checkpoint(tensors, epoch + 1, history, identity, seconds))
    seconds = time.perf_counter() - began if start < config.epochs else spent
    return TrainingResult(method.eval().to("cpu"), history, seconds)


def _resumed(
    step: TrainingStep,
    config: TrainConfig,
    identity: dict[str, Any],
    checkpoints: CheckpointStore | None,
) -> tuple[int, History, float]:
    """First epoch to train, rows so far and seconds spent; restores state when resuming."""
    found = checkpoints.load() if config.resume and checkpoints is not None else None
    if found is None:
        return 0, [], 0.0
    different = sorted(
        key
        for key in identity.keys() | found.identity.keys()
        if identity.get(key) != found.identity.get(key)
    )
    if different:
        details = "; ".join(
            f"{key}: checkpoint {found.identity.get(key)!r}, now {identity.get(key)!r}"
            for key in different
        )
        raise CheckpointError(
            f"train.resume: the checkpoint belongs to another run ({details}); restore these "
            "values, or run with train.resume=false to start afresh"
        )
    restore_state(found.tensors, step.method, step.optimiser)
    return found.epoch, list(found.history), found.seconds


class TrainingStep:
    """One optimisation step, with everything that stays the same between steps.

    Args:
        method: moved to the device, put in training mode and laid out channels-last.
        config: the recipe.
        precision: "fp32" or "bf16".
        device: where to compute.
        batches_per_epoch: for the schedule.
    """

    def __init__(
        self,
        method: Trainable,
        config: TrainConfig,
        precision: str,
        device: torch.device,
        batches_per_epoch: int,
    ) -> None:
        self.method = method.to(device=device).to(memory_format=torch.channels_last)
        self.method.train()
        self.optimiser = build_optimiser(self.method, config)
        self.config = config
        self.precision = precision
        self.total_steps = config.epochs * batches_per_epoch
        self.warmup_steps = round(config.warmup_epochs * batches_per_epoch)
        self.parameters = [p for p in self.method.parameters() if p.requires_grad]

    def learning_rate(self, step: int) -> float:
        """Rate of a step counted from 0."""
        if self.config.schedule == "constant":
            return warmup_constant(
                step=step,
                warmup_steps=self.warmup_steps,
                start=self.config.warmup_lr,
                peak=self.config.peak_lr,
            )
        return warmup_cosine(
            step,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            start=self.config.warmup_lr,
            peak=self.config.peak_lr,
        )

    def __call__(
        self,
        view_1: Tensor,
        view_2: Tensor,
        indices: Tensor,
        step: int,
        generator: torch.Generator,
    ) -> tuple[StepResult, Tensor]:
        """Forward and backward pass. Returns the result and whether all was finite."""
        lr = self.learning_rate(step)
        for group in self.optimiser.param_groups:
            rate = lr if group["scheduled"] else self.config.peak_lr
            group["lr"] = rate * group["lr_factor"]
        progress = step / self.total_steps
        self.method.before_step(progress, indices)
        device = view_1.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            result = self.method(view_1, view_2, progress, generator)
        self.optimiser.zero_grad(set_to_none=True)
        result.loss.backward()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        loss = result.loss.detach().clone()
        # With the loss, so that processes that share the batch agree on whether all is finite.
        average_in_place([loss, *gradients])
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        finite = torch.isfinite(loss) & torch.isfinite(norm)
        return result, finite

    def update(self, images: Tensor, step: int) -> None:
        """Apply the gradients of the last call, which saw views of these images."""
        self.optimiser.step()
        self.method.after_update(images, (step + 1) / self.total_steps)


def _train_epoch(
    step: TrainingStep,
    source: BatchSource,
    views: PairOfViews,
    epoch: int,
    advance: Callable[[int], object],
) -> dict[str, float]:
    """One pass over the images; the epoch's row of metrics."""
    began = time.perf_counter()
    view_noise = torch_generator(source.seed, "views", epoch, device=source.device)
    gate_noise = torch_generator(source.seed, "gates", epoch, device=source.device)
    sums: dict[str, Tensor] = {}
    first_step = epoch * source.batches_per_epoch
    for index, (images, indices) in enumerate(source.epoch(epoch)):
        view_1, view_2 = views(images, view_noise)
        result, finite = step(view_1, view_2, indices, first_step + index, gate_noise)
        # Reading the flag waits for the device, which by then has the whole step queued;
        # it is the price of never applying a gradient that is not a number.
        if not finite:
            raise TrainingDiverged(_divergence_message(step, result, epoch, index))
        step.update(images, first_step + index)
        for name, value in {"loss": result.loss.detach(), **result.scalars}.items():
            sums[name] = sums[name] + value if name in sums else value.clone()
        advance(source.batch_size)
    seconds = time.perf_counter() - began
    row: dict[str, float] = {"epoch": epoch + 1}
    row |= {name: float(value) / source.batches_per_epoch for name, value in sums.items()}
    row["lr"] = step.learning_rate(first_step)
    row["images_per_second"] = source.batches_per_epoch * source.batch_size / seconds
    return row


def _divergence_message(step: TrainingStep, result: StepResult, epoch: int, index: int) -> str:
    terms = ", ".join(f"{name} {float(value):g}" for name, value in result.scalars.items())
    lr = step.learning_rate(epoch * (step.total_steps // step.config.epochs) + index)
    return (
        f"training diverged in epoch {epoch + 1}, batch {index + 1}: loss "
        f"{float(result.loss.detach()):g} ({terms}) at learning rate {lr:g}. The weights were "
        "not updated with it and the last checkpoint is intact. Lower train.lr, lengthen "
        "train.warmup_epochs, or use train.precision=fp32"
    )
