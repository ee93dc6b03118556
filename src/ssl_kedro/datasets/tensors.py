"""Kedro dataset of named arrays in one safetensors file: no pickle, loads by memory map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ssl_kedro.datasets.base import FileDataset

Arrays = dict[str, np.ndarray]


class TensorsDataset(FileDataset[Arrays]):
    """Arrays by name."""

    holds = "a safetensors file"

    def read(self, path: Path) -> Arrays:
        """All arrays."""
        return dict(load_file(path))

    def write(self, value: Arrays, path: Path) -> None:
        """All arrays, contiguous."""
        save_file({name: np.ascontiguousarray(array) for name, array in value.items()}, path)
