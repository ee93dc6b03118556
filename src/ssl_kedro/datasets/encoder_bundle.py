"""Kedro dataset of trained encoders: JSON description and safetensors weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_encoder, save_encoder


class EncoderBundleDataset(AbstractDataset[Encoder, Encoder]):
    """Folder with ``config.json`` and ``weights.safetensors``; loading gives a ready encoder.

    Args:
        filepath: the folder.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Encoder:
        """Encoder on the CPU, in evaluation mode."""
        return load_encoder(self._filepath)

    def save(self, data: Encoder) -> None:
        """Write, replacing an older bundle only when complete."""
        save_encoder(data, self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
