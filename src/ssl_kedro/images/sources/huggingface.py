"""Data sets of the Hugging Face Hub, and those its ``datasets`` package left on a disk, streamed.

``data.root`` is a folder (Parquet or Arrow files, class folders, what ``save_to_disk`` has written)
or a name on the Hub (``owner/name``). Nothing in a data set is run: ``datasets`` from version 4 on
has no loading scripts.

Labels are read first, alone; then images one after the other, decoded in threads and stored once.
Where there is no column of labels, a first pass counts the images.
"""

import hashlib
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.errors import UserError, first_line
from ssl_kedro.core.names import Names, states
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.images.decode import decoded_bytes
from ssl_kedro.images.files import UnreadableImageError, opened_file, reason_of
from ssl_kedro.images.image_set import ImageSet, SkippedFile
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.parts import (
    Part,
    check_classes,
    check_same_classes,
    coded_labels,
    kept_and_held,
)
from ssl_kedro.images.store import Block, Plan, stored
from ssl_kedro.images.subsets import limited

_EVALUATION_SPLITS = ("test", "validation", "val", "eval")
_EXPECTED = "a folder that the datasets package can read, or a name on the Hub (owner/name)"
_ON_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
_ROWS, _IMAGES, _AHEAD = 4096, 64, 4
_LONG_S = 2.0


@dataclass(frozen=True)
class _Split:
    """One split of a data set.

    Args:
        name: of the split.
        rows: of the data set's, as a stream.
        image: column of the images.
        part: labels of its images, and their numbers as names.
        kept: int64 (N,), row of each image.
        lost: rows without a label, where others have one.
    """

    name: str
    rows: Any
    image: str
    part: Part
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
    plan = Plan(
        identity=(config.root, _state(config), config.subset, found.name, digest.hexdigest()),
        count=len(kept),
        labels=labels,
        class_names=part.class_names,
        blocks=lambda done: _blocks(found, kept[done:], config),
        paths=part.names.chosen(chosen),
        lost=found.lost,
    )
    return stored(plan, config)


def _count(config: DataConfig, split: Split, seed: int) -> int | None:
    if not Path(config.root or "").expanduser().is_dir():
        return None  # a look at the parameters is not worth a download
    return len(_found(config, split, seed)[1])


def _found(config: DataConfig, split: Split, seed: int) -> tuple[_Split, np.ndarray]:
    """A split, and which of its images belong to the part."""
    training = split != "eval"
    splits = _splits(config)
    train = _read(splits, _train_name(splits, config), config)
    test_name = _eval_name(splits, train, config)
    if test_name is None:
        rows = kept_and_held(train.part, config, seed)[0 if training else 1]
        found = train
    else:
        test = _read(splits, test_name, config)
        check_same_classes(train.part, test.part, test_name, config)
        found = train if training else test
        rows = np.arange(len(found.part))
    labels = None if found.part.labels is None else found.part.labels[rows]
    return found, rows[limited(labels, len(rows), config, training, seed)]


def _splits(config: DataConfig) -> dict[str, Any]:
    """All splits by name, as streams of Arrow tables.

    Raises:
        ImageSourceError: there is no such data set.
    """
    import datasets  # noqa: PLC0415  an extra, and slow

    place = Path(config.root or "").expanduser()
    if not place.is_dir() and (config.root is None or not _ON_HUB.fullmatch(config.root)):
        found = f"no such folder (looked in {place.absolute()})" if config.root else "none given"
        raise config.error("root", found, _EXPECTED, "correct data.root")
    try:
        if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
            saved = datasets.load_from_disk(str(place))
            saved = saved if isinstance(saved, dict) else {"train": saved}
            return {str(name): rows.to_iterable_dataset() for name, rows in saved.items()}
        where = str(place) if place.is_dir() else config.root
        return {**datasets.load_dataset(where, config.subset, streaming=True)}
    except Exception as error:  # of any kind, by what is missing where
        found = f"one that cannot be opened ({first_line(error)})"
        remedy = "correct data.root and data.subset, and look whether the Hub can be reached"
        raise config.error("root", found, _EXPECTED, remedy) from error


def _train_name(splits: dict[str, Any], config: DataConfig) -> str:
    only = next(iter(splits)) if len(splits) == 1 else "train"
    name = config.train_split or only
    return _known("train_split", name, splits, config)


def _eval_name(splits: dict[str, Any], train: _Split, config: DataConfig) -> str | None:
    """The split to evaluate on, one with labels before one without; None where there is none."""
    if config.eval_split is not None:
        return _known("eval_split", config.eval_split, splits, config)
    known = [name for name in _EVALUATION_SPLITS if name in splits and name != train.name]
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
    labels, texts = _labels(config, _state(config), name, rows, image, label)
    lost, class_names = tuple[SkippedFile, ...](), tuple[str, ...]()
    kept, coded = np.arange(len(labels)), None
    names = Names.of(f"{name}, row {row}" for row in range(len(labels)))
    if label is not None and (labels >= 0).any():
        kept, bare = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        lost = tuple(SkippedFile(names[int(row)], "no label") for row in bare)
        given = getattr(rows.features[label], "names", None)
        coded, class_names = coded_labels(labels[kept], texts, given, config)
        names = names.chosen(kept)
    part = Part(names, coded, class_names)
    check_classes(part, name, config)
    return _Split(name, rows, image, part, kept, lost)


def _columns(features: dict[str, Any], config: DataConfig) -> tuple[str, str | None]:
    """Names of the columns of images and labels; None where there are no labels."""
    kinds = {name: type(kind).__name__ for name, kind in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    if config.image_key is not None:
        _known("image_key", config.image_key, kinds, config)
        images = [config.image_key]
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


_read_before: dict[Any, tuple[np.ndarray, tuple[str, ...]]] = {}


def _labels(
    config: DataConfig, state: str, name: str, rows: Any, image: str, label: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes of the labels of all rows (-1 = none), and the labels as text, each once."""
    key = (config.root, state, config.subset, name, image, label)
    if key in _read_before:
        return _read_before[key]
    codes, texts = array("q"), dict[str, int]()
    tables = rows.select_columns([label or image]).with_format("arrow")
    with progress_bar(None, f"labels of {name}", "images", delay=_LONG_S) as bar:
        for table in tables.iter(_ROWS):
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
                none = value is None or value == -1
                codes.append(-1 if none else texts.setdefault(str(value), len(texts)))
    while len(_read_before) > 1:
        _read_before.pop(next(iter(_read_before)))
    _read_before[key] = np.frombuffer(codes, np.int64), tuple(texts)
    return _read_before[key]


def _blocks(found: _Split, kept: np.ndarray, config: DataConfig) -> Iterator[Block]:
    """Images of some rows, ascending, decoded."""

    def tasks() -> Iterator[list[Any]]:
        if not len(kept):
            return
        first, taken = int(kept[0]), 0
        stream = found.rows.select_columns([found.image]).with_format("arrow").skip(first)
        for table in stream.iter(_IMAGES):
            here = kept[taken : taken + len(table)]
            here = here[here < first + len(table)] - first
            first, taken = first + len(table), taken + len(here)
            if len(here):
                yield table.column(found.image).take(here).to_pylist()
            if taken == len(kept):
                return

    def decoded(values: list[Any]) -> Block:
        images = np.empty((len(values), 3, config.size, config.size), np.uint8)
        filled, skipped = 0, []
        for index, value in enumerate(values):
            try:
                images[filled] = decoded_bytes(_content(value), config.size)
                filled += 1
            except UnreadableImageError as error:
                skipped.append((index, str(error)))
        return images[:filled], skipped

    return computed_ahead(decoded, tasks(), config.workers or os.cpu_count() or 1, _AHEAD)


def _content(value: dict[str, Any] | None) -> bytes:
    """Bytes of an image as Arrow holds it: itself, or where it lies: here or on the Hub."""
    path = (value or {}).get("path")
    if value is not None and value.get("bytes") is not None:
        return bytes(value["bytes"])
    if not path:
        raise UnreadableImageError("no image")
    try:
        if "://" not in path:
            with opened_file(Path(path)) as file:
                return file.read()
        within = path.rpartition("::")[2]
        if "://" in within and not within.startswith("hf://"):
            raise UnreadableImageError("it lies elsewhere than the data set")
        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except UserError:
        raise
    except Exception as error:  # file systems have errors of their own
        raise UnreadableImageError(f"cannot be read: {reason_of(error)}") from error


def _state(config: DataConfig) -> str:
    """What changes when the data set does."""
    place = Path(config.root or "").expanduser()
    if place.is_dir():
        below = (Path(folder, name) for folder, _, files in os.walk(place) for name in files)
        names = Names.of(sorted(path.relative_to(place).as_posix() for path in below))
        return names.digest() + hashlib.sha256(states(place, names, int).data).hexdigest()
    return _hub_state(str(config.root), config.subset)


@lru_cache
def _hub_state(root: str, subset: str | None) -> str:
    """The Hub's commit, as the package tells it."""
    import datasets  # noqa: PLC0415  an extra, and slow

    return str(datasets.load_dataset_builder(root, subset).hash)


SOURCE = ImageSource(
    ("huggingface",),
    _load,
    count=_count,
    options=("image_key", "label_key", "subset", "train_split", "eval_split"),
    package="datasets",
)
