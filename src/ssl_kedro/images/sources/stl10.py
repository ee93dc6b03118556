"""STL-10 as published (binary files), without holding its 2.8 GB of images in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_kedro.images.arrays import images_from_arrays
from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.errors import ImageSourceError
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.listing import existing_root
from ssl_kedro.images.load import ImageSource, Split

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


def load_stl10(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """100,000 unlabelled, 5,000 training or 8,000 test images of 96 x 96 pixels.

    ``<part>_X.bin`` holds bytes in the order image, channel, column, row; ``<part>_y.bin``
    one byte from 1 to 10 for each image. MD5 sums are compared with the publisher's.

    Args:
        config: its ``root`` holds ``stl10_binary``.
        split: "pretrain" is the unlabelled part, "eval" the test part.
        seed: of the limit.

    Raises:
        ImageSourceError: the data set is not there or not the published one.
    """
    folder = _folder(config)
    part = _PARTS[split]
    _check_published(config, folder, part)
    pixels = np.memmap(folder / f"{part}_X.bin", dtype=np.uint8, mode="r")
    images = pixels.reshape(-1, 3, SIDE, SIDE)
    labels = None
    if split != "pretrain":
        labels = np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8).astype(np.int64) - 1

    def images_at(indices: np.ndarray) -> np.ndarray:
        return np.asarray(images[indices]).transpose(0, 1, 3, 2)

    return images_from_arrays(
        config,
        images_at,
        labels,
        len(images),
        () if labels is None else CLASS_NAMES,
        training=split != "eval",
        seed=seed,
        identity=(part,),
    )


def _error(config: DataConfig, found: str) -> ImageSourceError:
    from torchvision.datasets import STL10  # noqa: PLC0415  slow to import

    return config.root_error(
        found,
        expected=f"a folder that holds {STL10.base_folder}/, the unpacked {STL10.filename}",
        remedy=f"download {STL10.url}, unpack it, and set data.root to the folder that holds "
        f"{STL10.base_folder}/",
    )


def _folder(config: DataConfig) -> Path:
    from torchvision.datasets import STL10  # noqa: PLC0415  slow to import

    try:
        root = existing_root(config, "")
    except ImageSourceError as error:
        raise _error(config, error.found) from None
    folder = Path(root / STL10.base_folder)
    if not folder.is_dir():
        raise _error(config, f"no {STL10.base_folder}/")
    return folder


def _check_published(config: DataConfig, folder: Path, part: str) -> None:
    """Compare the files of one part with the published MD5 sums."""
    from torchvision.datasets import STL10  # noqa: PLC0415  slow to import
    from torchvision.datasets.utils import check_integrity  # noqa: PLC0415

    for name, md5 in (*STL10.train_list, *STL10.test_list):
        if not name.startswith(f"{part}_"):
            continue
        if not (folder / name).is_file():
            raise _error(config, f"no {STL10.base_folder}/{name}")
        if not check_integrity(str(folder / name), md5):
            raise _error(
                config, f"a {STL10.base_folder}/{name} that is not the published one (MD5)"
            )


SOURCE = ImageSource(("stl10",), load_stl10, unlabelled=True)
