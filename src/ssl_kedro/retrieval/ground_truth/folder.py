"""Ground truth of a user's own images: a ``labels.csv``, or a folder for each instance."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_few, shown
from ssl_kedro.retrieval.ground_truth.locate import ImageTree
from ssl_kedro.retrieval.ground_truth.model import (
    GroundTruth,
    GroundTruthError,
    read_from,
    repeated,
)

DISTRACTORS = "distractors"
FILE_NAME = "labels.csv"
_BOX = ("left", "top", "right", "bottom")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
_fault = partial(
    GroundTruthError,
    expected="a table with the columns file and instance, and if wanted query (0 or 1), "
    f"angle_deg, and {', '.join(_BOX)} (pixels)",
    remedy="correct the file",
)


@dataclass(frozen=True)
class Label:
    """One row.

    Args:
        path: of the image, relative to the root, with forward slashes.
        instance: what it shows.
        query: whether it is asked.
        angle_deg: of the turntable; None where the column is absent or empty.
        box: left, top, right, bottom in pixels; None where absent or empty.
    """

    path: str
    instance: str
    query: bool = True
    angle_deg: float | None = None
    box: tuple[float, ...] | None = None


def labelled_folder(
    root: Path,
    *,
    easy_within_deg: float | None = None,
    max_queries: int | None = None,
    seed: int = 0,
) -> tuple[GroundTruth, tuple[Path, ...]]:
    """Ground truth of a folder of images.

    ``labels.csv`` in the root lists images and their instances in the columns ``file`` and
    ``instance``; optional columns are ``query`` (1 where the image is asked; without the column
    every listed image is), ``angle_deg`` (of a turntable), and ``left``, ``top``, ``right``,
    ``bottom`` (pixels). Other columns are ignored. Images below the root that it does not list
    are distractors. An image that shows several instances has a row, and a box if it is asked,
    for each.

    Without ``labels.csv`` each folder in the root is an instance, with all images below it;
    images directly in the root, and those in a folder called "distractors", are distractors.

    A query finds the other images of its instance; it is junk for itself.

    Args:
        root: the folder.
        easy_within_deg: with ``angle_deg``, positives whose angle differs by at most this much,
            around the circle, are easy and the others hard, which makes the levels easy, medium
            and hard. None: all positives are alike.
        max_queries: at most so many queries, drawn without replacement; None for all.
        seed: of that draw.

    Returns:
        The ground truth, whose names are paths relative to the root, and the file of each
        database image in the same order (sorted by path).

    Raises:
        GroundTruthError: labels or images are missing, contradictory, or too few.
        ValueError: easy_within_deg below 0 or max_queries below 1.
    """
    if easy_within_deg is not None and not easy_within_deg >= 0:
        raise ValueError(f"easy_within_deg = {easy_within_deg}: expected at least 0, or None")
    if max_queries is not None and max_queries < 1:
        raise ValueError(f"max_queries = {max_queries}: expected at least 1, or None")
    tree = ImageTree(root)
    table = root / FILE_NAME
    listed = table.is_file()
    with read_from(table if listed else root):
        labels = _labels_of_table(table, tree) if listed else _labels_of_folders(tree)
        instances = _instances(labels)
        asked = _drawn([label for label in labels if label.query], max_queries, seed)
        if easy_within_deg is not None:
            _check_angles(labels)
        else:
            _check_others(instances, len(tree.paths))
        truth = GroundTruth(
            tuple(map(shown, tree.paths)),
            tuple(shown(label.path) for label in asked),
            _lists(asked, instances, tree.paths, easy_within_deg),
            _boxes(asked),
        )
    return truth, tuple(root / path for path in tree.paths)


def _labels_of_folders(tree: ImageTree) -> list[Label]:
    """A label for each image in a folder in the root."""
    parts = [(path, path.partition("/")) for path in tree.paths]
    labels = [
        Label(path, first) for path, (first, slash, _) in parts if slash and first != DISTRACTORS
    ]
    if not labels:
        raise GroundTruthError(
            f"{len(tree.paths)} images, neither {FILE_NAME} nor a folder for each instance",
            f"{FILE_NAME} with the columns file and instance, or a folder for each instance",
            "say what the images show in one of these two ways",
        )
    return labels


def _instances(labels: Sequence[Label]) -> dict[str, list[Label]]:
    """Labels of each instance, of which one at least must have two images."""
    twice = repeated(f"{label.path} ({label.instance})" for label in labels)
    if twice:
        raise GroundTruthError(
            f"{len(twice)} rows more than once ({first_few(map(repr, twice))})",
            "each image once for each instance that it shows",
            "take the repetitions out",
        )
    instances: dict[str, list[Label]] = {}
    for label in labels:
        instances.setdefault(label.instance, []).append(label)
    if all(len(images) < 2 for images in instances.values()):
        raise GroundTruthError(
            f"one image of each of {len(instances)} instances",
            "two images at least of one instance: a query and what it should find",
            "add images, or correct the instances' names",
        )
    return instances


def _check_others(instances: Mapping[str, Sequence[Label]], count: int) -> None:
    """Refuse one instance that all images show: every ranking would be right."""
    if len(instances) == 1:
        (name, labels), *_ = instances.items()
        if len({label.path for label in labels}) == count:
            raise GroundTruthError(
                f"{count} images, all of one instance ({name!r}): every ranking would be right",
                f"images of several instances, or others in a folder {DISTRACTORS!r}",
                "add some, or set root to the folder that holds a folder for each instance",
            )


def _drawn(asked: list[Label], most: int | None, seed: int) -> list[Label]:
    """At most so many, in their order."""
    if not asked:
        raise GroundTruthError(
            "no queries", "at least one row with query = 1", "mark the images to ask"
        )
    if most is None or most >= len(asked):
        return asked
    chosen = np.random.default_rng(seed).choice(len(asked), size=most, replace=False)
    return [asked[index] for index in np.sort(chosen)]


def _lists(
    asked: Sequence[Label],
    instances: Mapping[str, Sequence[Label]],
    paths: Sequence[str],
    easy_within_deg: float | None,
) -> dict[str, list[np.ndarray]]:
    """Other images of each query's instance, as ok or by their angle, and its own as junk."""
    places = {path: place for place, path in enumerate(paths)}
    lists: dict[str, list[np.ndarray]] = {"ok": [], "easy": [], "hard": [], "junk": []}
    for query in asked:
        others = [label for label in instances[query.instance] if label.path != query.path]
        images = np.array([places[label.path] for label in others], dtype=np.int64)
        lists["junk"].append(np.array([places[query.path]], dtype=np.int64))
        if easy_within_deg is None:
            lists["ok"].append(images)
            continue
        angles = np.array([label.angle_deg for label in others], dtype=np.float64)
        difference = angles - np.float64(query.angle_deg or 0.0)
        # Around the circle, in [0, 180]; decimals such as 0.3 - 0.1 may miss by a rounding.
        near = np.abs((difference + 180) % 360 - 180) <= easy_within_deg + 1e-9
        lists["easy"].append(images[near])
        lists["hard"].append(images[~near])
    return {name: of_queries for name, of_queries in lists.items() if of_queries}


def _check_angles(labels: Sequence[Label]) -> None:
    without = [label.path for label in labels if label.angle_deg is None]
    if without:
        raise GroundTruthError(
            f"{len(without)} of {len(labels)} images without an angle "
            f"({first_few(map(repr, without))})",
            f"{FILE_NAME} with the column angle_deg filled, since easy_within_deg is set",
            "add the angles, or set easy_within_deg to null",
        )


def _boxes(asked: Sequence[Label]) -> np.ndarray | None:
    if all(label.box is None for label in asked):
        return None
    return np.array([label.box or (np.nan,) * 4 for label in asked], dtype=np.float64)


def _labels_of_table(path: Path, tree: ImageTree) -> list[Label]:
    """The rows, with each file found on disk.

    A file is a path relative to the root, or a name that only one image below it has.
    """
    rows = _rows(path)
    found = [tree.matches(row["file"].replace("\\", "/")) for row in rows]
    _check_found(path.parent, rows, found, len(tree.paths))
    pairs = zip(rows, found, strict=True)
    return [_label(image, row, number) for number, (row, (image,)) in enumerate(pairs, start=2)]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, restval="", skipinitialspace=True)
            columns = [column.strip() for column in table.fieldnames or ()]
            table.fieldnames = columns
            rows = [
                {key: value.strip() for key, value in row.items() if isinstance(value, str)}
                for row in table
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        found, remedy = f"a table that cannot be read ({error})", "save it as CSV in UTF-8"
        raise _fault(found, remedy=remedy) from error
    if not {"file", "instance"} <= set(columns):
        found = f"the columns {first_few(map(repr, columns))}" if columns else "an empty file"
        raise _fault(found, remedy="name the columns in the first line")
    if not rows:
        raise _fault("no rows", remedy="list the images that show an instance")
    return rows


def _check_found(
    root: Path, rows: Sequence[Mapping[str, str]], found: Sequence[Sequence[str]], images: int
) -> None:
    pairs = [(row["file"], paths) for row, paths in zip(rows, found, strict=True)]
    missing = [name for name, paths in pairs if not paths]
    if missing:
        raise GroundTruthError(
            f"{len(missing)} of {len(rows)} files that do not exist "
            f"({first_few(map(repr, missing))}) among the {images} images in {root} and below",
            "paths relative to that folder, or names that occur once below it",
            "add the images, or take their rows out",
        )
    several = [(name, paths) for name, paths in pairs if len(paths) > 1]
    if several:
        name, paths = several[0]
        raise GroundTruthError(
            f"{len(several)} ambiguous names; {name!r} can be {first_few(map(repr, paths))}",
            "names that occur once below the folder, or paths relative to it",
            "write the path instead of the name",
        )


def _label(image: str, row: Mapping[str, str], number: int) -> Label:
    """What the line of that number says of an image."""
    if not row["instance"]:
        raise GroundTruthError(
            f"no instance in line {number}, for {row['file']!r}",
            "the name of what the image shows",
            "take the row out: images that are not listed are distractors",
        )
    # Where nobody is marked, everybody is asked.
    query = row.get("query", "1")
    if query.lower() not in _FLAGS:
        raise _fault(f"query = {query!r} in line {number}", expected="0 or 1")
    angle_deg = _number(row, "angle_deg", number)
    sides = [_number(row, column, number) for column in _BOX]
    box = tuple(side for side in sides if side is not None)
    if 0 < len(box) < len(_BOX):
        raise _fault(
            f"an incomplete box in line {number}", expected=f"all of {', '.join(_BOX)}, or none"
        )
    return Label(image, row["instance"], _FLAGS[query.lower()], angle_deg, box or None)


def _number(row: Mapping[str, str], column: str, line: int) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _fault(f"{column} = {text!r} in line {line}", expected="a number")
    return value
