"""INRIA Holidays, whose file names are its ground truth (Jegou et al. 2008)."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.model import GroundTruth, GroundTruthError

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
            f"{len(strange)} names that are not Holidays' ({first_few(map(repr, strange))})",
            "numbers of six digits, such as 100301.jpg",
            "give the folder of Holidays' images alone",
        )
    groups: dict[str, list[int]] = {}
    for place in sorted(range(len(stems)), key=stems.__getitem__):
        group = groups.setdefault(stems[place][:4], [])
        if group and stems[group[-1]] == stems[place]:
            raise GroundTruthError(
                f"two images with the number {stems[place]}",
                "every number once",
                "take the copies out of the folder of images",
            )
        group.append(place)
    orphans = [f"{key}00" for key, (first, *_) in groups.items() if stems[first] != f"{key}00"]
    if orphans:
        raise GroundTruthError(
            f"{len(orphans)} groups without their query ({first_few(map(repr, orphans))})",
            "in every group the image whose number ends in 00",
            "complete the folder of images",
        )
    queries = tuple(names[query] for query, *_ in groups.values())
    lists = {
        "ok": [np.array(others, dtype=np.int64) for _, *others in groups.values()],
        "junk": [np.array([query]) for query, *_ in groups.values()],
    }
    return GroundTruth(tuple(names), queries, lists)
