"""Kedro dataset of one array on disk, read by memory map: other tools read it as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_kedro.core.files import DamagedFileError
from ssl_kedro.datasets.base import FileDataset


class ArrayMapDataset(FileDataset[np.ndarray]):
    """An ``.npy`` file; loading maps it read-only, so that an array may exceed the memory."""

    holds = "an .npy file"

    def read(self, path: Path) -> np.ndarray:
        """The array, a read-only memory map.

        Raises:
            DamagedFileError: not an ``.npy`` file of plain numbers.
        """
        try:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise DamagedFileError(
                f"{path}: expected an array of numbers as numpy.save writes it "
                f"(.npy), found a file that cannot be read as one: {error}"
            ) from error

    def write(self, value: np.ndarray, path: Path) -> None:
        """As ``numpy.save`` writes it."""
        with path.open("wb") as file:
            np.save(file, value, allow_pickle=False)
