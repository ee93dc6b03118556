"""Kedro datasets of the retrieval pipeline: tasks, frozen encoders and stores of vectors."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from ssl_kedro.datasets.base import HandleDataset, ReadOnlyDataset
from ssl_kedro.encoders.frozen import FrozenEncoderConfig, frozen_encoder
from ssl_kedro.encoders.maps import MapNetwork
from ssl_kedro.retrieval.extraction import VectorStore
from ssl_kedro.retrieval.sets import RetrievalSet, effective_config, retrieval_set


class RetrievalSetDataset(ReadOnlyDataset[RetrievalSet]):
    """A retrieval task: its files found, none decoded.

    Args:
        name: of the task.
        datasets: tasks by name.
        dataset: name and fields that change the entry of that name.
        seed: of generated images and of draws.
        descriptors: a user's own; where they name files, images are not looked for.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    refusal = "a retrieval task is read-only"

    def __init__(
        self,
        *,
        name: str,
        datasets: dict[str, Any],
        dataset: dict[str, Any],
        seed: int = 0,
        descriptors: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._name, self._seed = name, seed
        self._images = not (descriptors or {}).get("database")
        self._datasets, self._dataset = datasets, dataset
        self.metadata = metadata

    def load(self) -> RetrievalSet:
        """See :func:`ssl_kedro.retrieval.sets.retrieval_set`."""
        config = effective_config(self._datasets, self._dataset, self._name)
        return retrieval_set(self._name, config, self._seed, images=self._images)

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}


class FrozenEncoderDataset(ReadOnlyDataset[MapNetwork]):
    """A frozen encoder, ready.

    Args:
        name: of the encoder.
        encoders: configurations by name.
        seed: of random weights.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    refusal = "a frozen encoder is read-only"

    def __init__(
        self,
        *,
        name: str,
        encoders: dict[str, Any],
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._config = TypeAdapter(FrozenEncoderConfig).validate_python(dict(encoders[name]))
        self._name, self._seed = name, seed
        self.metadata = metadata

    def load(self) -> MapNetwork:
        """See :func:`ssl_kedro.encoders.frozen.frozen_encoder`."""
        return frozen_encoder(self._config, self._seed)

    def _exists(self) -> bool:
        return self._config.present

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name, "kind": self._config.kind, "file": self._config.file}


class VectorStoreDataset(HandleDataset[VectorStore]):
    """Handle on the vectors of one encoder and task, written in constant memory."""

    opened_by = VectorStore
    refusal = "vectors are written by the extraction through their store"
