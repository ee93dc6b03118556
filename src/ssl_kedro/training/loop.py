"""The training loop: a method, images, views and a recipe in; a trained method out.

It knows nothing of files, trackers or what the method does. What it reports goes to an
epoch log; what it needs to continue goes to a checkpoint store; both may be absent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ssl_kedro.core.collectives import leads
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.methods.base import Trainable
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import (
    Checkpoint,
    CheckpointError,
    CheckpointStore,
    flattened_state,
    restore_state,
)
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.divergence import TrainingDiverged
from ssl_kedro.training.epoch import PairOfViews, train_epoch
from ssl_kedro.training.epoch_log import EpochLog
from ssl_kedro.training.options import StepOptions
from ssl_kedro.training.step import TrainingStep

__all__ = ["PairOfViews", "TrainingDiverged", "TrainingResult", "TrainingStep", "train"]

History = list[dict[str, float]]
M = TypeVar("M", bound=Trainable)


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
    options: StepOptions | None = None,
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
        options: how a step is computed; None = channels-last, nothing compiled or recorded.
        label: name on the progress bar.
        identity: what the run is; a checkpoint of another identity is refused.
        log: gets a row after each epoch.
        checkpoints: where the state after an epoch is kept.

    Raises:
        TrainingDiverged: loss or gradients are not finite. The last checkpoint is intact.
        CheckpointError: ``config.resume`` and the checkpoint belongs to another run.
    """
    step = TrainingStep(method, config, precision, source.device, source.batches_per_epoch, options)
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
