"""Kedro dataset of a faiss index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from ssl_kedro.core.files import DamagedFileError, replaced_file


class FaissIndexDataset(AbstractDataset[Any, Any]):
    """An index as faiss writes it.

    Args:
        filepath: of the file.
        mapped: read the lists of an inverted file from disk as a search visits them, for an
            index larger than the memory; such an index can be searched, not added to.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(
        self, *, filepath: str, mapped: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._mapped = mapped
        self.metadata = metadata

    def load(self) -> Any:
        """The index, ready to search.

        Raises:
            DamagedFileError: damaged, or not an index.
        """
        import faiss  # noqa: PLC0415  heavy

        try:
            how = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if self._mapped else 0
            return faiss.read_index(str(self._filepath), how)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DamagedFileError(
                f"{self._filepath}: expected a faiss index, found a file that cannot be read as "
                f"one: {reason}. Remove it, and run the pipeline to build it again"
            ) from error

    def save(self, data: Any) -> None:
        """Write, replacing an older file only when complete."""
        import faiss  # noqa: PLC0415

        with replaced_file(self._filepath) as temporary:
            faiss.write_index(data, str(temporary))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "mapped": self._mapped}
