"""Ground truth of a user's own images: a ``labels.csv``, or a folder for each instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.labels import FILE_NAME, Label, labels_of_table
from ssl_kedro.retrieval.ground_truth.locate import ImageTree
from ssl_kedro.retrieval.ground_truth.model import (
    CLASSIC_LEVELS,
    GroundTruth,
    GroundTruthError,
    read_from,
    repeated,
)
from ssl_kedro.retrieval.protocols import REVISITED

DISTRACTORS = "distractors"


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
        labels = labels_of_table(table, tree) if listed else _labels_of_folders(tree)
        instances = _instances(labels)
        asked = _drawn([label for label in labels if label.query], max_queries, seed)
        if easy_within_deg is not None:
            _check_angles(labels)
        truth = GroundTruth(
            tree.paths,
            tuple(label.path for label in asked),
            _lists(asked, instances, tree.paths, easy_within_deg),
            CLASSIC_LEVELS if easy_within_deg is None else REVISITED,
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
