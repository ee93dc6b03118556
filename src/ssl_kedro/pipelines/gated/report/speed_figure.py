"""Time against cost: how much of the FLOPs that gates save is saved in time."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_kedro.pipelines.gated.variants import budget_percent, name_of, title_of
from ssl_kedro.reporting.style import BLUE, DARK, GREEN, GREY, ORANGE, PURPLE, RED, figure, title

_MARKERS = {"gated": "o", "static": "^"}
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED)


def time_against_cost(table: pd.DataFrame) -> Figure:
    """One panel a batch size; below the diagonal more time is saved than FLOPs.

    Args:
        table: from :func:`~ssl_kedro.pipelines.gated.report.speed_numbers.inference_frame`.
    """
    batches = sorted(table["batch"].unique())
    made, axes = figure(max(5.2, 4.6 * len(batches)), 4.2, columns=len(batches))
    methods = list(dict.fromkeys(map(name_of, table["model"])))
    for axis, batch in zip(axes, batches, strict=True):
        _panel(axis, table[table["batch"] == batch], methods)
        title(axis, f"{batch} image{'s' if batch > 1 else ''} at a time")
        axis.set_xlabel("FLOPs (MACs) of the dense network (%)")
    axes[0].set_ylabel("time of the dense network (%)")
    # Models may have been timed at different batch sizes: no panel need show all of them.
    unique: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True)) | unique
    made.legend(
        unique.values(),
        unique.keys(),
        loc="outside lower center",
        ncols=min(4, len(unique)),
        fontsize=9,
        frameon=False,
    )
    return made


def _panel(axis: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    axis.plot([0, 100], [0, 100], color=DARK, lw=0.8, ls=":", label="time falls as FLOPs do")
    axis.axhline(100, color=GREY, lw=1.2, label="dense network")
    for index, method in enumerate(methods):
        colour = _COLOURS[index % len(_COLOURS)]
        for network, marker in _MARKERS.items():
            same = rows["model"].map(name_of) == method
            points = rows[same & (rows["network"] == network)].sort_values("cost_share")
            if points.empty:
                continue
            costs, times = 100 * points["cost_share"], 100 / points["measured_ratio"]
            face = colour if network == "gated" else "white"
            name = network if len(methods) == 1 else f"{title_of(method)}, {network}"
            axis.plot(costs, times, marker, color=colour, mfc=face, ms=7, label=name)
            for cost, time, key in zip(costs, times, points["model"], strict=True):
                axis.annotate(
                    f"{budget_percent(key)} %",
                    (cost, time),
                    textcoords="offset points",
                    xytext=(0, 8) if network == "gated" else (0, -15),
                    ha="center",
                    fontsize=8,
                    color=colour,
                )
    top = 100 / rows.loc[rows["network"] != "dense", "measured_ratio"].min()
    axis.set_xlim(0, 104)
    axis.set_ylim(0, max(110, 1.08 * top))
