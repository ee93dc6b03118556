"""Image files in folders, one folder a class; ImageNet-100 is one of them.

Three layouts, told apart by what is there:

* ``root/train/<class>/*`` with ``root/test`` (or ``val``, or ``eval``) ``/<class>/*``;
* ``root/<class>/*`` (or ``root/train/<class>/*`` alone): a stratified share of
  ``eval_fraction`` is held out;
* images directly in ``root`` (or ``root/train``): unlabelled; a share is held out.

A folder "train" that holds images beside other folders of images is a class of vehicles, not a
part. Class folders may have folders inside. Files are taken in the order of their names.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import shown
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.decode_files import file_blocks
from ssl_kedro.images.files import images_below, is_image, is_visible_folder, passed_over
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.store import Plan, stored
from ssl_kedro.images.subsets import held_out, limited

_EVALUATION_PARTS = ("test", "val", "eval")
_LAYOUT = (
    "a folder with train/<class>/ and test/<class>/ (or val, or eval), with <class>/ folders "
    "only, or with unlabelled images directly in it"
)


@dataclass(frozen=True)
class _Files:
    """Some files of a root.

    Args:
        paths: relative to the root, with forward slashes; sorted within a class.
        labels: int64, index into ``class_names`` for each path; None where unlabelled.
        class_names: names of the class folders, sorted.
    """

    paths: Sequence[str]
    labels: np.ndarray | None
    class_names: tuple[str, ...]

    def __getitem__(self, rows: np.ndarray) -> "_Files":
        labels = None if self.labels is None else self.labels[rows]
        return _Files([self.paths[row] for row in rows], labels, self.class_names)


def _found(config: DataConfig, split: Split, seed: int) -> tuple[Path, _Files]:
    """The root and the files of a part of it."""
    training = split != "eval"
    root = config.existing_root(_LAYOUT)
    files = _part(root, config, training, seed)
    return root, files[limited(files.labels, len(files.paths), config, training, seed)]


def _count(config: DataConfig, split: Split, seed: int) -> int:
    return len(_found(config, split, seed)[1].paths)


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of the folder ``root``; see the top of this file."""
    root, files = _found(config, split, seed)
    states = [_state(root, path) for path in files.paths]
    plan = Plan(
        identity=(str(root.resolve()), files.class_names, states),
        count=len(files.paths),
        labels=files.labels,
        class_names=tuple(map(shown, files.class_names)),
        blocks=file_blocks(config, root, files.paths, sum(size for _, size, _ in states)),
        paths=files.paths,
        always_mapped=config.source == "imagenet100",
    )
    return replace(stored(plan, config), passed_over=passed_over(root))


def _state(root: Path, path: str) -> tuple[str, int, int]:
    """Name, size and time of change of a file; -1 for a link to nothing, skipped later."""
    try:
        state = (root / path).stat()
    except OSError:
        return path, -1, -1
    return path, state.st_size, state.st_mtime_ns


def _part(root: Path, config: DataConfig, training: bool, seed: int) -> _Files:
    """Files of the training or the evaluation part."""
    train_name = "train" if _has_parts(root) else ""
    train = _checked(root, train_name, config)
    if train_name and (test_name := _evaluation_part(root, train)):
        test = _checked(root, test_name, config)
        _check_same_classes(train, test, test_name, config)
        return train if training else test
    generator = numpy_generator(seed, "images", "held out")
    kept, held = held_out(_labels_to_split(train, config), config.eval_fraction, generator)
    return train[kept if training else held]


def _listed(root: Path, part: str) -> _Files:
    """Images of one part of a root, "" for the root itself, by class folder if there are any.

    Hidden files and files with other extensions are passed over, and so are folders without
    images.
    """
    with os.scandir(root / part) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    classes = {
        name: files
        for name in filter(is_visible_folder, names)
        if (files := images_below(root, f"{part}/{name}"))
    }
    if not classes:
        return _Files(_loose_images(root, part), None, ())
    paths = [path for files in classes.values() for path in files]
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    return _Files(paths, labels, tuple(classes))


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
    if _listed(root, "train").labels is not None:
        return True
    return set(_listed(root, "").class_names) <= {"train", *_EVALUATION_PARTS}


def _evaluation_part(root: Path, train: _Files) -> str:
    """First of test, val, eval that is there; "" for none.

    One with class folders goes before one without: some data sets publish their test images
    without labels and are evaluated on val.
    """
    parts = [name for name in _EVALUATION_PARTS if (root / name).is_dir()]
    if train.labels is not None:
        parts.sort(key=lambda name: _listed(root, name).labels is None)
    return parts[0] if parts else ""


def _checked(root: Path, part: str, config: DataConfig) -> _Files:
    """Files of one part's folder, refused if empty, mixed or of a single class."""
    files = _listed(root, part)
    shown = part or "it"
    if not files.paths:
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
    inside = _listed(root, f"{part}/{name}".lstrip("/"))
    if inside.labels is not None:
        return (
            f"set data.root to {(root / part / name).as_posix()!r}, whose "
            f"{len(inside.class_names)} folders look like classes, or add classes"
        )
    return "add class folders, or put the images directly in data.root to train without labels"


def _check_same_classes(train: _Files, test: _Files, test_name: str, config: DataConfig) -> None:
    differing = [
        f"{', '.join(map(repr, sorted(names)[:5]))} only in {part}"
        for part, one, other in (("train", train, test), (test_name, test, train))
        if (names := {*one.class_names} - {*other.class_names})
    ]
    if differing:
        raise config.error(
            "root",
            found="classes " + " and ".join(differing),
            expected=f"the same class folders in train and {test_name}, each with images",
            remedy="rename, add or remove class folders until they agree",
        )


def _labels_to_split(train: _Files, config: DataConfig) -> np.ndarray:
    """Labels of files that are to be split; zeros where unlabelled."""
    unlabelled = train.labels is None
    labels = np.zeros(len(train.paths), dtype=np.int64) if train.labels is None else train.labels
    counts = np.bincount(labels)
    if counts.min() < 2:
        rarest = train.paths[0] if unlabelled else train.class_names[int(counts.argmin())]
        raise config.error(
            "root",
            found=f"1 image, {rarest!r}" if unlabelled else f"1 image in class {rarest!r}",
            expected=f"at least 2{'' if unlabelled else ' in each class'}, so that one can be held "
            "out for evaluation",
            remedy="add images, or give the evaluation images in a test folder",
        )
    return labels


SOURCE = ImageSource(("folder", "imagenet100"), _load, count=_count)
