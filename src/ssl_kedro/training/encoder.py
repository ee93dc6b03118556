"""Training an encoder in this process, or in several that share each batch."""

from __future__ import annotations

import numpy as np
import torch

from ssl_kedro.methods.base import Method
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog
from ssl_kedro.training.config import EncoderTraining
from ssl_kedro.training.loop import TrainingResult, train_in_process


def train_encoder(
    training: EncoderTraining,
    images: np.ndarray,
    log: EpochLog | None = None,
    checkpoints: CheckpointStore | None = None,
) -> TrainingResult[Method]:
    """Train, here or in as many processes as the recipe says; the numbers are the same.

    Args:
        training: what to do.
        images: uint8 (N, 3, H, W), an array or a memory map.
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
        device = torch.device(training.device)
        method = training.method.build()
        return train_in_process(training, method, images, device, training.recipe, log, checkpoints)
    from ssl_kedro.training.distributed.shared import train_shared  # noqa: PLC0415  slow to import

    return train_shared(training, images, log, checkpoints)
