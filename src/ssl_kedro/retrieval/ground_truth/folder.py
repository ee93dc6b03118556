"""Ground truth of a user's own images: a ``labels.csv``, or a folder for each instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError
from ssl_kedro.retrieval.ground_truth.labels import FILE_NAME, Label, labels_of_table
from ssl_kedro.retrieval.ground_truth.locate import ImageTree
from ssl_kedro.retrieval.ground_truth.model import (
    CLASSIC_LEVELS,
    GroundTruth,
    checked_judgements,
    repeated,
)
from ssl_kedro.retrieval.protocols import REVISITED, Level

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
    labels = labels_of_table(table, tree) if listed else _labels_of_folders(tree)
    source = table if listed else root
    instances = _instances(labels, source)
    asked = _drawn([label for label in labels if label.query], max_queries, seed)
    if not asked:
        raise GroundTruthError(
            source, "no queries", "at least one row with query = 1", "mark the images to ask"
        )
    places = {path: place for place, path in enumerate(tree.paths)}
    if easy_within_deg is None:
        levels: Mapping[str, Level] = CLASSIC_LEVELS
        lists = _classic_lists(asked, instances, places)
    else:
        levels = REVISITED
        _check_angles(labels, source)
        lists = _lists_by_angle(asked, instances, places, easy_within_deg)
    queries = tuple(label.path for label in asked)
    truth = GroundTruth(
        tree.paths,
        queries,
        _boxes(asked),
        checked_judgements(source, queries, lists),
        levels,
        np.array([places[query] for query in queries], dtype=np.int64),
        source,
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
            tree.root,
            f"{len(tree.paths)} images, neither {FILE_NAME} nor a folder for each instance",
            f"{FILE_NAME} with the columns file and instance, or a folder for each instance",
            "say what the images show in one of these two ways",
        )
    return labels


def _instances(labels: Sequence[Label], source: Path) -> dict[str, list[Label]]:
    """Labels of each instance, of which one at least must have two images."""
    twice = repeated([f"{label.path} ({label.instance})" for label in labels])
    if twice:
        raise GroundTruthError(
            source,
            f"{len(twice)} rows more than once ({first_few(map(repr, twice))})",
            "each image once for each instance that it shows",
            "take the repetitions out",
        )
    instances: dict[str, list[Label]] = {}
    for label in labels:
        instances.setdefault(label.instance, []).append(label)
    if all(len(images) < 2 for images in instances.values()):
        raise GroundTruthError(
            source,
            f"one image of each of {len(instances)} instances",
            "two images at least of one instance: a query and what it should find",
            "add images, or correct the instances' names",
        )
    return instances


def _drawn(asked: list[Label], most: int | None, seed: int) -> list[Label]:
    """At most so many, in their order."""
    if most is None or most >= len(asked):
        return asked
    chosen = np.random.default_rng(seed).choice(len(asked), size=most, replace=False)
    return [asked[index] for index in np.sort(chosen)]


def _classic_lists(
    asked: Sequence[Label], instances: Mapping[str, Sequence[Label]], places: Mapping[str, int]
) -> dict[str, list[np.ndarray]]:
    members = {
        name: np.array([places[label.path] for label in labels], dtype=np.int64)
        for name, labels in instances.items()
    }
    own = [places[label.path] for label in asked]
    shown = [members[label.instance] for label in asked]
    return {
        "ok": [images[images != place] for images, place in zip(shown, own, strict=True)],
        "junk": [np.array([place], dtype=np.int64) for place in own],
    }


def _lists_by_angle(
    asked: Sequence[Label],
    instances: Mapping[str, Sequence[Label]],
    places: Mapping[str, int],
    within_deg: float,
) -> dict[str, list[np.ndarray]]:
    classic = _classic_lists(asked, instances, places)
    angles = {(label.path, label.instance): label.angle_deg for label in _all(instances)}
    paths = list(places)
    easy, hard = [], []
    for query, images in zip(asked, classic["ok"], strict=True):
        others = [angles[paths[image], query.instance] for image in images]
        difference = np.array(others, dtype=np.float64) - np.float64(query.angle_deg or 0.0)
        # Around the circle, in [0, 180]; decimals such as 0.3 - 0.1 may miss by a rounding.
        near = np.abs((difference + 180) % 360 - 180) <= within_deg + 1e-9
        easy.append(images[near])
        hard.append(images[~near])
    return {"easy": easy, "hard": hard, "junk": classic["junk"]}


def _all(instances: Mapping[str, Sequence[Label]]) -> list[Label]:
    return [label for labels in instances.values() for label in labels]


def _check_angles(labels: Sequence[Label], source: Path) -> None:
    without = [label.path for label in labels if label.angle_deg is None]
    if without:
        raise GroundTruthError(
            source,
            f"{len(without)} of {len(labels)} images without an angle "
            f"({first_few(map(repr, without))})",
            f"{FILE_NAME} with the column angle_deg filled, since easy_within_deg is set",
            "add the angles, or set easy_within_deg to null",
        )


def _boxes(asked: Sequence[Label]) -> np.ndarray | None:
    if all(label.box is None for label in asked):
        return None
    return np.array([label.box or (np.nan,) * 4 for label in asked], dtype=np.float64)
