"""Kedro dataset of a faiss index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_kedro.core.files import DamagedFileError
from ssl_kedro.datasets.base import FileDataset


class FaissIndexDataset(FileDataset[Any]):
    """An index as faiss writes it.

    Args:
        mapped: read the lists of an inverted file from disk as a search visits them, for an
            index larger than the memory; such an index can be searched, not added to.
        file: where it lies; see :class:`ssl_kedro.datasets.base.FileDataset`.
    """

    holds = "a faiss index"

    def __init__(self, *, mapped: bool = False, **file: Any) -> None:
        super().__init__(**file)
        self._mapped = mapped

    def read(self, path: Path) -> Any:
        """The index, ready to search.

        Raises:
            DamagedFileError: damaged, or not an index.
        """
        import faiss  # noqa: PLC0415  heavy

        try:
            how = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if self._mapped else 0
            return faiss.read_index(str(path), how)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DamagedFileError(
                f"{path}: expected a faiss index, found a file that cannot be read as "
                f"one: {reason}. Remove it, and run the pipeline to build it again"
            ) from error

    def write(self, value: Any, path: Path) -> None:
        """As faiss writes it."""
        import faiss  # noqa: PLC0415

        faiss.write_index(value, str(path))

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "mapped": self._mapped}
