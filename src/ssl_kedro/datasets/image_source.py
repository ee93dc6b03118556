"""Kedro dataset that decodes one part of an image source."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import Any

from kedro.io import DatasetError
from pydantic import TypeAdapter

from ssl_kedro.datasets.base import ReadOnlyDataset
from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import Split, load_images


class ImageSourceDataset(ReadOnlyDataset[ImageSet]):
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
        entry: takes ``data`` as named configurations and reads the one of this name.
        size: side in px to resize to, in place of the configuration's own.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    refusal = "an image source is read-only; write images with other tools"

    def __init__(
        self,
        *,
        split: Split,
        data: dict[str, Any],
        seed: int = 0,
        entry: str | None = None,
        size: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._split = split
        chosen = data if entry is None else _named(data, entry)
        config = TypeAdapter(DataConfig).validate_python(dict(chosen))
        self._config = config if size is None else dataclasses.replace(config, size=size)
        self._seed = seed
        self.metadata = metadata

    def load(self) -> ImageSet:
        """Decode the images; see :func:`ssl_kedro.images.load.load_images`."""
        return load_images(self._config, self._split, self._seed)

    def _describe(self) -> dict[str, Any]:
        root = None if self._config.root is None else str(PurePosixPath(self._config.root))
        return {"source": self._config.source, "split": self._split, "root": root}


def _named(data: dict[str, Any], entry: str) -> dict[str, Any]:
    """One of several named configurations."""
    if entry not in data:
        known = ", ".join(sorted(data)) or "none"
        raise DatasetError(f"there is no image source named {entry!r}; known: {known}")
    chosen: dict[str, Any] = data[entry]
    return chosen
