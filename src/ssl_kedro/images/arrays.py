"""Images that come as uint8 arrays: their layouts, and resizing them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.decode import resized_square
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.store import Plan, array_blocks, stored
from ssl_kedro.images.subsets import limited


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

    def made(wanted: slice) -> np.ndarray:
        return resized_images(part(chosen[wanted]), config.size)

    plan = Plan(
        source=config.source,
        identity=(*identity, training, chosen.tolist() if len(chosen) < count else "all"),
        count=len(chosen),
        labels=None if labels is None else labels[chosen],
        class_names=class_names,
        blocks=array_blocks(len(chosen), made, config.size),
    )
    return stored(plan, config)
