"""Image files in folders, one folder a class; ImageNet-100 is one of them.

Three layouts, told apart by what is there:

* ``root/train/<class>/*`` with ``root/test`` (or ``val``, ``validation``, ``eval``) ``/<class>/*``;
* ``root/<class>/*`` (or ``root/train/<class>/*`` alone): a stratified share of
  ``eval_fraction`` is held out;
* images directly in ``root`` (or ``root/train``): unlabelled; a share is held out.

``data.labels=none`` takes the images at any depth below, without classes. ``root`` may also be an
archive (.zip, .tar) of such a folder.

A folder "train" that holds images beside other folders of images is a class of vehicles, not a
part. Class folders may have folders inside. Files are taken in the order of their names.
"""

import os
from itertools import chain
from pathlib import Path

import numpy as np

from ssl_kedro.core.names import Names
from ssl_kedro.core.progress import LONG_S, progress_bar
from ssl_kedro.images.archives import is_archive, unpacked
from ssl_kedro.images.files import (
    any_image_below,
    images_below,
    is_image,
    is_visible_folder,
)
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.listed import images_of_files
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.parts import EVALUATION_PARTS, ImagePart, kept_and_held, with_classes_of
from ssl_kedro.images.subsets import limited

_LAYOUT = (
    "a folder with train/<class>/ and test/<class>/ (or val, validation, eval), with <class>/ "
    "folders only, or with unlabelled images directly in it"
)


def _found(config: DataConfig, split: Split, seed: int) -> tuple[Path, ImagePart]:
    """The root and the files of a part of it."""
    training = split != "eval"
    root = folder_of(config)
    files = _part(root, config, training, seed)
    return root, files.chosen(limited(files.labels, len(files), config, training, seed))


def folder_of(config: DataConfig) -> Path:
    """The folder ``root``, or that of what the archive ``root`` holds.

    Raises:
        ImageSourceError: there is none, or an archive that cannot be read.
    """
    archive = Path(config.root or "").expanduser()
    return unpacked(archive, config) if is_archive(archive) else config.existing_root(_LAYOUT)


def _count(config: DataConfig, split: Split, seed: int) -> int:
    return len(_found(config, split, seed)[1])


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of the folder ``root``; see the top of this file."""
    root, files = _found(config, split, seed)
    return images_of_files(root, files, config, split)


def _part(root: Path, config: DataConfig, training: bool, seed: int) -> ImagePart:
    """Files of the training or the evaluation part."""
    listed = _without_classes if config.labels == "none" else _checked
    train_name = "train" if _has_parts(root) else ""
    train = listed(root, train_name, config)
    if train_name and (test_name := _evaluation_part(root, train)):
        test = with_classes_of(train, listed(root, test_name, config), test_name, config)
        return train if training else test
    kept, held = kept_and_held(train, config, seed)
    return train.chosen(kept if training else held)


def _class_folders(root: Path, part: str) -> list[str]:
    """Visible folders of one part of a root that hold images at any depth, sorted."""
    with os.scandir(root / part) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    return [
        name for name in filter(is_visible_folder, names) if any_image_below(root, f"{part}/{name}")
    ]


def _listed(root: Path, part: str) -> ImagePart:
    """Images of one part of a root, "" for the root itself, by class folder if there are any.

    Hidden files and files with other extensions are passed over, and so are folders without
    images.
    """
    classes = _class_folders(root, part)
    if not classes:
        return ImagePart(Names.of(_loose_images(root, part)), None, ())
    counts = []

    def files_of(name: str) -> list[str]:
        found = images_below(root, f"{part}/{name}")
        counts.append(len(found))
        bar.update(len(found))
        return found

    # One class at a time: strings take ten times what is kept of them.
    with progress_bar(None, "finding files", "files", delay=LONG_S) as bar:
        names = Names.of(chain.from_iterable(map(files_of, classes)))
    return ImagePart(names, np.repeat(np.arange(len(classes)), counts), tuple(classes))


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


def _evaluation_part(root: Path, train: ImagePart) -> str:
    """First of test, val, validation, eval that is there; "" for none.

    One with class folders goes before one without: some data sets publish their test images
    without labels and are evaluated on val.
    """
    parts = [name for name in EVALUATION_PARTS if (root / name).is_dir()]
    if train.labels is not None:
        parts.sort(key=lambda name: not _class_folders(root, name))
    return parts[0] if parts else ""


def _without_classes(root: Path, part: str, config: DataConfig) -> ImagePart:
    """Files at any depth below one part's folder, whatever their folders are called."""
    with progress_bar(None, "finding files", "files", delay=LONG_S) as bar:
        names = Names.of(images_below(root, part))
        bar.update(len(names))
    return _not_empty(ImagePart(names, None, ()), part, config)


def _not_empty(files: ImagePart, part: str, config: DataConfig) -> ImagePart:
    if not len(files):
        raise config.error(
            "root",
            found=f"no images in {part or 'it'}",
            expected=_LAYOUT,
            remedy="put images there, or set data.root to another folder",
        )
    return files


def _checked(root: Path, part: str, config: DataConfig) -> ImagePart:
    """Files of one part's folder, refused if empty, mixed or of a single class."""
    files = _not_empty(_listed(root, part), part, config)
    if files.labels is None:
        return files
    shown = part or "it"
    if loose := _loose_images(root, part):
        raise config.error(
            "root",
            found=f"both class folders ({', '.join(files.class_names[:3])}, ...) and "
            f"{len(loose)} images beside them ({loose[0]}, ...) in {shown}",
            expected="either class folders or unlabelled images",
            remedy="move one of the two elsewhere, or take all of them without classes: "
            "data.labels=none",
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
            f"set data.root to {(root / part / name).as_posix()!r}, whose {len(inside)} folders "
            "look like classes, add classes, or train without labels: data.labels=none"
        )
    return "add class folders, or train without labels: data.labels=none"


SOURCE = ImageSource(
    ("folder", "imagenet100"), _load, count=_count, options=("labels", "resize"), files=_found
)
