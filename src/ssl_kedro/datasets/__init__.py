"""Kedro datasets: image sources, model bundles, tensors and run handles."""

from ssl_kedro.datasets.array_map import ArrayMapDataset
from ssl_kedro.datasets.encoder_bundle import EncoderBundleDataset
from ssl_kedro.datasets.faiss_index import FaissIndexDataset
from ssl_kedro.datasets.image_source import ImageSourceDataset
from ssl_kedro.datasets.panoramas import (
    EarlierEncoderDataset,
    OutputPathDataset,
    PanoramaEncoderDataset,
    PanoramaSourceDataset,
    PanoramaStoreDataset,
    SaliencyModelDataset,
)
from ssl_kedro.datasets.retrieval import (
    FrozenEncoderDataset,
    RetrievalSetDataset,
    VectorStoreDataset,
)
from ssl_kedro.datasets.run_folder import CheckpointDataset, EpochLogDataset
from ssl_kedro.datasets.tensors import TensorsDataset

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
    "RetrievalSetDataset",
    "SaliencyModelDataset",
    "TensorsDataset",
    "VectorStoreDataset",
]
