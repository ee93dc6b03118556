"""Image files in folders, one folder a class; ImageNet-100 is one of them.

Three layouts, told apart by what is there:

* ``root/train/<class>/*`` with ``root/test`` (or ``val``, or ``eval``) ``/<class>/*``;
* ``root/<class>/*`` (or ``root/train/<class>/*`` alone): a stratified share of
  ``eval_fraction`` is held out;
* images directly in ``root`` (or ``root/train``): unlabelled; a share is held out.

A folder "train" that holds images beside other folders of images is a class of vehicles, not
a part.

Class folders may have folders inside. Files are taken in the order of their names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.decode_files import check_skipped, file_blocks
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.listing import (
    EVALUATION_PARTS,
    Listing,
    existing_root,
    listed,
    loose_images,
)
from ssl_kedro.images.load import ImageSource, Split
from ssl_kedro.images.store import Plan, stored
from ssl_kedro.images.subsets import held_out, limited

_LAYOUT = (
    "a folder with train/<class>/ and test/<class>/ (or val, or eval), with <class>/ folders "
    "only, or with unlabelled images directly in it"
)


def load_folder(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of a folder; see the top of this file.

    Args:
        config: its ``root`` is the folder.
        split: "eval" is the evaluation part, the others the training part.
        seed: of the held-out share and of the limit.

    Raises:
        ImageSourceError: the folder's content cannot be used.
    """
    training = split != "eval"
    root = existing_root(config, _LAYOUT)
    listing = _part(root, config, training, seed)
    labels = None if listing.labels is None else np.array(listing.labels, dtype=np.int64)
    chosen = limited(labels, len(listing.paths), config, training, seed)
    paths = [listing.paths[index] for index in chosen]
    states = [_state(root, path) for path in paths]
    plan = Plan(
        source=config.source,
        identity=(
            str(root.resolve()),
            listing.class_names,
            states,
        ),
        count=len(paths),
        labels=None if labels is None else labels[chosen],
        class_names=listing.class_names,
        blocks=file_blocks(config, root, paths, sum(size for _, size, _ in states)),
        check=check_skipped(config, len(paths)),
        always_mapped=config.source == "imagenet100",
    )
    return stored(plan, config)


def _state(root: Path, path: str) -> tuple[str, int, int]:
    """Name, size and time of change of a file; -1 for a link to nothing, skipped later."""
    try:
        state = (root / path).stat()
    except OSError:
        return path, -1, -1
    return path, state.st_size, state.st_mtime_ns


def _part(root: Path, config: DataConfig, training: bool, seed: int) -> Listing:
    """Files of the training or the evaluation part."""
    train_name = "train" if _has_parts(root) else ""
    train = _checked(root, train_name, config)
    if train_name and (test_name := _evaluation_part(root, train)):
        test = _checked(root, test_name, config)
        _check_same_classes(train, test, test_name, config)
        return train if training else test
    labels = _labels_to_split(train, config)
    generator = numpy_generator(seed, "images", "held out")
    kept, held = held_out(labels, config.eval_fraction, generator)
    chosen = kept if training else held
    return Listing(
        tuple(train.paths[index] for index in chosen),
        None if train.labels is None else tuple(train.labels[index] for index in chosen),
        train.class_names,
    )


def _has_parts(root: Path) -> bool:
    """Whether ``root/train`` is the training part, not the class of that name."""
    if not (root / "train").is_dir():
        return False
    if listed(root, "train").labels is not None:
        return True
    return set(listed(root, "").class_names) <= {"train", *EVALUATION_PARTS}


def _evaluation_part(root: Path, train: Listing) -> str:
    """First of test, val, eval that is there; "" for none.

    One with class folders goes before one without: some data sets publish their test images
    without labels and are evaluated on val.
    """
    parts = [name for name in EVALUATION_PARTS if (root / name).is_dir()]
    if train.labels is not None:
        parts.sort(key=lambda name: listed(root, name).labels is None)
    return parts[0] if parts else ""


def _checked(root: Path, part: str, config: DataConfig) -> Listing:
    """Files of one part's folder, refused if empty, mixed or of a single class."""
    listing = listed(root, part)
    shown = part or "it"
    if not listing.paths:
        raise config.root_error(
            found=f"no images in {shown}",
            expected=_LAYOUT,
            remedy="put images there, or set data.root to another folder",
        )
    if listing.labels is None:
        return listing
    if loose := loose_images(root, part):
        raise config.root_error(
            found=f"both class folders ({', '.join(listing.class_names[:3])}, ...) and "
            f"{len(loose)} images beside them ({loose[0]}, ...) in {shown}",
            expected="either class folders or unlabelled images",
            remedy="move one of the two elsewhere",
        )
    if len(listing.class_names) == 1:
        (name,) = listing.class_names
        raise config.root_error(
            found=f"1 class folder, {name!r}, in {shown}",
            expected="at least two classes, which evaluation needs",
            remedy=_single_class_remedy(root, part, name),
        )
    return listing


def _single_class_remedy(root: Path, part: str, name: str) -> str:
    inside = listed(root, f"{part}/{name}".lstrip("/"))
    if inside.labels is not None:
        return (
            f"set data.root to {(root / part / name).as_posix()!r}, whose "
            f"{len(inside.class_names)} folders look like classes, or add classes"
        )
    return "add class folders, or put the images directly in data.root to train without labels"


def _check_same_classes(train: Listing, test: Listing, test_name: str, config: DataConfig) -> None:
    if train.class_names == test.class_names:
        return
    differing = [
        f"{', '.join(map(repr, sorted(names)[:5]))} only in {part}"
        for part, names in (
            ("train", set(train.class_names) - set(test.class_names)),
            (test_name, set(test.class_names) - set(train.class_names)),
        )
        if names
    ]
    raise config.root_error(
        found="classes " + " and ".join(differing),
        expected=f"the same class folders in train and {test_name}, each with images",
        remedy="rename, add or remove class folders until they agree",
    )


def _labels_to_split(train: Listing, config: DataConfig) -> np.ndarray:
    """Labels of files that are to be split; zeros where unlabelled."""
    remedy = "add images, or give the evaluation images in a test folder"
    if train.labels is None:
        if len(train.paths) < 2:
            raise config.root_error(
                found=f"1 image, {train.paths[0]!r}",
                expected="at least 2, so that one can be held out for evaluation",
                remedy=remedy,
            )
        return np.zeros(len(train.paths), dtype=np.int64)
    labels = np.array(train.labels, dtype=np.int64)
    counts = np.bincount(labels)
    if counts.min() < 2:
        raise config.root_error(
            found=f"1 image in class {train.class_names[int(counts.argmin())]!r}",
            expected="at least 2 in each class, so that one can be held out for evaluation",
            remedy=remedy,
        )
    return labels


SOURCE = ImageSource(("folder", "imagenet100"), load_folder)
