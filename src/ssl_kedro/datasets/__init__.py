"""Kedro datasets: what nodes read, write and are handed to write to."""

from ssl_kedro.datasets.files import (
    ArrayMapDataset,
    EarlierEncoderDataset,
    EncoderBundleDataset,
    FaissIndexDataset,
    PanoramaEncoderDataset,
    RecordDataset,
    SaliencyModelDataset,
    TensorsDataset,
)
from ssl_kedro.datasets.handles import (
    CheckpointDataset,
    EpochLogDataset,
    OutputPathDataset,
    PanoramaStoreDataset,
    VectorStoreDataset,
)
from ssl_kedro.datasets.sources import (
    FrozenEncoderDataset,
    ImageSourceDataset,
    PanoramaSourceDataset,
    RetrievalSetDataset,
)

__all__ = [
    "ArrayMapDataset",
    "CheckpointDataset",
    "EarlierEncoderDataset",
    "EncoderBundleDataset",
    "EpochLogDataset",
    "FaissIndexDataset",
    "FrozenEncoderDataset",
    "ImageSourceDataset",
    "OutputPathDataset",
    "PanoramaEncoderDataset",
    "PanoramaSourceDataset",
    "PanoramaStoreDataset",
    "RecordDataset",
    "RetrievalSetDataset",
    "SaliencyModelDataset",
    "TensorsDataset",
    "VectorStoreDataset",
]
