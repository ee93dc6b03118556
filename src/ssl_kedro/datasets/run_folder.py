"""Kedro datasets that hand a training node where to keep checkpoints and epoch metrics."""

from __future__ import annotations

from ssl_kedro.datasets.base import HandleDataset
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog


class CheckpointDataset(HandleDataset[CheckpointStore]):
    """Handle on the checkpoint file of one training."""

    opened_by = CheckpointStore
    refusal = "checkpoints are written by the training node through their store"


class EpochLogDataset(HandleDataset[EpochLog]):
    """Handle on the per-epoch metrics of one training, one JSON object a line."""

    opened_by = EpochLog
    refusal = "epoch metrics are written by the training node through their log"
