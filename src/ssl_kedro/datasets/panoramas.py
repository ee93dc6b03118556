"""Kedro datasets of the saliency pipeline: panoramas, their stores, networks, output places."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError
from pydantic import TypeAdapter

from ssl_kedro.encoders.bundle import load_bundle, save_bundle
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder
from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.store import PanoramaStore


class PanoramaSourceDataset(AbstractDataset[PanoramaSource, PanoramaSource]):
    """A source of panoramas: its files found, none decoded.

    Args:
        name: of the source.
        own: name of the run's own data.
        data: its configuration.
        unlabelled: further configurations by name.
        also_test_on: further configurations by name.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(
        self,
        *,
        name: str,
        own: str,
        data: dict[str, Any],
        unlabelled: dict[str, Any] | None = None,
        also_test_on: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._name = name
        self._configs = {own: data, **(unlabelled or {}), **(also_test_on or {})}
        self.metadata = metadata

    def load(self) -> PanoramaSource:
        """See :func:`ssl_kedro.saliency.sources.open.open_source`."""
        config = TypeAdapter(SourceConfig).validate_python(dict(self._configs[self._name]))
        return open_source(config)

    def save(self, data: PanoramaSource) -> NoReturn:  # noqa: ARG002
        """Refused: sources are read-only."""
        raise DatasetError("a source of panoramas is read-only")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}


class PanoramaStoreDataset(AbstractDataset[PanoramaStore, PanoramaStore]):
    """Handle on the decoded panoramas of a source, which a node fills as it decodes.

    Args:
        filepath: of the folder.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> PanoramaStore:
        """A store at the path; nothing is read yet."""
        return PanoramaStore(self._filepath)

    def save(self, data: PanoramaStore) -> NoReturn:  # noqa: ARG002
        """Refused: the decoding node writes through the store."""
        raise DatasetError("panoramas are written by the decoding node through their store")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class PanoramaEncoderDataset(AbstractDataset[PanoramaEncoder, PanoramaEncoder]):
    """An encoder of panoramas: a folder with its description and weights.

    Args:
        filepath: the folder.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> PanoramaEncoder:
        """Encoder on the CPU, in evaluation mode."""
        return load_bundle(self._filepath, PanoramaEncoder)

    def save(self, data: PanoramaEncoder) -> None:
        """Write, replacing an older bundle only when complete."""
        save_bundle(data, self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class EarlierEncoderDataset(AbstractDataset[PanoramaEncoder, PanoramaEncoder]):
    """An encoder that an earlier run left, wherever the parameters say it lies.

    Args:
        name: of the encoder.
        encoders: configurations by name; that of this one has its folder under "file".
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(
        self, *, name: str, encoders: dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> None:
        file = (encoders.get(name) or {}).get("file")
        self._path = None if file is None else Path(file).expanduser()
        self._name = name
        self.metadata = metadata

    def load(self) -> PanoramaEncoder:
        """Encoder on the CPU, in evaluation mode."""
        if self._path is None:
            raise DatasetError(
                f"expected the folder of an encoder, found none: set encoders.{self._name}.file"
            )
        return load_bundle(self._path, PanoramaEncoder)

    def save(self, data: PanoramaEncoder) -> NoReturn:  # noqa: ARG002
        """Refused: earlier runs' encoders are read-only."""
        raise DatasetError("an earlier run's encoder is read-only")

    def _exists(self) -> bool:
        return self._path is not None and self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name, "file": None if self._path is None else str(self._path)}


class SaliencyModelDataset(AbstractDataset[SaliencyModel, SaliencyModel]):
    """Encoder and decoder together: a folder with their description and weights.

    Args:
        filepath: the folder.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> SaliencyModel:
        """Model on the CPU, in evaluation mode."""
        return load_bundle(self._filepath, SaliencyModel)

    def save(self, data: SaliencyModel) -> None:
        """Write, replacing an older bundle only when complete."""
        save_bundle(data, self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class OutputPathDataset(AbstractDataset[Path, Path]):
    """Where a node that writes as it goes is to write: files that are too large to return.

    Args:
        filepath: of the file or folder.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath).expanduser()
        self.metadata = metadata

    def load(self) -> Path:
        """The path; nothing need be there yet."""
        return self._filepath

    def save(self, data: Path) -> NoReturn:  # noqa: ARG002
        """Refused: the node itself writes."""
        raise DatasetError("what lies at an output path is written by the node that is given it")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
