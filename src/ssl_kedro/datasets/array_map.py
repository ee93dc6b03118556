"""Kedro dataset of one array on disk, read by memory map: other tools read it as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset, DatasetError

from ssl_kedro.core.files import DamagedFileError, replaced_file


class ArrayMapDataset(AbstractDataset[np.ndarray, np.ndarray]):
    """An ``.npy`` file; loading maps it read-only, so that an array may exceed the memory.

    Args:
        filepath: of the file; None where a parameter names none, which only loading refuses,
            since tools that read a whole catalog make every entry of it.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str | None, metadata: dict[str, Any] | None = None) -> None:
        self._path = None if filepath is None else Path(filepath).expanduser()
        self.metadata = metadata

    @property
    def _filepath(self) -> Path:
        if self._path is None:
            raise DatasetError("expected the path of an .npy file, found none: set its parameter")
        return self._path

    def load(self) -> np.ndarray:
        """The array, a read-only memory map.

        Raises:
            DatasetError: no path was given.
            DamagedFileError: not an ``.npy`` file of plain numbers.
        """
        try:
            return np.asarray(np.load(self._filepath, mmap_mode="r", allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise DamagedFileError(
                f"{self._filepath}: expected an array of numbers as numpy.save writes it "
                f"(.npy), found a file that cannot be read as one: {error}"
            ) from error

    def save(self, data: np.ndarray) -> None:
        """Write, replacing an older file only when complete."""
        with replaced_file(self._filepath) as temporary, temporary.open("wb") as file:
            np.save(file, data, allow_pickle=False)

    def _exists(self) -> bool:
        return self._path is not None and self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": None if self._path is None else str(self._path)}
