"""Images that a source has as one array."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ssl_kedro.core.form import Form
from ssl_kedro.images.decode import resized_square
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.store import Block, Plan, stored
from ssl_kedro.images.subsets import limited

_BLOCK_BYTES = 8 * 2**20


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
        result[index] = np.asarray(resized_square(picture, Form(size))).transpose(2, 0, 1)
    return result


def images_from_arrays(
    config: DataConfig,
    images: np.ndarray,
    labels: np.ndarray | None,
    class_names: tuple[str, ...],
    *,
    training: bool,
    seed: int,
    identity: tuple[object, ...],
) -> ImageSet:
    """Limit, resize and store images.

    Args:
        config: of the source.
        images: uint8 (N, 3, H, W), a view or memory map where they are many: parts are copied.
        labels: int64 (N,), or None.
        class_names: in the order of the labels.
        training: which limit applies.
        seed: of the limit.
        identity: JSON values that the images depend on.
    """
    chosen = limited(labels, len(images), config, training, seed)
    step = max(1, _BLOCK_BYTES // (3 * config.size**2))

    def blocks(done: int) -> Iterator[Block]:
        for start in range(done, len(chosen), step):
            yield resized_images(images[chosen[start : start + step]], config.size), ()

    plan = Plan(
        identity=(*identity, training, chosen.tolist() if len(chosen) < len(images) else "all"),
        count=len(chosen),
        labels=None if labels is None else labels[chosen],
        class_names=class_names,
        blocks=blocks,
    )
    return stored(plan, config)
