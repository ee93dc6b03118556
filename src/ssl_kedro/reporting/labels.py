"""Small text beside points of a figure that covers neither the points nor other such text."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from ssl_kedro.reporting.pictures import tip

# Begins so that no legend lists it.
_OF_A_POINT = "_of a point"
# Where a label may stand, the first free one: (x, y) in typographic points from its point.
_PLACES = tuple(
    (x * away, y * away)
    for away in (8, 13, 19, 27, 36)
    for x, y in (
        (0, 1),
        (0, -1),
        (1, 0),
        (-1, 0),
        (0.8, 0.8),
        (-0.8, 0.8),
        (0.8, -0.8),
        (-0.8, -0.8),
    )
)
# Half a marker, and steps along a line at which it counts as covered.
_MARKER, _STEPS = 4.0, 24
# What a place costs for each that comes before it.
_RELUCTANCE = 0.05


def label_point(axis: Axes, text: str, point: tuple[float, float], colour: str) -> None:
    """Small text near a point; :func:`settled` finds its place."""
    made = axis.annotate(text, point, (0, 8), textcoords="offset points", fontsize=8, color=colour)
    made.set_label(_OF_A_POINT)


def settled(made: Figure) -> Figure:
    """The figure with labels of points moved to where they cover as little as can be."""
    made.draw_without_rendering()
    scale = made.dpi / 72
    for axis in made.axes:
        labels = [
            t for t in axis.texts if isinstance(t, Annotation) and t.get_label() == _OF_A_POINT
        ]
        if not labels:
            continue
        points = _covered(axis)
        taken = [t.get_window_extent() for t in axis.texts if t not in labels]
        for label in labels:
            costs = [_cost(label, place, points, taken, axis.bbox, scale) for place in _PLACES]
            _place(label, _PLACES[int(np.argmin(costs + _RELUCTANCE * np.arange(len(costs))))])
            taken.append(label.get_window_extent())
    return made


def _covered(axis: Axes) -> np.ndarray:
    """Pixels that labels should leave free: points, and steps along lines, (N, 3) with a weight."""
    found = []
    for line in axis.lines:
        at = np.asarray(line.get_transform().transform(line.get_xydata()))
        if line.get_marker() not in ("None", None, ""):
            found.append(np.column_stack([at, np.full(len(at), 3.0)]))
        if line.get_linestyle() not in ("None", "", ":") and len(at) > 1:
            share = np.linspace(0, 1, _STEPS)[:, None, None]
            between = (at[:-1] * (1 - share) + at[1:] * share).reshape(-1, 2)
            found.append(np.column_stack([between, np.full(len(between), 0.3)]))
    return np.concatenate(found) if found else np.empty((0, 3))


def _place(label: Annotation, place: tuple[float, float]) -> None:
    x, y = place
    label.set_horizontalalignment("center" if x == 0 else "left" if x > 0 else "right")
    label.set_verticalalignment("center" if y == 0 else "bottom" if y > 0 else "top")
    label.set_position((x, y * 0.7))


def _cost(
    label: Annotation,
    place: tuple[float, float],
    points: np.ndarray,
    taken: list[Bbox],
    panel: Bbox,
    scale: float,
) -> float:
    """What a label would cover at a place."""
    _place(label, place)
    box = label.get_window_extent()
    grown = box.padded(_MARKER * scale / 2)
    (left, bottom), (right, top) = grown.min, grown.max
    inside = (
        (points[:, 0] > left)
        & (points[:, 0] < right)
        & (points[:, 1] > bottom)
        & (points[:, 1] < top)
    )
    overlaps = sum(grown.overlaps(other) for other in taken)
    outside = not (
        panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
    )
    return float(points[inside, 2].sum()) + 20 * overlaps + 10 * outside


def mark_point(axis: Axes, point: tuple[float, float], told: str, **look: Any) -> None:
    """A point alone, so that a page can tell what it is where somebody points at it."""
    (mark,) = axis.plot(*([value] for value in point), ls="", **look)
    tip(mark, told)
