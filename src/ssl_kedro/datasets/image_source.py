"""Kedro dataset that decodes one part of an image source."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError
from pydantic import TypeAdapter

from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import Split, load_images


class ImageSourceDataset(AbstractDataset[ImageSet, ImageSet]):
    """Images of a source as a uint8 store, read-only.

    Catalog entry::

        dual_gating.train_images:
          type: ssl_kedro.datasets.ImageSourceDataset
          split: train
          data: ${parameter:dual_gating.data}
          seed: ${parameter:dual_gating.seed}

    Args:
        split: "pretrain", "train" or "eval".
        data: fields of :class:`ssl_kedro.images.config.DataConfig`.
        seed: of subsets, splits and generated images.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(
        self,
        *,
        split: Split,
        data: dict[str, Any],
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._split = split
        self._config = TypeAdapter(DataConfig).validate_python(dict(data))
        self._seed = seed
        self.metadata = metadata

    def load(self) -> ImageSet:
        """Decode the images; see :func:`ssl_kedro.images.load.load_images`."""
        return load_images(self._config, self._split, self._seed)

    def save(self, data: ImageSet) -> NoReturn:  # noqa: ARG002
        """Refused: sources are read-only."""
        raise DatasetError("an image source is read-only; write images with other tools")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        root = None if self._config.root is None else str(PurePosixPath(self._config.root))
        return {"source": self._config.source, "split": self._split, "root": root}
