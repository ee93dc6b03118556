"""Kedro dataset that hands a training node where to keep checkpoints and epoch metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.epoch_log import EpochLog


class CheckpointDataset(AbstractDataset[CheckpointStore, CheckpointStore]):
    """Handle on the checkpoint file of one training.

    A training writes while its node runs, long before the node returns, so the catalog gives
    it a store to write to instead of a value to read. Where it lies is the catalog's choice.

    Args:
        filepath: of the checkpoint.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> CheckpointStore:
        """A store at the path; nothing is read yet."""
        return CheckpointStore(self._filepath)

    def save(self, data: CheckpointStore) -> NoReturn:  # noqa: ARG002
        """Refused: the training node writes through the store."""
        raise DatasetError("checkpoints are written by the training node through their store")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class EpochLogDataset(AbstractDataset[EpochLog, EpochLog]):
    """Handle on the per-epoch metrics of one training, one JSON object a line.

    Args:
        filepath: of the log.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> EpochLog:
        """A log at the path; nothing is written yet."""
        return EpochLog(self._filepath)

    def save(self, data: EpochLog) -> NoReturn:  # noqa: ARG002
        """Refused: the training node writes through the log."""
        raise DatasetError("epoch metrics are written by the training node through their log")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
