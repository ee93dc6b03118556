"""Kedro datasets that hand a node what it writes as it runs; no node saves them."""

from pathlib import Path

from ssl_kedro.datasets.base import HandleDataset
from ssl_kedro.retrieval.extraction import VectorStore
from ssl_kedro.saliency.store import PanoramaStore
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog


class CheckpointDataset(HandleDataset[CheckpointStore]):
    """Handle on the checkpoint file of one training."""

    opened_by = CheckpointStore
    refusal = "checkpoints are written by the training node through their store"


class EpochLogDataset(HandleDataset[EpochLog]):
    """Handle on the per-epoch metrics of one training, one JSON object a line."""

    opened_by = EpochLog
    refusal = "epoch metrics are written by the training node through their log"


class VectorStoreDataset(HandleDataset[VectorStore]):
    """Handle on the vectors of one encoder and task, written in constant memory."""

    opened_by = VectorStore
    refusal = "vectors are written by the extraction through their store"


class PanoramaStoreDataset(HandleDataset[PanoramaStore]):
    """Handle on the decoded panoramas of a source, which a node fills as it decodes."""

    opened_by = PanoramaStore
    refusal = "panoramas are written by the decoding node through their store"


class OutputPathDataset(HandleDataset[Path]):
    """Where a node that writes as it goes is to write: files that are too large to return."""

    opened_by = Path
    refusal = "what lies at an output path is written by the node that is given it"
