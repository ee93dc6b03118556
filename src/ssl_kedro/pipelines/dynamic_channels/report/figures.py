"""The figure of chapter 5 that is its own: accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_kedro.pipelines.gated.report.levels import levels_to_beat, reference_lines
from ssl_kedro.reporting.style import BLUE, GREY, ORANGE, figure, title


def accuracy_against_cost(
    metrics: Mapping[str, float], table: pd.DataFrame, *, within_points: float
) -> Figure:
    """1-NN accuracy of every budget over its cost, the ungated baseline as a line.

    Args:
        metrics: flat metrics (fractions).
        table: Table 5.1 (percent).
        within_points: allowed loss of the operating point, in percentage points.
    """
    made, (axis,) = figure(7.2, 4.4)
    axis.set_xlabel("FLOPs (MACs) of the ungated encoder (%)")
    axis.set_ylabel("1-NN top-1 (%)")
    axis.set_xlim(0, 104)
    gated = table[table["method"] == "simsiam_gating"].sort_values("flop_reduction")
    if gated["knn_top1"].isna().all():
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no labels: not evaluated", ha="center", transform=axis.transAxes)
        return made
    costs = 100 - gated["flop_reduction"]
    axis.plot(costs, gated["knn_top1"], marker="o", color=BLUE, lw=1.2, label="SimSiam, gated")
    for cost, accuracy, budget in zip(
        costs, gated["knn_top1"], gated["budget_percent"], strict=True
    ):
        axis.annotate(
            f"{budget:.0f} %",
            (cost, accuracy),
            textcoords="offset points",
            xytext=(0, 8),
            ha="center",
            fontsize=8,
            color=BLUE,
        )
    _baseline(axis, metrics, within_points)
    chosen = metrics.get("operating_point.budget")
    if chosen is not None:
        at = gated[gated["budget_percent"] == round(100 * chosen)].iloc[0]
        axis.plot(
            100 - at["flop_reduction"],
            at["knn_top1"],
            "o",
            ms=14,
            mfc="none",
            mec=ORANGE,
            mew=2,
            label=f"operating point: budget {round(100 * chosen)} %",
        )
    heading = "No budget is within reach of the baseline"
    if chosen is not None:
        heading = f"{within_points:g} points below the baseline buy {at['flop_reduction']:.0f} %"
        heading += " of its FLOPs"
    title(axis, heading)
    axis.margins(y=0.14)
    axis.legend(loc="best", fontsize=9, frameon=False)
    return made


def _baseline(axis: Axes, metrics: Mapping[str, float], within_points: float) -> None:
    """Lines of the baseline, of what is allowed below it, and of what there is to beat."""
    level = 100 * metrics["simsiam.knn_top1"]
    axis.axhline(level, color=GREY, lw=1.5, label="SimSiam, ungated")
    axis.axhspan(level - within_points, level, color=GREY, alpha=0.12, lw=0)
    reference_lines(axis, levels_to_beat(metrics))
