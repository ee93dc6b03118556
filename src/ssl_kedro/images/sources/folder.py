"""Image files in folders, one folder a class; ImageNet-100 is one of them.

Three layouts, told apart by what is there:

* ``root/train/<class>/*`` with ``root/test`` (or ``val``, ``validation``, ``eval``) ``/<class>/*``;
* ``root/<class>/*`` (or ``root/train/<class>/*`` alone): a stratified share of
  ``eval_fraction`` is held out;
* images directly in ``root`` (or ``root/train``): unlabelled; a share is held out.

A folder "train" that holds images beside other folders of images is a class of vehicles, not a
part. Class folders may have folders inside. Files are taken in the order of their names.
"""

import hashlib
import os
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import shown
from ssl_kedro.core.names import Names, states
from ssl_kedro.core.progress import LONG_S, progress_bar
from ssl_kedro.images.decode_files import file_blocks
from ssl_kedro.images.files import (
    any_image_below,
    images_below,
    is_image,
    is_visible_folder,
    passed_over,
)
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.parts import EVALUATION_PARTS, Part, kept_and_held, with_classes_of
from ssl_kedro.images.store import Plan, stored
from ssl_kedro.images.subsets import limited

_LAYOUT = (
    "a folder with train/<class>/ and test/<class>/ (or val, validation, eval), with <class>/ "
    "folders only, or with unlabelled images directly in it"
)


def _found(config: DataConfig, split: Split, seed: int) -> tuple[Path, Part]:
    """The root and the files of a part of it."""
    training = split != "eval"
    root = config.existing_root(_LAYOUT)
    files = _part(root, config, training, seed)
    return root, _chosen(files, limited(files.labels, len(files), config, training, seed))


def _chosen(files: Part, rows: np.ndarray) -> Part:
    if len(rows) == len(files):
        return files
    labels = None if files.labels is None else files.labels[rows]
    return Part(files.names.chosen(rows), labels, files.class_names)


def _count(config: DataConfig, split: Split, seed: int) -> int:
    return len(_found(config, split, seed)[1])


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of the folder ``root``; see the top of this file."""
    root, files = _found(config, split, seed)
    with progress_bar(len(files), "dates of files", "files", delay=LONG_S) as bar:
        dated = states(root, files.names, bar.update)
    plan = Plan(
        identity=(
            str(root.resolve()),
            files.class_names,
            files.names.digest(),
            hashlib.sha256(dated.data).hexdigest(),
        ),
        count=len(files),
        labels=files.labels,
        class_names=tuple(map(shown, files.class_names)),
        blocks=partial(file_blocks, config, root, files.names, int(dated[:, 0].sum())),
        paths=files.names,
        always_mapped=config.source == "imagenet100",
    )
    return replace(stored(plan, config), passed_over=passed_over(root))


def _part(root: Path, config: DataConfig, training: bool, seed: int) -> Part:
    """Files of the training or the evaluation part."""
    train_name = "train" if _has_parts(root) else ""
    train = _checked(root, train_name, config)
    if train_name and (test_name := _evaluation_part(root, train)):
        test = with_classes_of(train, _checked(root, test_name, config), test_name, config)
        return train if training else test
    kept, held = kept_and_held(train, config, seed)
    return _chosen(train, kept if training else held)


def _class_folders(root: Path, part: str) -> list[str]:
    """Visible folders of one part of a root that hold images at any depth, sorted."""
    with os.scandir(root / part) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    return [
        name for name in filter(is_visible_folder, names) if any_image_below(root, f"{part}/{name}")
    ]


def _listed(root: Path, part: str) -> Part:
    """Images of one part of a root, "" for the root itself, by class folder if there are any.

    Hidden files and files with other extensions are passed over, and so are folders without
    images.
    """
    classes = _class_folders(root, part)
    if not classes:
        return Part(Names.of(_loose_images(root, part)), None, ())
    counts = []

    def files_of(name: str) -> list[str]:
        found = images_below(root, f"{part}/{name}")
        counts.append(len(found))
        bar.update(len(found))
        return found

    # One class at a time: strings take ten times what is kept of them.
    with progress_bar(None, "finding files", "files", delay=LONG_S) as bar:
        names = Names.of(chain.from_iterable(map(files_of, classes)))
    return Part(names, np.repeat(np.arange(len(classes)), counts), tuple(classes))


def _loose_images(root: Path, part: str) -> list[str]:
    """Images that lie directly in a part's folder, outside any class folder."""
    prefix = f"{part}/" if part else ""
    with os.scandir(root / part) as entries:
        found = (entry.name for entry in entries if is_image(entry.name) and not entry.is_dir())
        return sorted(prefix + name for name in found)


def _has_parts(root: Path) -> bool:
    """Whether ``root/train`` is the training part, not the class of that name."""
    if not (root / "train").is_dir():
        return False
    if _class_folders(root, "train"):
        return True
    return set(_class_folders(root, "")) <= {"train", *EVALUATION_PARTS}


def _evaluation_part(root: Path, train: Part) -> str:
    """First of test, val, validation, eval that is there; "" for none.

    One with class folders goes before one without: some data sets publish their test images
    without labels and are evaluated on val.
    """
    parts = [name for name in EVALUATION_PARTS if (root / name).is_dir()]
    if train.labels is not None:
        parts.sort(key=lambda name: not _class_folders(root, name))
    return parts[0] if parts else ""


def _checked(root: Path, part: str, config: DataConfig) -> Part:
    """Files of one part's folder, refused if empty, mixed or of a single class."""
    files = _listed(root, part)
    shown = part or "it"
    if not len(files):
        raise config.error(
            "root",
            found=f"no images in {shown}",
            expected=_LAYOUT,
            remedy="put images there, or set data.root to another folder",
        )
    if files.labels is None:
        return files
    if loose := _loose_images(root, part):
        raise config.error(
            "root",
            found=f"both class folders ({', '.join(files.class_names[:3])}, ...) and "
            f"{len(loose)} images beside them ({loose[0]}, ...) in {shown}",
            expected="either class folders or unlabelled images",
            remedy="move one of the two elsewhere",
        )
    if len(files.class_names) == 1:
        (name,) = files.class_names
        raise config.error(
            "root",
            found=f"1 class folder, {name!r}, in {shown}",
            expected="at least two classes, which evaluation needs",
            remedy=_single_class_remedy(root, part, name),
        )
    return files


def _single_class_remedy(root: Path, part: str, name: str) -> str:
    if inside := _class_folders(root, f"{part}/{name}".lstrip("/")):
        return (
            f"set data.root to {(root / part / name).as_posix()!r}, whose "
            f"{len(inside)} folders look like classes, or add classes"
        )
    return "add class folders, or put the images directly in data.root to train without labels"


SOURCE = ImageSource(("folder", "imagenet100"), _load, count=_count)
