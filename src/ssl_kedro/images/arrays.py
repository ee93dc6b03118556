"""What sources share whose images come as uint8 arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_kedro.images.decode import resized_square
from ssl_kedro.images.errors import ImageSourceError
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.store import Block, Plan, stored
from ssl_kedro.images.subsets import limited

_BLOCK_BYTES = 8 * 2**20


def published_folder(config: DataConfig, kind: Any) -> Path:
    """Folder of a published data set, unpacked below ``config.root``.

    Args:
        config: of the source.
        kind: torchvision's class of the data set.

    Raises:
        ImageSourceError: it is not there.
    """
    try:
        folder = config.existing_root("") / kind.base_folder
    except ImageSourceError as error:
        raise published_error(config, kind, error.found) from None
    if not folder.is_dir():
        raise published_error(config, kind, f"no {kind.base_folder}/")
    return Path(folder)


def published_error(config: DataConfig, kind: Any, found: str) -> ImageSourceError:
    """What is wrong with a published data set, and where there is a whole one."""
    return config.root_error(
        found,
        expected=f"a folder that holds {kind.base_folder}/, the unpacked {kind.filename}",
        remedy=f"download {kind.url}, unpack it, and set data.root to the folder that holds "
        f"{kind.base_folder}/",
    )


def resized_images(images: np.ndarray, size: int) -> np.ndarray:
    """Images cropped to the central square and resized, antialiased bilinear.

    Args:
        images: uint8 (N, 3, H, W).
        size: side of the result in pixels.

    Returns:
        uint8 (N, 3, size, size), C-contiguous.
    """
    if images.shape[2:] == (size, size):
        return np.ascontiguousarray(images)
    result = np.empty((len(images), 3, size, size), dtype=np.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        result[index] = np.asarray(resized_square(picture, size)).transpose(2, 0, 1)
    return result


def images_from_arrays(
    config: DataConfig,
    part: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray | None,
    count: int,
    class_names: tuple[str, ...],
    *,
    training: bool,
    seed: int,
    identity: tuple[object, ...],
) -> ImageSet:
    """Limit, resize and store images that a function hands out.

    Args:
        config: of the source.
        part: from indices (K,) to uint8 (K, 3, H, W).
        labels: int64 (count,), or None.
        count: images there are.
        class_names: in the order of the labels.
        training: which limit applies.
        seed: of the limit.
        identity: JSON values that the images depend on.
    """
    chosen = limited(labels, count, config, training, seed)

    def blocks() -> Iterator[Block]:
        step = max(1, _BLOCK_BYTES // (3 * config.size**2))
        for start in range(0, len(chosen), step):
            yield resized_images(part(chosen[start : start + step]), config.size), ()

    plan = Plan(
        source=config.source,
        identity=(*identity, training, chosen.tolist() if len(chosen) < count else "all"),
        count=len(chosen),
        labels=None if labels is None else labels[chosen],
        class_names=class_names,
        blocks=blocks,
    )
    return stored(plan, config)
