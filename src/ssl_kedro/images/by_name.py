"""Images by the name of their source or by a path, as a notebook asks for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_kedro.core.remote import is_remote
from ssl_kedro.images import load
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig


def load_images(
    source: str | Path,
    split: load.Split = "train",
    *,
    seed: int = 0,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> ImageSet:
    """Images of a source by its name, or of a folder, archive, table or ``.npz`` file by its path.

    >>> load_images("textures", generated=20).images.shape
    (20, 3, 32, 32)

    Args:
        source: "textures", "digits", "cifar10" or another that parameter files know, or a
            path or URL.
        split: "pretrain" (unlabelled images, where a source has them), "train" or "eval".
        seed: of generated images, held-out shares and limits.
        storage_options: of a URL's file system: credentials, ``endpoint_url``, ...
        options: further fields of :class:`~ssl_kedro.images.load.DataConfig`: ``size`` (px, 32),
            ``limit``, ``root``, ...

    Raises:
        ConfigError: an option that cannot be used.
        ImageSourceError: images that cannot be used; the text names what to change.
    """
    path = Path(source).expanduser()
    named = isinstance(source, str) and source in load.source_names()
    if isinstance(source, Path) or (not named and (is_remote(source) or path.exists())):
        options = {"root": str(source), **options}
        source = load.source_of(path)
    config = DataConfig(**{"source": source, **options})
    return load.load_images(config, split, seed, storage_options)
