"""Kedro datasets of features as a table, and of the encoder and the files that they come from."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import DatasetError

from ssl_kedro.core.errors import first_few, shown
from ssl_kedro.core.names import Names
from ssl_kedro.core.remote import is_remote, local_copy
from ssl_kedro.datasets.base import FileDataset, SourceDataset
from ssl_kedro.datasets.sources import InitialEncoderDataset
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.frozen import InitialWeights
from ssl_kedro.images.photographs import SquareFiles
from ssl_kedro.retrieval.embeddings import Embeddings, image_files

# Rows that are written and read at a time: 8 MB where a vector has 512 numbers.
_ROWS = 4096
_PREFIX = "ssl_kedro."


class EmbeddingsDataset(FileDataset[Embeddings]):
    """A Parquet file: ``path`` (text), ``vector`` (a list of so many float32), facts as metadata.

    Written some thousand rows at a time; vectors are read as they are asked for.
    """

    holds = "a table of features (.parquet)"

    def read(self, path: Path) -> Embeddings:
        """Paths in memory, vectors where they are."""
        import pyarrow.parquet  # noqa: PLC0415  half a second

        rows = ParquetRows(path)
        table = pyarrow.parquet.ParquetFile(path)
        batches = table.iter_batches(_ROWS, columns=["path"])
        names = Names.of(name for batch in batches for name in batch.column(0).to_pylist())
        return Embeddings(names, rows, rows.facts)

    def write(self, value: Embeddings, path: Path) -> None:
        """All rows."""
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415

        width = value.vectors.shape[1]
        facts = {f"{_PREFIX}{key}": shown(fact) for key, fact in value.facts.items()}
        fields = [
            pyarrow.field("path", pyarrow.string()),
            pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), width)),
        ]
        schema = pyarrow.schema(fields, facts)
        how: dict[str, Any] = {"use_dictionary": False, "compression": "zstd"}
        with pyarrow.parquet.ParquetWriter(path, schema, **how) as file:
            for first in range(0, len(value.names), _ROWS):
                rows = np.asarray(value.vectors[first : first + _ROWS], dtype=np.float32)
                names = [shown(name) for name in value.names[first : first + _ROWS]]
                flat = pyarrow.array(np.ascontiguousarray(rows).reshape(-1))
                vectors = pyarrow.FixedSizeListArray.from_arrays(flat, width)
                file.write_table(
                    pyarrow.Table.from_arrays([pyarrow.array(names), vectors], schema=schema),
                    row_group_size=_ROWS,
                )


class ParquetRows:
    """The vectors of a Parquet file as rows (N, D), read from it as they are asked for.

    Args:
        path: of the file.

    Raises:
        ValueError: it has no column ``vector`` of one length.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet  # noqa: PLC0415

        self._file = pyarrow.parquet.ParquetFile(path, memory_map=True)
        told = self._file.schema_arrow
        kind = told.field("vector").type if "vector" in told.names else None
        self.shape = (int(self._file.metadata.num_rows), int(getattr(kind, "list_size", -1)))
        if self.shape[1] < 1:
            raise ValueError(f"expected a column vector of lists of one length, found {told.names}")
        self._group = lru_cache(2)(self._read)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What is told of the rows."""
        told = {k.decode(): v.decode() for k, v in (self._file.schema_arrow.metadata or {}).items()}
        return {k.removeprefix(_PREFIX): v for k, v in told.items() if k.startswith(_PREFIX)}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows of a slice, or of indices (K,)."""
        rows = np.arange(len(self))[key]
        found = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        for number, first, stop in self._groups():
            inside = (rows >= first) & (rows < stop)
            if inside.any():
                found[inside] = self._group(number)[rows[inside] - first]
        return found

    def _groups(self) -> Iterator[tuple[int, int, int]]:
        """Number, first row and end of each row group."""
        first = 0
        for number in range(self._file.metadata.num_row_groups):
            stop = first + self._file.metadata.row_group(number).num_rows
            yield number, first, stop
            first = stop

    def _read(self, number: int) -> np.ndarray:
        column = self._file.read_row_group(number, columns=["vector"]).column(0)
        flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
        return flat.reshape(-1, self.shape[1])


class ImageFilesDataset(SourceDataset[SquareFiles]):
    """Image files at a place that a parameter names: found, not decoded.

    Args:
        place: a file or folder, also elsewhere; None = nothing is there.
        key: the parameter.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "image files are read-only; write images with other tools"

    def __init__(self, *, place: str | None, key: str, **files: Any) -> None:
        super().__init__(**files)
        self._place, self._key = place, key

    def load(self) -> SquareFiles:
        """See :func:`ssl_kedro.retrieval.embeddings.image_files`."""
        if not self._place:
            raise DatasetError(f"{self._key} names no files")
        return image_files(local_copy(self._place, self._storage_options), self._key)

    def look(self) -> int | None:
        """How many; None for those elsewhere."""
        return None if is_remote(self._place) else len(self.load())

    def _exists(self) -> bool:
        return bool(self._place)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._place}


class LeftEncoderDataset(InitialEncoderDataset):
    """The encoder that a parameter names, or the first that an earlier run has left in a folder.

    It knows by ``place`` where it lay.

    Args:
        init: of the parameter; None = what was left.
        filepath: folder of what runs leave.
        names: patterns of its folders, the best first; of several that fit one the middle one.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "an encoder to use is read-only"

    def __init__(self, *, init: Any, filepath: str, names: list[str], **files: Any) -> None:
        super().__init__(encoder={"init": init}, **files)
        self._models, self._names = Path(filepath), names
        if init is None and (found := self._left()):
            self.config = InitialWeights(str(found))

    def _left(self) -> Path | None:
        for name in self._names:
            if found := sorted(self._models.glob(f"{name}/encoder/config.json")):
                return found[len(found) // 2].parent
        return None

    def load(self) -> Encoder:
        """As :class:`~ssl_kedro.datasets.sources.InitialEncoderDataset`."""
        if self.config is None:
            looked = first_few(self._names)
            raise DatasetError(f"no earlier run has left one in {self._models}: {looked}")
        found: Any = super().load()
        found.place = self.config.file
        encoder: Encoder = found
        return encoder
