"""The entrance: images of a configured source, which is found by its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.plugins import module_names, modules

if TYPE_CHECKING:
    from ssl_kedro.images.config import DataConfig
    from ssl_kedro.images.image_set import ImageSet

Split = Literal["pretrain", "train", "eval"]
PACKAGE = "ssl_kedro.images.sources"


@dataclass(frozen=True)
class ImageSource:
    """A source of images, which a module of ``ssl_kedro.images.sources`` holds as ``SOURCE``.

    A package of its own adds one by an entry point of that group; see
    :func:`ssl_kedro.core.plugins.module_names`.

    Args:
        names: by which it is asked for.
        load: from configuration, split and seed to the images; without an unlabelled part
            "pretrain" gives those of "train".
        reads_files: from ``data.root``.
        unlabelled: whether pre-training has more images than the labelled training part.
    """

    names: tuple[str, ...]
    load: Callable[[DataConfig, Split, int], ImageSet]
    reads_files: bool = True
    unlabelled: bool = False


@cache
def image_source(name: str) -> ImageSource:
    """The source of a name.

    Raises:
        ConfigError: there is none.
    """
    # Most are called as their module, so that no other has to be imported.
    likely_first = sorted(module_names(PACKAGE), key=lambda module: not module.endswith(f".{name}"))
    for module in likely_first:
        found: ImageSource = importlib.import_module(module).SOURCE
        if name in found.names:
            return found
    raise ConfigError("source", name, f"one of {', '.join(source_names())}")


def source_names() -> list[str]:
    """Names of all sources."""
    return [name for module in modules(PACKAGE) for name in module.SOURCE.names]


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
    return image_source(config.source).load(config, split, seed)


def has_unlabelled_part(source: str) -> bool:
    """Whether pre-training has more images than the labelled training part."""
    return image_source(source).unlabelled
