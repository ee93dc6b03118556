"""The picture of the front: accuracy over time, one panel a batch size."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from ssl_kedro.pipelines.gated.frontier.names import (
    ENGINES,
    MEASURE_TITLES,
    batch_label,
    form_label,
)
from ssl_kedro.pipelines.gated.frontier.points import measure_of
from ssl_kedro.reporting.labels import mark_point
from ssl_kedro.reporting.number_format import plain, three_digits
from ssl_kedro.reporting.style import BLUE, DARK, GREY, ORANGE, PALE, figure, spread, title

# Width of a letter of small print as a share of a panel's.
_CHARACTER = 0.0135
_MARKERS = {"f32": "o", "bf16": "s", "int8": "^"}


def frontier_figure(frontier_table: pd.DataFrame) -> Figure:
    """Networks on the front in colour and named, what they beat in grey; a panel a batch size.

    Args:
        frontier_table: from
            :func:`~ssl_kedro.pipelines.gated.frontier.points.frontier_frame`.
    """
    measure = measure_of(frontier_table)
    batches = sorted(frontier_table["batch"].unique())
    made, axes = figure(5 * len(batches), 4.6, columns=len(batches))
    for axis, batch in zip(axes, batches, strict=True):
        rows = frontier_table[frontier_table["batch"] == batch].dropna(subset=[measure])
        title(axis, batch_label(batch))
        axis.set_xlabel("milliseconds an image (logarithmic)")
        _panel(axis, rows, measure)
    axes[0].set_ylabel(f"{MEASURE_TITLES[measure]} (%)")
    made.legend(
        handles=_handles(frontier_table),
        loc="outside lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )
    return made


def _between(ratio: float) -> tuple[float, ...]:
    """Ticks between powers of ten, of which an axis has room for the fewer the longer it is."""
    if ratio > 100:
        return (1.0,)
    return (2, 5) if ratio > 4 else (1.5, 2, 3, 4, 5, 7)


def _panel(axis: Axes, rows: pd.DataFrame, measure: str) -> None:
    axis.set_xscale("log")
    for formatted in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        formatted(FuncFormatter(lambda value, _: f"{value:g}"))
    if rows.empty:
        return
    low, high = rows["ms_per_image"].min(), rows["ms_per_image"].max()
    axis.xaxis.set_minor_locator(LogLocator(subs=_between(high / low)))
    front = rows[rows["on_front"].astype(bool)].sort_values("ms_per_image")
    _make_room(axis, front, 1.2 * high, low / 1.2)
    for precision, marker in _MARKERS.items():
        of = rows[(rows["precision"] == precision) & ~rows["on_front"].astype(bool)]
        offered, fastest = of["offered"].astype(bool), of["fastest"].astype(bool)
        for chosen, look in (
            (offered & ~fastest, {"mfc": PALE, "mec": PALE, "ms": 3.5}),
            (offered & fastest, {"mfc": GREY, "mec": GREY, "ms": 6}),
            (~offered, {"mfc": "none", "mec": GREY, "ms": 6}),
        ):
            _points(axis, of[chosen], measure, marker=marker, **look)
        same = front[front["precision"] == precision]
        _points(axis, same, measure, marker=marker, mfc=BLUE, mec="white", ms=9, zorder=4)
    axis.step(front["ms_per_image"], front[measure], where="post", color=BLUE, lw=1.4, zorder=2)
    deployed = rows[rows["deployed"].astype(bool)]
    ring = {"mfc": "none", "mec": ORANGE, "ms": 16, "mew": 2, "zorder": 3}
    _points(axis, deployed, measure, marker="o", **ring)
    axis.margins(y=0.1)
    _names(axis, front, measure)


def _make_room(axis: Axes, front: pd.DataFrame, right: float, left: float) -> None:
    """Limits that leave room for names to the left of points: what lay there would beat them.

    Args:
        axis: logarithmic.
        front: points that are named.
        right: end of the axis.
        left: its beginning if no name needs more.
    """
    for row in front.to_dict("records"):
        share = min(0.7, 0.05 + _CHARACTER * len(_name(row)))
        # The point stands at this share of the axis.
        at = math.log(row["ms_per_image"])
        left = min(left, math.exp((at - share * math.log(right)) / (1 - share)))
    axis.set_xlim(left, right)


def _name(row: Mapping[Hashable, Any]) -> str:
    return form_label(row["model"], row["network"], row["precision"])


def _points(axis: Axes, rows: pd.DataFrame, measure: str, **look: Any) -> None:
    for row in rows.to_dict("records"):
        time, accuracy = row["ms_per_image"], row[measure]
        told = (
            f"{_name(row)} on {ENGINES[row['engine']]}: {plain(accuracy, 1)} % "
            f"{MEASURE_TITLES[measure]}, {three_digits(time)} ms an image"
        )
        mark_point(axis, (time, accuracy), told, **look)


def _names(axis: Axes, front: pd.DataFrame, measure: str) -> None:
    """Names of what is on the front, at least a line apart."""
    axis.relim()
    axis.autoscale_view(scalex=False)
    bottom, top = axis.get_ylim()
    heights = spread([float(value) for value in front[measure]], 0.048 * (top - bottom))
    for row, height in zip(front.to_dict("records"), heights, strict=True):
        axis.annotate(
            _name(row),
            (row["ms_per_image"], height),
            xytext=(-9, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=DARK,
        )
    axis.set_ylim(bottom, max([top, *(height + 0.06 * (top - bottom) for height in heights)]))


def _handles(frame: pd.DataFrame) -> list[Line2D]:
    """Marks as they stand in the panels, those that there are."""

    def mark(label: str, marker: str, **look: Any) -> Line2D:
        return Line2D([], [], ls="", marker=marker, label=label, **look)

    found = [
        mark(precision, marker, mfc=DARK, mec=DARK, ms=6)
        for precision, marker in _MARKERS.items()
        if (frame["precision"] == precision).any()
    ]
    found.append(Line2D([], [], color=BLUE, lw=1.4, marker="o", mec="white", label="front"))
    found.append(mark("beaten", "o", mfc=GREY, mec=GREY, ms=6))
    if not frame["fastest"].all():
        found.append(mark("on a slower engine", "o", mfc=PALE, mec=PALE, ms=3.5))
    if not frame["offered"].all():
        found.append(mark("not offered: accuracy", "o", mfc="none", mec=GREY, ms=6))
    if frame["deployed"].any():
        found.append(mark("to deploy", "o", mfc="none", mec=ORANGE, ms=12, mew=2))
    return found
