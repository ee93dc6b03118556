"""Kedro dataset of named arrays in one safetensors file: no pickle, loads by memory map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from safetensors.numpy import load_file, save_file

from ssl_kedro.core.files import replaced_file

Arrays = dict[str, np.ndarray]


class TensorsDataset(AbstractDataset[Arrays, Arrays]):
    """Arrays by name.

    Args:
        filepath: of the safetensors file.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Arrays:
        """All arrays."""
        return dict(load_file(self._filepath))

    def save(self, data: Arrays) -> None:
        """Write, replacing an older file only when complete."""
        arrays = {name: np.ascontiguousarray(value) for name, value in data.items()}
        with replaced_file(self._filepath) as temporary:
            save_file(arrays, temporary)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
