"""Fixations from tables, arrays and pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.sources.config import FixationColumns
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.values import Table, grey_values, mapped_array, opened

TABLES = frozenset({".csv", ".txt", ".tsv"})
EXTENSIONS = TABLES | {".npy", ".png"}

Size = Callable[[], tuple[int, int]]

# Names of columns: those that FixationColumns has fields for, and all that are searched for.
_FORMS = (
    ("degrees", "longitude", "latitude"),
    ("fractions", "u", "v"),
    ("pixels", "x", "y"),
)
_USUAL = (
    ("degrees", "lon_deg", "lat_deg"),
    ("degrees", "longitude_deg", "latitude_deg"),
    *_FORMS,
)
_VIEWERS = ("subject", "viewer", "user", "observer")


@dataclass(frozen=True)
class Gaze:
    """Fixations and when they were.

    Args:
        fixations: where.
        t_s: float64 (F,), seconds since the start; NaN = not known.
    """

    fixations: Fixations
    t_s: np.ndarray


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
    check_fixations(path, columns, size)
    kind = path.suffix.lower()
    if kind in TABLES:
        return _from_table(Table(path), columns, size)
    found = _from_array(path) if kind == ".npy" else _from_picture(path)
    return Gaze(found, np.full(len(found), np.nan))


def check_fixations(path: Path, columns: FixationColumns, size: Size | None = None) -> None:
    """Refuse a file that :func:`read_fixations` would, as far as its first line or header shows.

    Raises:
        SaliencyDataError: as there.
        UnreadableImageError: as there.
    """
    kind = path.suffix.lower()
    if kind == ".npy":
        shape = mapped_array(path).shape
        if len(shape) != 2 or shape[1] not in (2, 3) or shape[0] == 0:
            raise SaliencyDataError(
                path,
                found=f"an array of shape {shape}",
                expected="(F, 2), two columns of directions, or (F, 3) with viewers; F > 0",
                remedy="save the fixations in one of these shapes",
            )
    elif kind == ".png":
        with opened(path) as image:
            width, height = image.size
        if width != 2 * height:
            raise SaliencyDataError(
                path,
                found=f"a fixation map of {width} x {height} px",
                expected="twice as wide as high",
                remedy="give the map of the whole panorama in equirectangular projection",
            )
    elif kind in TABLES:
        form, *_ = _columns_in(Table(path), columns)
        if form == "pixels":
            _pixel_size(path, columns, size)
    else:
        raise SaliencyDataError(
            path,
            found=f"the ending {kind or 'of no kind'!r}",
            expected=f"one of {', '.join(sorted(EXTENSIONS))}",
            remedy="convert the fixations to CSV with the columns longitude, latitude, viewer",
        )


def _columns_in(
    table: Table, columns: FixationColumns
) -> tuple[str, str, str, str | None, str | None]:
    """The form of directions, and the columns of both, of the viewer and of the time."""
    candidates = [
        *((form, getattr(columns, a), getattr(columns, b)) for form, a, b in _FORMS),
        *(usual for usual in _USUAL if set(usual[1:]) <= set(table.names)),
    ]
    found = next((each for each in candidates if each[1] is not None), None)
    if found is None:
        raise SaliencyDataError(
            table.path,
            found=f"the columns {', '.join(table.names)}",
            expected="lon_deg and lat_deg, longitude and latitude, u and v, or x and y",
            remedy="name the columns that hold the directions in the parameter columns",
            line=1,
        )
    viewer = columns.viewer or next((name for name in _VIEWERS if name in table.names), None)
    time = columns.t_s or ("t_s" if "t_s" in table.names else None)
    table.require([name for name in (*found[1:], viewer, time) if name is not None])
    return *found, viewer, time


def _from_table(table: Table, columns: FixationColumns, size: Size | None) -> Gaze:
    form, first, second, viewer, time = _columns_in(table, columns)
    across, down = table.numbers(first), table.numbers(second)
    if form == "degrees":
        _check_within(table, first, across, -180, 180)
        _check_within(table, second, down, -90, 90)
        longitude, latitude = across, down
    else:
        # Whole numbers count pixels, so that the last is one less than there are.
        whole = form == "pixels" and not (across % 1).any() and not (down % 1).any()
        width, height = _pixel_size(table.path, columns, size) if form == "pixels" else (1, 1)
        _check_within(table, first, across, 0, width - whole)
        _check_within(table, second, down, 0, height - whole)
        longitude, latitude = directions_in_image(across, down, width, height, whole=whole)
    numbers = np.zeros(len(across), np.int64)
    if viewer is not None:
        numbers = viewer_numbers([row[viewer] for _, row in table.rows])
    t_s = np.full(len(across), np.nan) if time is None else table.numbers(time)
    return Gaze(Fixations(longitude, latitude, numbers), t_s)


def directions_in_image(
    across: np.ndarray, down: np.ndarray, width: int = 1, height: int = 1, *, whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes in degrees of places in an image.

    Args:
        across: from the left edge, in px; of an image of 1 x 1 px, fractions of its width.
        down: from the top edge, likewise.
        width: of the image in px.
        height: of the image in px.
        whole: places are indices of pixels, whose centres are meant.
    """
    longitude = (across + whole / 2) * (360 / width) - 180
    return longitude, 90 - (down + whole / 2) * (180 / height)


def viewer_numbers(viewers: list[str]) -> np.ndarray:
    """A number for each viewer, int64: their own where all are whole numbers, else by name."""
    try:
        return np.array([int(viewer) for viewer in viewers], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.unique(viewers, return_inverse=True)[1].astype(np.int64)


def _from_array(path: Path) -> Fixations:
    values = mapped_array(path).astype(np.float64)
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
    viewer = values[:, 2] if values.shape[1] == 3 else np.zeros(len(values))
    if not (np.isfinite(viewer) & (viewer == np.floor(viewer))).all():
        raise SaliencyDataError(
            path,
            found="viewers that are not whole numbers in the third column",
            expected="the viewer's number",
            remedy="number the viewers, or leave the column out",
        )
    return Fixations(values[:, 0].copy(), values[:, 1].copy(), viewer.astype(np.int64))


def _from_picture(path: Path) -> Fixations:
    values = grey_values(path)
    row, column = np.nonzero(values > 0)
    if not len(row):
        raise SaliencyDataError(
            path,
            found="a fixation map without a pixel above 0",
            expected="a pixel above 0 for each fixation",
            remedy="remove the file, or write the map again",
        )
    height, width = values.shape
    longitude, latitude = directions_in_image(column, row, width, height, whole=True)
    return Fixations(longitude, latitude, np.zeros(len(row), np.int64))


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
            line=table.rows[at][0],
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
