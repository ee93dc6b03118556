"""What one process does of a training, whether it is alone or shares the batches."""

from __future__ import annotations

import numpy as np
import torch

from ssl_kedro.augment.views import RandomViews, TwoViews
from ssl_kedro.methods.base import Method
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.distributed.job import EncoderTraining
from ssl_kedro.training.epoch_log import EpochLog
from ssl_kedro.training.loop import TrainingResult, train


def train_in_process(
    training: EncoderTraining,
    method: Method,
    images: np.ndarray,
    device: torch.device,
    recipe: TrainConfig,
    log: EpochLog | None,
    checkpoints: CheckpointStore | None,
) -> TrainingResult[Method]:
    """Train a method on this process' rows of every batch.

    Args:
        training: what to do.
        method: freshly built, as ``training.method`` says.
        images: uint8 (N, 3, H, W), all of them.
        device: of this process.
        recipe: that of the training, or one that differs in what a process has to do with it.
        log: gets a row after each epoch.
        checkpoints: where the state after an epoch is kept.
    """
    return train(
        method,
        BatchSource(images, recipe.batch_size, device, training.seed),
        TwoViews(RandomViews(training.views)),
        recipe,
        precision=training.precision,
        options=training.options,
        label=training.label,
        identity=training.identity,
        log=log,
        checkpoints=checkpoints,
    )
