"""Accuracy against cost, and the embedding of features (Fig. 6.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssl_kedro.pipelines.gated.report.page import levels_to_beat, reference_lines
from ssl_kedro.pipelines.gated.variants import (
    budget_percent,
    budgets_of,
    in_table_order,
    middle_dual_key,
    name_of,
    title_of,
)
from ssl_kedro.reporting.labels import label_point, mark_point, settled
from ssl_kedro.reporting.style import (
    BLUE,
    GREY,
    ORANGE,
    class_colours,
    figure,
    literal,
    spread,
    title,
)

LEGEND_CLASSES = 20

_COLOURS = {"vicreg": GREY, "vicreg_gating": ORANGE, "dual": BLUE}
_MEASURES = (("linear_top1_mean", "Linear probe"), ("knn_top1", "1-NN"))


def accuracy_against_cost(metrics: Mapping[str, float], models: Mapping[str, Any]) -> Figure:
    """Linear and 1-NN accuracy of Table 6.1's models over the cost of an image."""
    made, axes = figure(10, 4.4, columns=2)
    shown = [key for key in models if name_of(key) in _COLOURS]
    if not any(key.endswith(".linear_top1_mean") for key in metrics):
        for axis in axes:
            axis.set_axis_off()
            axis.text(0.5, 0.5, "no labels: not evaluated", ha="center", transform=axis.transAxes)
        return made
    middle = middle_dual_key(models)
    for axis, (measure, name) in zip(axes, _MEASURES, strict=True):
        _accuracy_panel(axis, metrics, shown, measure)
        title(axis, name if middle is None else _result(metrics, middle, measure, name))
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
    return settled(made)


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
        gated[name_of(key)].append((cost, 100 * metrics[f"{key}.gated.{measure}"], label))
        if f"{key}.dense.{measure}" in metrics:
            dense.append((100 * metrics[f"{key}.dense.{measure}"], label))
    for name, marker in (("vicreg_gating", "^"), ("dual", "o")):
        points = sorted(gated[name])
        costs, accuracies = [p[0] for p in points], [p[1] for p in points]
        axis.plot(costs, accuracies, marker=marker, color=_COLOURS[name], lw=1)
    for cost, accuracy, label in gated["dual"]:
        mark_point(
            axis,
            (cost, accuracy),
            f"dual gating, gated, budget {label}: {accuracy:.1f} % at {cost:.0f} % of the cost",
            color=BLUE,
            marker="o",
        )
        label_point(axis, label, (cost, accuracy), BLUE)
    axis.plot([100] * len(dense), [value for value, _ in dense], "o", color=BLUE, mfc="white", ms=6)
    levels = levels_to_beat(metrics)
    if measure != "knn_top1":
        # Measured by 1-NN, but for chance, which tells a run that has learnt nothing.
        lowest = axis.dataLim.y0
        levels = [(at, name) for at, name in levels if name == "chance" and at > lowest - 2]
    reference_lines(axis, levels)
    axis.margins(y=0.12)
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top)
    heights = spread([value for value, _ in dense], 0.045 * (top - bottom), centred=True)
    for (_, label), height in zip(dense, heights, strict=True):
        axis.annotate(label, (104, height), fontsize=8, color=BLUE, va="center")


def embedding_figure(embedding: pd.DataFrame) -> Figure:
    """Two-dimensional embeddings: one column a budget, one row a branch, the baseline left.

    Args:
        embedding: columns model, branch, x, y, label (-1: unlabelled), class_name.
    """
    keys = list(dict.fromkeys(embedding["model"]))
    budgets = budgets_of(keys)
    present = {
        (name_of(m), b) for m, b in zip(embedding["model"], embedding["branch"], strict=True)
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
                axis.set_ylabel(f"{title_of(method)}, {branch}", fontsize=10)
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
