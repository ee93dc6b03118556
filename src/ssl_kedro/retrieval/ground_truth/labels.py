"""``labels.csv``: which image shows which instance."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError
from ssl_kedro.retrieval.ground_truth.locate import ImageTree

FILE_NAME = "labels.csv"
_BOX = ("left", "top", "right", "bottom")
_TRUE, _FALSE = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no", ""})
_EXPECTED = (
    "a table with the columns file and instance, and if wanted query (0 or 1), angle_deg, and "
    f"{', '.join(_BOX)} (pixels)"
)
_REMEDY = "correct the file"


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
    box: tuple[float, float, float, float] | None = None


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
    _check_found(path, rows, found, len(tree.paths))
    # Where nobody is marked, everybody is asked.
    marks = "query" in rows[0]
    return [
        Label(
            paths[0],
            _instance(path, number, row),
            _flag(path, number, row["query"]) if marks else True,
            _number(path, number, row, "angle_deg"),
            _box(path, number, row),
        )
        for number, (row, paths) in enumerate(zip(rows, found, strict=True), start=2)
    ]


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
        raise GroundTruthError(
            path, f"a table that cannot be read ({error})", _EXPECTED, "save it as CSV in UTF-8"
        ) from error
    missing = {"file", "instance"} - set(columns)
    if missing:
        found = f"the columns {first_few(map(repr, columns))}" if columns else "an empty file"
        raise GroundTruthError(path, found, _EXPECTED, "name the columns in the first line")
    if not rows:
        raise GroundTruthError(path, "no rows", _EXPECTED, "list the images that show an instance")
    return rows


def _check_found(
    path: Path, rows: Sequence[Mapping[str, str]], found: Sequence[Sequence[str]], images: int
) -> None:
    pairs = [(row["file"], paths) for row, paths in zip(rows, found, strict=True)]
    missing = [name for name, paths in pairs if not paths]
    if missing:
        raise GroundTruthError(
            path,
            f"{len(missing)} of {len(rows)} files that do not exist "
            f"({first_few(map(repr, missing))}) among "
            f"the {images} images in {path.parent} and below",
            "paths relative to that folder, or names that occur once below it",
            "add the images, or take their rows out",
        )
    several = [(name, paths) for name, paths in pairs if len(paths) > 1]
    if several:
        name, paths = several[0]
        raise GroundTruthError(
            path,
            f"{len(several)} ambiguous names; {name!r} can be {first_few(map(repr, paths))}",
            "names that occur once below the folder, or paths relative to it",
            "write the path instead of the name",
        )


def _instance(path: Path, number: int, row: Mapping[str, str]) -> str:
    if not row["instance"]:
        raise GroundTruthError(
            path,
            f"no instance in line {number}, for {row['file']!r}",
            "the name of what the image shows",
            "take the row out: images that are not listed are distractors",
        )
    return row["instance"]


def _flag(path: Path, number: int, text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise GroundTruthError(path, f"query = {text!r} in line {number}", "0 or 1", _REMEDY)
    return text.lower() in _TRUE


def _number(path: Path, number: int, row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise GroundTruthError(path, f"{column} = {text!r} in line {number}", "a number", _REMEDY)
    return value


def _box(
    path: Path, number: int, row: Mapping[str, str]
) -> tuple[float, float, float, float] | None:
    left, top, right, bottom = (_number(path, number, row, column) for column in _BOX)
    if left is None and top is None and right is None and bottom is None:
        return None
    if left is None or top is None or right is None or bottom is None:
        raise GroundTruthError(
            path,
            f"an incomplete box in line {number}",
            f"all of {', '.join(_BOX)}, or none",
            _REMEDY,
        )
    return left, top, right, bottom
