"""The training loop: a method, images, views and a recipe in; a trained method out.

It knows nothing of files, trackers or what the method does. What it reports goes to an
epoch log; what it needs to continue goes to a checkpoint store; both may be absent.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.augment.whole import central_squares
from ssl_kedro.core.collectives import leads
from ssl_kedro.core.errors import first_line
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.rows import rows_of
from ssl_kedro.core.seeding import numpy_generator, torch_generator
from ssl_kedro.methods.base import Method
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import (
    Checkpoint,
    CheckpointError,
    CheckpointStore,
    EpochLog,
    flattened_state,
    restore_state,
)
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.planned import DrawnViews, EncoderTraining, M, PlannedTraining
from ssl_kedro.training.step import TrainingStep

History = list[dict[str, float]]


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
    views: DrawnViews,
    config: TrainConfig,
    *,
    execution: Execution | None = None,
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
        views: draws as many views of a batch as the method takes.
        config: the recipe.
        execution: on the source's device; None = fp32, nothing compiled or recorded.
        label: name on the progress bar.
        identity: what the run is; a checkpoint of another identity is refused.
        log: gets a row after each epoch.
        checkpoints: where the state after an epoch is kept.

    Raises:
        TrainingDiverged: loss or gradients are not finite. The last checkpoint is intact.
        CheckpointError: ``config.resume`` and the checkpoint belongs to another run.
    """
    execution = execution or Execution(str(source.device), "fp32")
    step = TrainingStep(method, config, execution, source.batches_per_epoch)
    identity = identity or {}
    start, history, spent = _resumed(step, config, identity, checkpoints)
    if log is not None:
        log.restart(history)
    began = time.perf_counter() - spent
    total = config.epochs * source.batches_per_epoch * source.batch_size
    with progress_bar(total, label, "images", disable=not leads()) as bar:
        bar.update(start * source.batches_per_epoch * source.batch_size)
        for epoch in range(start, config.epochs):
            row = train_epoch(step, source, views, epoch, bar.update)
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


def train_encoder(
    training: EncoderTraining,
    images: np.ndarray,
    log: EpochLog | None = None,
    checkpoints: CheckpointStore | None = None,
) -> TrainingResult[Method]:
    """Train an encoder for images, and have it measure what it measures when that is over.

    Arguments and errors are those of :func:`train_planned`.
    """
    result = train_planned(training, images, log, checkpoints)
    size = training.method.setup.image_size
    result.method.after_training(some_images(images, training.seed, size))
    return result


def train_planned(
    training: PlannedTraining[M],
    images: np.ndarray,
    log: EpochLog | None = None,
    checkpoints: CheckpointStore | None = None,
) -> TrainingResult[M]:
    """Train, here or in as many processes as the recipe says; the numbers are the same.

    Args:
        training: what to do.
        images: uint8 (N, 3, H, W), or rows of whole pictures; an array or a memory map.
        log: gets a row after each epoch; on a machine that is not the first, all of them at the end
            and without its subscribers.
        checkpoints: where the state after an epoch is kept.

    Raises:
        TrainingDiverged: loss or gradients are not finite. The last checkpoint is intact.
        CheckpointError: a checkpoint is damaged or belongs to another run.
        BatchSizeError: fewer images than a batch.
        WorkerError: processes were lost too often, or other machines did not come.
    """
    if training.recipe.processes == 1:
        return train_in_process(training, training.method.build(), images, log, checkpoints)
    from ssl_kedro.training.distributed.shared import train_shared  # noqa: PLC0415  slow

    return train_shared(training, images, log, checkpoints)


def some_images(images: np.ndarray, seed: int, size: int, count: int = 2000) -> np.ndarray:
    """At most so many images (N, 3, H, W): drawn, since folders keep classes together.

    Of whole pictures the central squares of a size in px.
    """
    drawn = numpy_generator(seed, "recalibration")
    chosen = drawn.choice(len(images), min(count, len(images)), replace=False)
    return central_squares(rows_of(images, np.sort(chosen)), size)


def train_in_process(
    training: PlannedTraining[M],
    method: M,
    images: np.ndarray,
    log: EpochLog | None,
    checkpoints: CheckpointStore | None,
) -> TrainingResult[M]:
    """Train a method on this process' rows of every batch, whether it is alone or shares them.

    Args:
        training: what to do, with the device of this process.
        method: freshly built, as ``training.method`` says.
        images: uint8 (N, 3, H, W), all of them.
        log: gets a row after each epoch.
        checkpoints: where the state after an epoch is kept.
    """
    recipe, device = training.recipe, torch.device(training.execution.device)
    return train(
        method,
        BatchSource(images, recipe.batch_size, device, training.seed),
        training.drawn_views(method),
        recipe,
        execution=training.execution,
        label=training.label,
        identity=training.identity,
        log=log,
        checkpoints=checkpoints,
    )


def train_epoch(
    step: TrainingStep,
    source: BatchSource,
    views: DrawnViews,
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
        result = step.take(images, views(images, view_noise), indices, first_step + index)
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


def _resumed(
    step: TrainingStep,
    config: TrainConfig,
    identity: dict[str, Any],
    checkpoints: CheckpointStore | None,
) -> tuple[int, History, float]:
    """First epoch to train, rows so far and seconds spent; restores state when resuming."""
    found = checkpoints.load() if config.resume and checkpoints is not None else None
    if found is None or checkpoints is None:
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
            f"values, delete {checkpoints.path}, or run with train.resume=false to start afresh"
        )
    try:
        restore_state(found.tensors, step.method, step.optimiser)
    except (ValueError, LookupError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{checkpoints.path} does not hold the state of this training ({first_line(error)}); "
            "delete it, or run with train.resume=false"
        ) from error
    return found.epoch, list(found.history), found.seconds
