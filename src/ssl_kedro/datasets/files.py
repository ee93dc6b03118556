"""Kedro datasets of what nodes leave in files and folders: arrays, records, indices, networks."""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from kedro.io import AbstractDataset
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load_file, save_file

from ssl_kedro.core.errors import InputError
from ssl_kedro.datasets.base import FileDataset, FolderDataset, named_object
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_bundle, save_bundle
from ssl_kedro.encoders.bundled import B
from ssl_kedro.encoders.panorama_encoder import PanoramaNetwork
from ssl_kedro.encoders.saliency_model import SaliencyModel

Arrays = dict[str, np.ndarray]


class ArrayMapDataset(FileDataset[np.ndarray]):
    """An ``.npy`` file; loading maps it read-only, so that an array may exceed the memory."""

    holds = "an array of numbers as numpy.save writes it (.npy)"

    def read(self, path: Path) -> np.ndarray:
        """The array, a read-only memory map."""
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    def write(self, value: np.ndarray, path: Path) -> None:
        """As ``numpy.save`` writes it."""
        with path.open("wb") as file:
            np.save(file, value, allow_pickle=False)


class TensorsDataset(FileDataset[Arrays]):
    """Arrays by name in one safetensors file: no pickle, loads by memory map."""

    holds = "a safetensors file"

    def read(self, path: Path) -> Arrays:
        """All arrays."""
        return dict(load_file(path))

    def write(self, value: Arrays, path: Path) -> None:
        """All arrays, contiguous."""
        save_file({name: np.ascontiguousarray(array) for name, array in value.items()}, path)


class WholeFileDataset(FileDataset[Any]):
    """A file that another dataset reads and writes, replaced only when it is complete.

    Kedro's own datasets open the file that they replace: a full disk or a kill leaves it empty.
    The other dataset is made, and its packages are loaded, when there is something to write.

    Args:
        dataset: its configuration, without a path.
        file: where it lies; see :class:`ssl_kedro.datasets.base.FileDataset`.
    """

    def __init__(self, *, dataset: dict[str, Any], **file: Any) -> None:
        super().__init__(**file)
        self._other = dataset
        self.holds = f"what {dataset['type']} reads"

    def read(self, path: Path) -> Any:
        """What the other dataset reads."""
        return self._at(path).load()

    def write(self, value: Any, path: Path) -> None:
        """As the other dataset writes it."""
        self._at(path).save(value)

    def _at(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(path.name, {**self._other, "filepath": str(path)})

    def _previewed(self) -> Callable[..., Any] | None:
        """Where nothing else is asked for, what the other dataset has to show."""
        if self._preview is not None:
            return super()._previewed()
        theirs = getattr(self._at(Path(self._filepath.name)), "preview", None)
        if theirs is None:
            return None

        @wraps(theirs)
        def preview(**options: Any) -> Any:
            with self._here() as path:
                return self._at(path).preview(**options)  # type: ignore[attr-defined]

        return preview


class RecordDataset(FileDataset[Any]):
    """A dataclass, or a dictionary of them by name, as JSON; checked when it is read.

    Args:
        record: path of the type, such as "ssl_kedro.pipelines.gated.records.Evaluation"; whatever
            pydantic can check.
        file: where it lies; see :class:`ssl_kedro.datasets.base.FileDataset`.
    """

    holds = "a JSON file"

    def __init__(self, *, record: str, **file: Any) -> None:
        super().__init__(**file)
        self._record = record

    @property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(named_object(self._record))

    def read(self, path: Path) -> Any:
        """The value.

        Raises:
            InputError: the file holds something else.
        """
        values = json.loads(path.read_text(encoding="utf-8"))
        try:
            return self._adapter.validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(
                self._filepath,
                f"{first['input']!r:.60} at {place}" if place else f"{first['input']!r:.60}",
                f"{self._record} ({first['msg'].lower()})",
                "run the node that writes the file again",
            ) from error

    def write(self, value: Any, path: Path) -> None:
        """The value, under the names of its fields."""
        plain = self._adapter.dump_python(value, mode="json")
        path.write_text(json.dumps(plain, indent=2), encoding="utf-8")

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "record": self._record}


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
        """The index, ready to search."""
        import faiss  # noqa: PLC0415  heavy

        how = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if self._mapped else 0
        return faiss.read_index(str(path), how)

    def write(self, value: Any, path: Path) -> None:
        """As faiss writes it."""
        import faiss  # noqa: PLC0415

        faiss.write_index(value, str(path))

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "mapped": self._mapped}


class _BundleDataset(FolderDataset[B]):
    """A network: a folder with its description and safetensors weights."""

    kind: ClassVar[type[Any]]

    def read(self, path: Path) -> B:
        """The network on the CPU, in evaluation mode."""
        network: B = load_bundle(path, self.kind)
        return network

    def write(self, value: B, path: Path) -> None:
        """A bundle."""
        save_bundle(value, path)


class EncoderBundleDataset(_BundleDataset[Encoder]):
    """A trained encoder."""

    holds, kind = "an encoder", Encoder


class PanoramaEncoderDataset(_BundleDataset[PanoramaNetwork]):
    """An encoder of panoramas."""

    holds, kind = "an encoder", PanoramaNetwork


class SaliencyModelDataset(_BundleDataset[SaliencyModel]):
    """Encoder and decoder together."""

    holds, kind = "a saliency model", SaliencyModel
