"""STL-10 as published (binary files), without holding its 2.8 GB of images in memory."""

import numpy as np

from ssl_kedro.images.arrays import images_from_arrays
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.subsets import limited_count

SIDE = 96
_PARTS = {"pretrain": "unlabeled", "train": "train", "eval": "test"}
CLASS_NAMES = (
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
)


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """100,000 unlabelled, 5,000 training or 8,000 test images of 96 x 96 pixels.

    ``root`` holds ``stl10_binary``: ``<part>_X.bin`` bytes in the order image, channel, column,
    row; ``<part>_y.bin`` one byte from 1 to 10 for each image. MD5 sums are compared with the
    publisher's.
    """
    from torchvision.datasets import STL10  # noqa: PLC0415  slow to import
    from torchvision.datasets.utils import check_integrity  # noqa: PLC0415

    folder = config.published_folder(STL10)
    part = _PARTS[split]
    for name, md5 in (*STL10.train_list, *STL10.test_list):
        if not name.startswith(f"{part}_"):
            continue
        path = folder / name
        if not path.is_file():
            raise config.published_error(STL10, f"no {STL10.base_folder}/{name}")
        if not check_integrity(str(path), md5):
            found = f"a {STL10.base_folder}/{name} that is not the published one (MD5)"
            raise config.published_error(STL10, found)
    pixels = np.memmap(folder / f"{part}_X.bin", dtype=np.uint8, mode="r")
    labels = None
    if split != "pretrain":
        labels = np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8).astype(np.int64) - 1
    return images_from_arrays(
        config,
        pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 1, 3, 2),
        labels,
        () if labels is None else CLASS_NAMES,
        training=split != "eval",
        seed=seed,
        identity=(part,),
    )


def _count(config: DataConfig, split: Split, _seed: int) -> int:
    from torchvision.datasets import STL10  # noqa: PLC0415  slow to import

    config.published_folder(STL10)
    there = {"pretrain": 100_000, "train": 5_000, "eval": 8_000}[split]
    classes = 0 if split == "pretrain" else len(CLASS_NAMES)
    return limited_count(config, split != "eval", there, classes)


SOURCE = ImageSource(("stl10",), _load, unlabelled=True, count=_count)
