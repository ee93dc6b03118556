"""Figures of chapter 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ssl_kedro.reporting.chapter6_curves import training_curves
from ssl_kedro.reporting.chapter6_models import (
    SHORT_NAMES,
    Models,
    budget_label,
    budget_percent,
    budgets_of,
    in_table_order,
    method_of,
    middle_dual_model,
)
from ssl_kedro.reporting.style import (
    BLUE,
    DARK,
    GREY,
    ORANGE,
    PALE,
    class_colours,
    figure,
    literal,
    spread,
    title,
)

__all__ = [
    "LEGEND_CLASSES",
    "accuracy_against_cost",
    "channel_usage_figure",
    "embedding_figure",
    "training_curves",
]

LEGEND_CLASSES = 20

_COLOURS = {"vicreg": GREY, "vicreg_gating": ORANGE, "dual": BLUE}
_MEASURES = (("linear_top1_mean", "Linear probe"), ("knn_top1", "1-NN"))
# More rows of panels than these are drawn flatter, more panels of one budget on several rows.
_TALL_ROWS = 4
_PANELS_A_ROW = 3


def accuracy_against_cost(metrics: Mapping[str, float], models: Models) -> Figure:
    """Linear and 1-NN accuracy of Table 6.1's models over the cost of an image."""
    made, axes = figure(10, 4.4, columns=2)
    shown = [key for key in models if method_of(key) in _COLOURS]
    if not any(key.endswith(".linear_top1_mean") for key in metrics):
        for axis in axes:
            axis.set_axis_off()
            axis.text(0.5, 0.5, "no labels: not evaluated", ha="center", transform=axis.transAxes)
        return made
    middle = middle_dual_model(models)
    for axis, (measure, name) in zip(axes, _MEASURES, strict=True):
        _accuracy_panel(axis, metrics, shown, measure)
        title(axis, name if middle is None else _result(metrics, middle[0], measure, name))
        axis.set_ylabel(f"{name} top-1 (%)")
        axis.set_xlabel("FLOPs (MACs) of the dense encoder (%)")
        axis.set_xlim(0, 118)
        axis.set_xticks(range(0, 101, 20))
    handles = {
        "vicreg": Line2D([], [], marker="s", ls="", color=GREY, label="VICReg, dense (Baseline-1)"),
        "vicreg_gating": Line2D(
            [], [], marker="^", color=ORANGE, lw=1, label="VICReg-Gating (Baseline-2)"
        ),
        "dual": Line2D(
            [], [], marker="o", color=BLUE, lw=1, label="dual gating, gated (label: budget)"
        ),
    }
    present = [handles[name] for name in in_table_order(shown)]
    if middle is not None:
        label = "dual gating, dense"
        present.append(Line2D([], [], marker="o", ls="", color=BLUE, mfc="white", label=label))
    made.legend(handles=present, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return made


def _result(metrics: Mapping[str, float], key: str, measure: str, name: str) -> str:
    """Title that says what one dual model reaches at its cost."""
    cost = 100 * (1 - metrics[f"{key}.gated.flop_reduction"])
    return f"{name}: {100 * metrics[f'{key}.gated.{measure}']:.1f} % at {cost:.0f} % of the cost"


def _accuracy_panel(
    axis: Axes, metrics: Mapping[str, float], keys: Sequence[str], measure: str
) -> None:
    gated: dict[str, list[tuple[float, float, str]]] = {"vicreg_gating": [], "dual": []}
    dense: list[tuple[float, str]] = []
    for key in keys:
        if budget_percent(key) is None:
            axis.plot(100, 100 * metrics[f"{key}.dense.{measure}"], "s", color=GREY, ms=8)
            continue
        label = f"{budget_percent(key)} %"
        cost = 100 * (1 - metrics[f"{key}.gated.flop_reduction"])
        gated[method_of(key)].append((cost, 100 * metrics[f"{key}.gated.{measure}"], label))
        if f"{key}.dense.{measure}" in metrics:
            dense.append((100 * metrics[f"{key}.dense.{measure}"], label))
    for name, marker in (("vicreg_gating", "^"), ("dual", "o")):
        points = sorted(gated[name])
        costs, accuracies = [p[0] for p in points], [p[1] for p in points]
        axis.plot(costs, accuracies, marker=marker, color=_COLOURS[name], lw=1)
    for cost, accuracy, label in gated["dual"]:
        axis.annotate(
            label,
            (cost, accuracy),
            textcoords="offset points",
            xytext=(0, 7),
            ha="center",
            fontsize=8,
            color=BLUE,
        )
    axis.plot([100] * len(dense), [value for value, _ in dense], "o", color=BLUE, mfc="white", ms=6)
    _reference_lines(axis, metrics, measure)
    axis.margins(y=0.12)
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top)
    heights = spread([value for value, _ in dense], 0.045 * (top - bottom), centred=True)
    for (_, label), height in zip(dense, heights, strict=True):
        axis.annotate(label, (104, height), fontsize=8, color=BLUE, va="center")


def _reference_lines(axis: Axes, metrics: Mapping[str, float], measure: str) -> None:
    """What there is to beat: all in the 1-NN panel, by which raw pixels were measured.

    The linear panel shows differences between encoders, so it keeps only a chance level
    that lies among them, which tells a run that has learnt nothing.
    """
    names = (
        ("raw_pixels.knn_top1", "raw pixels"),
        ("random_init.knn_top1", "random encoder"),
        ("chance", "chance"),
    )
    lowest = axis.dataLim.y0
    shown = [(100 * metrics[key], name) for key, name in names if key in metrics]
    if measure != "knn_top1":
        shown = [(value, name) for value, name in shown if name == "chance" and value > lowest - 2]
    if not shown:
        return
    values = [value for value, _ in shown]
    for value in values:
        axis.axhline(value, color=DARK, lw=0.8, ls=":")
    span = max(axis.dataLim.y1, *values) - min(axis.dataLim.y0, *values)
    for (value, name), height in zip(shown, spread(values, 0.05 * span), strict=True):
        axis.annotate(
            f"{name} {value:.1f} %",
            (0.01, height),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=DARK,
            va="bottom",
        )


def channel_usage_figure(models: Models) -> Figure:
    """Share of channels always on, input-dependent and always off, per block (Fig. 5.1).

    One row a model with its budgets side by side, dual gating first; up to three panels, or
    those of a single budget, fill the rows one after another.
    """
    gated = [key for key, model in models.items() if model["channel_usage"]]
    names = sorted(in_table_order(gated), key=lambda name: name != "dual")
    ordered = sorted(gated, key=lambda key: (names.index(method_of(key)), budget_percent(key)))
    budgets = len(budgets_of(gated))
    columns = budgets if budgets > 1 and len(gated) > 3 else min(len(gated), _PANELS_A_ROW)
    rows = max(1, -(-len(gated) // max(1, columns)))
    height = 2.6 if rows <= _TALL_ROWS else 1.8
    made, axes = figure(max(6, 3.7 * columns), height * rows + 0.5, rows, max(1, columns))
    for axis in axes[len(gated) :]:
        axis.set_visible(False)
    for index, (axis, key) in enumerate(zip(axes, ordered, strict=False)):
        _usage_panel(axis, models[key]["channel_usage"], budget_label(key))
        if index % columns == 0:
            axis.set_ylabel("channels (%)")
        if index >= len(gated) - columns:
            axis.set_xlabel("residual block (stage.block)")
    handles = [Patch(color=colour, label=label) for _, label, colour in _USAGE]
    made.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return made


_USAGE = (
    ("always_on", "always on", BLUE),
    ("dependent", "depends on the image", ORANGE),
    ("always_off", "always off", PALE),
)


def _usage_panel(axis: Axes, usage: Sequence[Mapping[str, Any]], name: str) -> None:
    position = np.arange(len(usage))
    bottom = np.zeros(len(usage))
    for part, _, colour in _USAGE:
        share = np.array([100 * block[part] / block["channels"] for block in usage])
        axis.bar(position, share, 0.84, bottom=bottom, color=colour, edgecolor="white", lw=0.6)
        bottom += share
    channels = sum(block["channels"] for block in usage)
    off = 100 * sum(block["always_off"] for block in usage) / channels
    axis.set_xticks(position, [block["block"].removeprefix("layer") for block in usage])
    axis.set_ylim(0, 100)
    title(axis, f"{name}: {off:.0f} % always off")


def embedding_figure(embedding: pd.DataFrame) -> Figure:
    """Two-dimensional embeddings: one column a budget, one row a branch, the baseline left.

    Args:
        embedding: columns model, branch, x, y, label (-1: unlabelled), class_name.
    """
    keys = list(dict.fromkeys(embedding["model"]))
    budgets = budgets_of(keys)
    present = {
        (method_of(m), b) for m, b in zip(embedding["model"], embedding["branch"], strict=True)
    }
    wanted = (("dual", "dense"), ("dual", "gated"), ("vicreg_gating", "gated"))
    rows = [row for row in wanted if row in present] or [("dual", "dense")]
    columns = 1 + len(budgets)
    made, axes = figure(2.7 * columns, 2.6 * len(rows) + 0.2, len(rows), columns)
    colours = class_colours(embedding["label"])
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    _scatter(axes[0], embedding[embedding["model"] == "vicreg"], colours)
    title(axes[0], "VICReg, dense (Baseline-1)")
    for row, (method, branch) in enumerate(rows):
        for column, percent in enumerate(budgets, start=1):
            axis = axes[row * columns + column]
            key = f"{method}.budget_{percent:02d}"
            same = (embedding["model"] == key) & (embedding["branch"] == branch)
            _scatter(axis, embedding[same], colours)
            if row == 0:
                title(axis, f"budget {percent} %")
            if column == 1:
                axis.set_ylabel(f"{SHORT_NAMES[method]}, {branch}", fontsize=10)
    _class_legend(made, axes[columns] if len(rows) > 1 else None, embedding, colours)
    return made


def _scatter(axis: Axes, points: pd.DataFrame, colours: Mapping[int, str]) -> None:
    shades = [colours[label] for label in points["label"]]
    axis.scatter(points["x"], points["y"], s=8, lw=0, c=shades, alpha=0.85)


def _class_legend(
    made: Figure, beside: Axes | None, embedding: pd.DataFrame, colours: Mapping[int, str]
) -> None:
    """One legend for all panels, in the free place under the baseline where there is one."""
    names = dict(zip(embedding["label"], embedding["class_name"], strict=True))
    handles = [
        Line2D([], [], marker="o", ls="", color=colours[label], label=literal(names[label]))
        for label in sorted(names)
        if label >= 0
    ]
    if not 0 < len(handles) <= LEGEND_CLASSES:
        return
    if beside is None:
        made.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
        return
    columns = 1 if len(handles) <= 10 else 2
    legend = beside.legend(handles=handles, loc="center", ncols=columns, fontsize=9, frameon=False)
    # A long class name must not squeeze the panels.
    legend.set_in_layout(False)
