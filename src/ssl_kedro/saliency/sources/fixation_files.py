"""Fixations from tables, arrays and pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.sources.arrays import array_header, read_array
from ssl_kedro.saliency.sources.config import FixationColumns
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.grey import grey_size, grey_values
from ssl_kedro.saliency.sources.tables import Table, read_header, read_table, require_columns

TABLES = frozenset({".csv", ".txt", ".tsv"})
PICTURES = frozenset({".png"})
EXTENSIONS = TABLES | PICTURES | {".npy"}

Size = Callable[[], tuple[int, int]]

_Form = Literal["degrees", "fractions", "pixels"]
_USUAL: tuple[tuple[_Form, str, str], ...] = (
    ("degrees", "lon_deg", "lat_deg"),
    ("degrees", "longitude_deg", "latitude_deg"),
    ("degrees", "longitude", "latitude"),
    ("fractions", "u", "v"),
    ("pixels", "x", "y"),
)
_VIEWERS = ("subject", "viewer", "user", "observer")
_TIMES = ("t_s",)


@dataclass(frozen=True)
class Gaze:
    """Fixations and when they were.

    Args:
        fixations: where.
        t_s: float64 (F,), seconds since the start; None = not known.
    """

    fixations: Fixations
    t_s: np.ndarray | None = None


def read_fixations(path: Path, columns: FixationColumns, size: Size | None = None) -> Gaze:
    """Fixations of one panorama from one file.

    Accepted are tables (``.csv``, ``.txt``, ``.tsv``; see :class:`FixationColumns`), arrays
    (``.npy``, (F, 2) longitude and latitude in degrees or (F, 3) with the viewer's number) and
    fixation maps (``.png``, twice as wide as high: every pixel above 0 is one fixation at its
    centre, of a viewer that is not known: all are viewer 0's).

    Args:
        path: of the file.
        columns: names of a table's columns.
        size: gives width and height of the panorama in px; asked where a table counts pixels
            and the columns do not say of which image.

    Raises:
        SaliencyDataError: empty, not understood, or a direction off the sphere; the text names
            file and line.
        UnreadableImageError: a fixation map that cannot be decoded.
    """
    kind = path.suffix.lower()
    if kind == ".npy":
        return Gaze(_from_array(path))
    if kind in PICTURES:
        return Gaze(_from_picture(path))
    check_fixations(path, columns, size)
    table = read_table(path)
    times = _named_or_usual(columns.t_s, _TIMES, table.names)
    return Gaze(_from_table(table, columns, size), None if times is None else table.numbers(times))


def check_fixations(path: Path, columns: FixationColumns, size: Size | None = None) -> None:
    """Refuse a file that :func:`read_fixations` would, as far as its first line or header shows.

    Raises:
        SaliencyDataError: as there.
        UnreadableImageError: as there.
    """
    kind = path.suffix.lower()
    if kind == ".npy":
        check_shape(path, array_header(path)[0])
    elif kind in PICTURES:
        _check_two_to_one(path, *grey_size(path))
    elif kind in TABLES:
        names = read_header(path)
        form, *wanted = _direction_columns(path, names, columns)
        viewer = _named_or_usual(columns.viewer, _VIEWERS, names)
        times = _named_or_usual(columns.t_s, _TIMES, names)
        optional = [name for name in (viewer, times) if name is not None]
        require_columns(path, names, [*wanted, *optional])
        if form == "pixels":
            _pixel_size(path, columns, size)
    else:
        raise SaliencyDataError(
            path,
            found=f"the ending {kind or 'of no kind'!r}",
            expected=f"one of {', '.join(sorted(EXTENSIONS))}",
            remedy="convert the fixations to CSV with the columns longitude, latitude, viewer",
        )


def _direction_columns(
    path: Path, names: tuple[str, ...], columns: FixationColumns
) -> tuple[_Form, str, str]:
    """The form of directions, and the two columns that hold them."""
    named: tuple[tuple[_Form, str | None, str | None], ...] = (
        ("degrees", columns.longitude, columns.latitude),
        ("fractions", columns.u, columns.v),
        ("pixels", columns.x, columns.y),
    )
    for form, first, second in named:
        if first is not None and second is not None:
            return form, first, second
    for usual in _USUAL:
        if set(usual[1:]) <= set(names):
            return usual
    raise SaliencyDataError(
        path,
        found=f"the columns {', '.join(names)}",
        expected="lon_deg and lat_deg, longitude and latitude, u and v, or x and y",
        remedy="name the columns that hold the directions in the parameter columns",
        line=1,
    )


def _from_table(table: Table, columns: FixationColumns, size: Size | None) -> Fixations:
    form, first, second = _direction_columns(table.path, table.names, columns)
    across, down = table.numbers(first), table.numbers(second)
    if form == "fractions":
        longitude, latitude = directions_of_fractions(table, first, second)
    elif form == "pixels":
        width, height = _pixel_size(table.path, columns, size)
        # Whole numbers count pixels, so that the last is one less than there are.
        whole = bool((across == np.floor(across)).all() and (down == np.floor(down)).all())
        _check_within(table, first, across, 0, width - whole)
        _check_within(table, second, down, 0, height - whole)
        longitude = (across + whole / 2) * (360 / width) - 180
        latitude = 90 - (down + whole / 2) * (180 / height)
    else:
        _check_within(table, first, across, -180, 180)
        _check_within(table, second, down, -90, 90)
        longitude, latitude = across, down
    viewer = _named_or_usual(columns.viewer, _VIEWERS, table.names)
    numbers = np.zeros(len(longitude), np.int64)
    if viewer is not None:
        numbers = viewer_numbers(table.texts(viewer))
    return Fixations(longitude, latitude, numbers)


def directions_of_fractions(table: Table, across: str, down: str) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes in degrees of fractions of the image, from its left top corner.

    Raises:
        SaliencyDataError: a fraction that is not in 0 to 1.
    """
    u, v = table.numbers(across), table.numbers(down)
    _check_within(table, across, u, 0, 1)
    _check_within(table, down, v, 0, 1)
    return u * 360 - 180, 90 - v * 180


def viewer_numbers(viewers: list[str]) -> np.ndarray:
    """A number for each viewer, int64: their own where all are whole numbers, else by name."""
    try:
        return np.array([int(viewer) for viewer in viewers], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.unique(viewers, return_inverse=True)[1].astype(np.int64)


def _from_array(path: Path) -> Fixations:
    values = read_array(path)
    check_shape(path, values.shape)
    values = values.astype(np.float64)
    for column, (name, limit) in enumerate((("longitude", 180), ("latitude", 90))):
        wrong = np.flatnonzero(~(np.abs(values[:, column]) <= limit))
        if len(wrong):
            at = int(wrong[0])
            raise SaliencyDataError(
                path,
                found=f"the {name} {values[at, column]:g} in row {at} of the array",
                expected=f"-{limit} to {limit} degrees",
                remedy="convert the directions to degrees as documented",
            )
    viewer = np.zeros(len(values), np.int64)
    if values.shape[1] == 3:
        if not (np.isfinite(values[:, 2]) & (values[:, 2] == np.floor(values[:, 2]))).all():
            raise SaliencyDataError(
                path,
                found="viewers that are not whole numbers in the third column",
                expected="the viewer's number",
                remedy="number the viewers, or leave the column out",
            )
        viewer = values[:, 2].astype(np.int64)
    return Fixations(values[:, 0].copy(), values[:, 1].copy(), viewer)


def _from_picture(path: Path) -> Fixations:
    values = grey_values(path)
    height, width = values.shape
    _check_two_to_one(path, width, height)
    row, column = np.nonzero(values > 0)
    if not len(row):
        raise SaliencyDataError(
            path,
            found="a fixation map without a pixel above 0",
            expected="a pixel above 0 for each fixation",
            remedy="remove the file, or write the map again",
        )
    longitude = (column + 0.5) * (360 / width) - 180
    latitude = 90 - (row + 0.5) * (180 / height)
    return Fixations(longitude, latitude, np.zeros(len(row), np.int64))


def check_shape(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse an array that is not (F, 2) or (F, 3), F at least 1.

    Raises:
        SaliencyDataError: it is not.
    """
    if len(shape) != 2 or shape[1] not in (2, 3) or shape[0] == 0:
        raise SaliencyDataError(
            path,
            found=f"an array of shape {shape}",
            expected="(F, 2), two columns of directions, or (F, 3) with viewers; F > 0",
            remedy="save the fixations in one of these shapes",
        )


def _check_two_to_one(path: Path, width: int, height: int) -> None:
    if width != 2 * height:
        raise SaliencyDataError(
            path,
            found=f"a fixation map of {width} x {height} px",
            expected="twice as wide as high",
            remedy="give the map of the whole panorama in equirectangular projection",
        )


def _check_within(table: Table, name: str, values: np.ndarray, low: float, high: float) -> None:
    wrong = np.flatnonzero((values < low) | (values > high))
    if len(wrong):
        at = int(wrong[0])
        raise SaliencyDataError(
            table.path,
            found=f"{name} = {values[at]:g}"
            + (f" (and {len(wrong) - 1} more such lines)" if len(wrong) > 1 else ""),
            expected=f"{low:g} to {high:g}",
            remedy="mend or remove the line, or name the right columns and image size",
            line=table.lines[at],
        )


def _pixel_size(path: Path, columns: FixationColumns, size: Size | None) -> tuple[int, int]:
    if columns.width_px is not None and columns.height_px is not None:
        return columns.width_px, columns.height_px
    if size is None:
        raise SaliencyDataError(
            path,
            found="fixations in pixels",
            expected="the size of the image that they count in",
            remedy="set columns.width_px and columns.height_px",
            line=1,
        )
    return size()


def _named_or_usual(name: str | None, usual: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    """The configured column, else the first usual one that there is."""
    if name is not None:
        return name
    return next((candidate for candidate in usual if candidate in names), None)
