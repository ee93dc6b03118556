"""Data sets of the Hugging Face Hub, and those its ``datasets`` package left on a disk, streamed.

``data.root`` is a folder (Parquet or Arrow files, class folders, what ``save_to_disk`` has written)
or a name on the Hub (``owner/name``). Nothing in a data set is run: ``datasets`` from version 4 on
has no loading scripts.

Labels are read first, then images one after the other, decoded in threads and stored once. Of
Parquet, saved sets and class folders labels are read alone; other formats may be read twice. Where
there is no column of labels, a first pass over the images counts them.
"""

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.names import Names
from ssl_kedro.core.progress import LONG_S, progress_bar
from ssl_kedro.images.hub_splits import splits_of, state, tables
from ssl_kedro.images.image_set import ImageSet, SkippedFile
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.parts import (
    EVALUATION_PARTS,
    ImagePart,
    check_classes,
    coded_labels,
    kept_and_held,
    with_classes_of,
)
from ssl_kedro.images.store import Plan, stored
from ssl_kedro.images.streamed import streamed_blocks
from ssl_kedro.images.subsets import limited

_ROWS, _IMAGES = 4096, 64
_BYTES = ("binary", "large_binary")


@dataclass(frozen=True)
class _Split:
    """One split of a data set.

    Args:
        name: of the split.
        image: column of the images.
        part: labels of its images, and their numbers as names.
        kept: int64 (N,), row of each image.
        lost: rows without a label, where others have one.
    """

    name: str
    image: str
    part: ImagePart
    kept: np.ndarray
    lost: tuple[SkippedFile, ...]


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of a data set; see the top of this file."""
    found, chosen = _found(config, split, seed)
    kept = found.kept[chosen]
    part = found.part
    labels = None if part.labels is None else part.labels[chosen]
    digest = hashlib.sha256(found.image.encode() + kept.tobytes())
    if labels is not None:
        digest.update(labels.tobytes())
    form = config.form(split)
    plan = Plan(
        identity=(
            config.root,
            state(config),
            config.subset,
            found.name,
            part.class_names,
            digest.hexdigest(),
        ),
        count=len(kept),
        labels=labels,
        class_names=part.class_names,
        blocks=lambda done: streamed_blocks(_values(found, kept[done:], config), config, form),
        paths=part.names.chosen(chosen),
        lost=found.lost,
        form=form,
    )
    return stored(plan, config)


def _count(config: DataConfig, split: Split, seed: int) -> int | None:
    if not Path(config.root or "").expanduser().is_dir():
        return None  # a look at the parameters is not worth a download
    return len(_found(config, split, seed)[1])


def _found(config: DataConfig, split: Split, seed: int) -> tuple[_Split, np.ndarray]:
    """A split, and which of its images belong to the part."""
    training = split != "eval"
    splits = splits_of(config)
    train = _read(splits, _train_name(splits, config), config)
    if config.label_key is not None and train.part.labels is None:
        nothing = f"a column without any label in {train.name}"
        raise config.error("label_key", nothing, "numbers or names", "name another column, or none")
    test_name = _eval_name(splits, train, config)
    if test_name is None:
        rows = kept_and_held(train.part, config, seed)[0 if training else 1]
        found = train
    else:
        test = _read(splits, test_name, config)
        part = with_classes_of(train.part, test.part, test_name, config)
        found = train if training else replace(test, part=part)
        rows = np.arange(len(found.part))
    labels = None if found.part.labels is None else found.part.labels[rows]
    return found, rows[limited(labels, len(rows), config, training, seed)]


def _train_name(splits: dict[str, Any], config: DataConfig) -> str:
    only = next(iter(splits)) if len(splits) == 1 else "train"
    name = config.train_split or only
    return _known("train_split", name, splits, config)


def _eval_name(splits: dict[str, Any], train: _Split, config: DataConfig) -> str | None:
    """The split to evaluate on, one with labels before one without; None where there is none."""
    if config.eval_split is not None:
        return _known("eval_split", config.eval_split, splits, config)
    known = [name for name in EVALUATION_PARTS if name in splits and name != train.name]
    if train.part.labels is not None and len(known) > 1:
        known.sort(key=lambda name: _read(splits, name, config).part.labels is None)
    return known[0] if known else None


def _known(key: str, name: str, names: Any, config: DataConfig) -> str:
    if name not in names:
        known = ", ".join(names) or "none"
        raise config.error(key, f"no {name!r}", f"one of {known}", f"set data.{key} to one of them")
    return name


def _read(splits: dict[str, Any], name: str, config: DataConfig) -> _Split:
    """Columns and labels of a split."""
    rows = splits[name]
    image, label = _columns(rows.features or {}, config)
    labels, texts = _labels(config, state(config), name, image, label)
    lost, class_names = tuple[SkippedFile, ...](), tuple[str, ...]()
    kept, coded = np.arange(len(labels)), None
    names = Names.of(f"{name}, row {row}" for row in range(len(labels)))
    if label is not None and (labels >= 0).any():
        kept, bare = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        lost = tuple(SkippedFile(names[int(row)], "no label") for row in bare)
        given = getattr(rows.features[label], "names", None)
        coded, class_names = coded_labels(labels[kept], texts, given, config)
        names = names.chosen(kept)
    part = ImagePart(names, coded, class_names)
    check_classes(part, name, config, lost)
    return _Split(name, image, part, kept, lost)


def _columns(features: dict[str, Any], config: DataConfig) -> tuple[str, str | None]:
    """Names of the columns of images and labels; None where there are no labels."""
    kinds = {name: type(kind).__name__ for name, kind in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    if config.image_key is not None:
        images = [_known("image_key", config.image_key, kinds, config)]
        if not _may_hold_images(features[config.image_key]):
            found, expected = f"a column of {kinds[config.image_key]}", "images, or their bytes"
            raise config.error("image_key", found, expected, "name another column")
    if len(images) != 1:
        raise config.error(
            "image_key",
            found=f"{len(images)} columns of images among {', '.join(kinds) or 'unknown columns'}",
            expected="one, or the name of the one wanted",
            remedy="set data.image_key to it",
        )
    if config.label_key is not None:
        return images[0], _known("label_key", config.label_key, kinds, config)
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    labels = ["label"] if "label" in kinds else labels
    if len(labels) > 1:
        found = f"several columns of classes: {', '.join(labels)}"
        raise config.error("label_key", found, "one of them", "set data.label_key to it")
    return images[0], labels[0] if labels else None


def _may_hold_images(kind: Any) -> bool:
    """Whether a column is one of images, of bytes, or of images as other programs write them."""
    known = type(kind).__name__ == "Image" or getattr(kind, "dtype", "") in _BYTES
    return known or (isinstance(kind, dict) and {"bytes", "path"} <= kind.keys())


_read_before: dict[Any, tuple[np.ndarray, tuple[str, ...]]] = {}


def _labels(
    config: DataConfig, state: str, name: str, image: str, label: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes of the labels of all rows (-1 = none), and the labels as text, each once."""
    key = (config.root, state, config.subset, name, image, label)
    if key in _read_before:
        return _read_before[key]
    codes, texts = array("q"), dict[str, int]()
    with progress_bar(None, f"labels of {name}", "images", delay=LONG_S) as bar:
        for table in tables(config, name, label or image, _ROWS):
            bar.update(len(table))
            if label is None:
                codes.extend([-1] * len(table))
                continue
            for value in table.column(label).to_pylist():
                if isinstance(value, bool) or not isinstance(value, int | str | None):
                    found = f"{value!r:.40}"
                    raise config.error(
                        "label_key", found, "numbers or names", "name another column"
                    )
                none = value in (None, -1, "")
                codes.append(-1 if none else texts.setdefault(str(value), len(texts)))
    while len(_read_before) > 1:
        _read_before.pop(next(iter(_read_before)))
    _read_before[key] = np.frombuffer(codes, np.int64), tuple(texts)
    return _read_before[key]


def _values(found: _Split, kept: np.ndarray, config: DataConfig) -> Iterator[Any]:
    """Images of some rows, ascending, as Arrow holds them."""
    if not len(kept):
        return
    first, taken = int(kept[0]), 0
    for table in tables(config, found.name, found.image, _IMAGES, first):
        here = kept[taken : taken + len(table)]
        here = here[here < first + len(table)] - first
        first, taken = first + len(table), taken + len(here)
        column = table.column(found.image)
        yield from (column[row].as_py() for row in here.tolist())
        if taken == len(kept):
            return


SOURCE = ImageSource(
    ("huggingface",),
    _load,
    count=_count,
    options=("image_key", "label_key", "subset", "train_split", "eval_split", "resize"),
    package="datasets",
)
