"""Kedro datasets of the saliency pipeline: panoramas, their stores, networks, output places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import DatasetError
from pydantic import TypeAdapter

from ssl_kedro.datasets.base import FolderDataset, HandleDataset, ReadOnlyDataset
from ssl_kedro.encoders.bundle import load_bundle, save_bundle
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder
from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.store import PanoramaStore


class PanoramaSourceDataset(ReadOnlyDataset[PanoramaSource]):
    """A source of panoramas: its files found, none decoded.

    Args:
        name: of the source.
        own: name of the run's own data.
        data: its configuration.
        unlabelled: further configurations by name.
        also_test_on: further configurations by name.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    refusal = "a source of panoramas is read-only"

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

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}


class PanoramaStoreDataset(HandleDataset[PanoramaStore]):
    """Handle on the decoded panoramas of a source, which a node fills as it decodes."""

    opened_by = PanoramaStore
    refusal = "panoramas are written by the decoding node through their store"


class PanoramaEncoderDataset(FolderDataset[PanoramaEncoder]):
    """An encoder of panoramas: a folder with its description and weights."""

    holds = "an encoder"

    def read(self, path: Path) -> PanoramaEncoder:
        """Encoder on the CPU, in evaluation mode."""
        return load_bundle(path, PanoramaEncoder)

    def write(self, value: PanoramaEncoder, path: Path) -> None:
        """A bundle."""
        save_bundle(value, path)


class EarlierEncoderDataset(PanoramaEncoderDataset):
    """An encoder that an earlier run left, wherever the parameters say it lies; read-only.

    Args:
        name: of the encoder.
        encoders: configurations by name; that of this one has its folder under "file".
        file: how it is reached; see :class:`ssl_kedro.datasets.base.FileDataset`.
    """

    holds = "the folder of an encoder"

    def __init__(self, *, name: str, encoders: dict[str, Any], **file: Any) -> None:
        super().__init__(filepath=(encoders.get(name) or {}).get("file"), **file)
        self.unset = f"set encoders.{name}.file"

    def write(self, value: PanoramaEncoder, path: Path) -> None:  # noqa: ARG002
        """Refused."""
        raise DatasetError("an earlier run's encoder is read-only")


class SaliencyModelDataset(FolderDataset[SaliencyModel]):
    """Encoder and decoder together: a folder with their description and weights."""

    holds = "a saliency model"

    def read(self, path: Path) -> SaliencyModel:
        """Model on the CPU, in evaluation mode."""
        return load_bundle(path, SaliencyModel)

    def write(self, value: SaliencyModel, path: Path) -> None:
        """A bundle."""
        save_bundle(value, path)


class OutputPathDataset(HandleDataset[Path]):
    """Where a node that writes as it goes is to write: files that are too large to return."""

    opened_by = Path
    refusal = "what lies at an output path is written by the node that is given it"
