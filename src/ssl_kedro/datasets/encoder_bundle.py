"""Kedro dataset of trained encoders: JSON description and safetensors weights."""

from __future__ import annotations

from pathlib import Path

from ssl_kedro.datasets.base import FolderDataset
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_encoder, save_encoder


class EncoderBundleDataset(FolderDataset[Encoder]):
    """Folder with ``config.json`` and ``weights.safetensors``; loading gives a ready encoder."""

    holds = "an encoder"

    def read(self, path: Path) -> Encoder:
        """Encoder on the CPU, in evaluation mode."""
        return load_encoder(path)

    def write(self, value: Encoder, path: Path) -> None:
        """A bundle."""
        save_encoder(value, path)
