"""The entrance: images of a configured source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from ssl_kedro.images.cifar import load_cifar
from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.digits import load_digits_images
from ssl_kedro.images.folder import load_folder
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.npz import load_npz
from ssl_kedro.images.stl10 import load_stl10
from ssl_kedro.images.textures import load_textures

Split = Literal["pretrain", "train", "eval"]
Loader = Callable[[DataConfig, Split, int], ImageSet]


def _labelled(load: Callable[[DataConfig, bool, int], ImageSet]) -> Loader:
    """Loader of a source that pre-trains on its training part."""
    return lambda config, split, seed: load(config, split != "eval", seed)


_STL10_PARTS = {"pretrain": "unlabeled", "train": "train", "eval": "test"}

# A new source is one file, one line here, and its name in SourceName.
LOADERS: dict[str, Loader] = {
    "textures": _labelled(load_textures),
    "digits": _labelled(load_digits_images),
    "folder": _labelled(load_folder),
    "npz": _labelled(load_npz),
    "cifar10": _labelled(load_cifar),
    "cifar100": _labelled(load_cifar),
    "stl10": lambda config, split, seed: load_stl10(config, _STL10_PARTS[split], seed),
    "imagenet100": _labelled(load_folder),
}


def load_images(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of one part of a source, at ``config.size``.

    Args:
        config: source, size and limits.
        split: "pretrain" (the unlabelled part where there is one, else as "train"), "train"
            or "eval".
        seed: of generated images, held-out shares and limits; equal seeds give equal images.

    Returns:
        The images; a memory map if they would exceed ``config.memory_limit_mb``.

    Raises:
        ImageSourceError: the images cannot be used; the text names parameter and remedy.
        ValueError: there is no such split.
    """
    if split not in get_args(Split):
        raise ValueError(f"split = {split!r}: expected one of {', '.join(get_args(Split))}")
    return LOADERS[config.source](config, split, seed)


def has_unlabelled_part(source: str) -> bool:
    """Whether pre-training has more images than the labelled training part."""
    return source == "stl10"
