"""CIFAR-10 and CIFAR-100 as published, read by torchvision; nothing is downloaded."""

import numpy as np

from ssl_kedro.images.arrays import images_from_arrays
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.subsets import limited_count


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """50,000 training or 10,000 test images of 32 x 32 pixels.

    ``root`` holds ``cifar-10-batches-py`` or ``cifar-100-python``. The published batches are
    pickles. torchvision compares their MD5 sums with the publisher's before it opens them, so
    that only the published bytes are unpickled.
    """
    from torchvision.datasets import CIFAR10, CIFAR100  # noqa: PLC0415  slow to import

    training = split != "eval"
    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[config.source]
    root = config.published_folder(kind).parent
    try:
        data = kind(root, train=training, download=False)
    except RuntimeError as error:
        found = f"a {kind.base_folder}/ whose files differ from the published ones (MD5)"
        raise config.published_error(kind, found) from error
    return images_from_arrays(
        config,
        data.data.transpose(0, 3, 1, 2),
        np.array(data.targets, dtype=np.int64),
        tuple(data.classes),
        training=training,
        seed=seed,
        identity=(),
    )


def _count(config: DataConfig, split: Split, _seed: int) -> int:
    from torchvision.datasets import CIFAR10, CIFAR100  # noqa: PLC0415  slow to import

    config.published_folder({"cifar10": CIFAR10, "cifar100": CIFAR100}[config.source])
    training, classes = split != "eval", int(config.source.removeprefix("cifar"))
    return limited_count(config, training, 50_000 if training else 10_000, classes)


SOURCE = ImageSource(("cifar10", "cifar100"), _load, count=_count)
