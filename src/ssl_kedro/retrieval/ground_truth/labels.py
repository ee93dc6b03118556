"""``labels.csv``: which image shows which instance."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.locate import ImageTree
from ssl_kedro.retrieval.ground_truth.model import GroundTruthError

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


def labels_of_table(path: Path, tree: ImageTree) -> list[Label]:
    """The rows of a ``labels.csv``, with each file found on disk.

    A file is a path relative to the root, or a name that only one image below it has.

    Args:
        path: of the table; UTF-8, separated by commas.
        tree: the images.

    Raises:
        GroundTruthError: columns or files are missing, or a value is not what it should be.
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
