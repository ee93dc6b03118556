"""INRIA Holidays, whose file names are its ground truth (Jegou et al. 2008)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError
from ssl_kedro.retrieval.ground_truth.model import (
    CLASSIC_LEVELS,
    GroundTruth,
    checked_judgements,
)

_NUMBER = re.compile(r"\d{6}")


def holidays_from_names(names: Sequence[str]) -> GroundTruth:
    """Ground truth from Holidays' image names, such as 100301.jpg.

    The last two digits count the images of a group. Image 00 is its query, the others are the
    positives, and the query itself is junk.

    Args:
        names: of all images; folders and extensions are ignored.

    Returns:
        The database in the order of ``names``, the queries in the order of their numbers.

    Raises:
        GroundTruthError: a name that is no number of six digits, or a group without a query.
    """
    stems = [PurePosixPath(name).stem for name in names]
    strange = [name for name, stem in zip(names, stems, strict=True) if not _NUMBER.fullmatch(stem)]
    if strange:
        raise GroundTruthError(
            None,
            f"{len(strange)} names that are not Holidays' ({first_few(map(repr, strange))})",
            "numbers of six digits, such as 100301.jpg",
            "give the folder of Holidays' images alone",
        )
    groups: dict[int, dict[int, int]] = {}
    for place, stem in enumerate(stems):
        images = groups.setdefault(int(stem) // 100, {})
        if images.setdefault(int(stem) % 100, place) != place:
            raise GroundTruthError(
                None,
                f"two images with the number {stem}",
                "every number once",
                "take the copies out of the folder of images",
            )
    orphans = [f"{group}00" for group, images in sorted(groups.items()) if 0 not in images]
    if orphans:
        raise GroundTruthError(
            None,
            f"{len(orphans)} groups without their query ({first_few(map(repr, orphans))})",
            "in every group the image whose number ends in 00",
            "complete the folder of images",
        )
    return _ground_truth(names, [images for _, images in sorted(groups.items())])


def _ground_truth(names: Sequence[str], groups: Sequence[dict[int, int]]) -> GroundTruth:
    """From each group's places by number within it."""
    places = np.array([images[0] for images in groups], dtype=np.int64)
    queries = tuple(names[place] for place in places)
    lists = {
        "ok": [
            np.array([images[number] for number in sorted(images) if number], dtype=np.int64)
            for images in groups
        ],
        "junk": [np.array([place]) for place in places],
    }
    judgements = checked_judgements(None, queries, lists)
    return GroundTruth(tuple(names), queries, None, judgements, CLASSIC_LEVELS, places)
