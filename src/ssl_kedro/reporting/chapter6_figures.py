"""Figures of chapter 6."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ssl_kedro.reporting.style import BLUE, CLASS_COLOURS, GREY, ORANGE, figure, title

Models = Mapping[str, Mapping[str, Any]]
Histories = Mapping[str, Sequence[Mapping[str, float]]]

_METHOD_COLOURS = {"vicreg": GREY, "vicreg_gating": ORANGE, "dual_gating": BLUE}


def budget_label(key: str) -> str:
    """Readable name of a model's key: "dual.budget_30" -> "dual gating, 30 %"."""
    if key == "vicreg":
        return "VICReg (dense)"
    method, budget = key.split(".")
    name = {"dual": "dual gating", "vicreg_gating": "VICReg-Gating"}[method]
    return f"{name}, {int(budget.removeprefix('budget_'))} %"


def training_curves(histories: Histories) -> Figure:
    """Loss and realised cost over the epochs, one line a model."""
    made, (loss, ratio) = figure(10, 3.6, columns=2)
    styles = _line_styles(histories)
    for key, rows in histories.items():
        epochs = [row["epoch"] for row in rows]
        colour, dashes = styles[key]
        loss.plot(
            epochs, [row["loss"] for row in rows], color=colour, ls=dashes, label=budget_label(key)
        )
        if "flop_ratio" in rows[0]:
            ratio.plot(epochs, [100 * row["flop_ratio"] for row in rows], color=colour, ls=dashes)
            target = int(key.rsplit("_", 1)[1])
            ratio.axhline(target, color=GREY, lw=0.7, ls=":")
            ratio.annotate(
                f"budget {target} %",
                (1, target),
                xycoords=("axes fraction", "data"),
                fontsize=8,
                color="#555",
                ha="right",
                va="bottom",
            )
    title(loss, "Training loss")
    loss.set_ylabel("training loss")
    title(ratio, "Realised cost on training batches")
    ratio.set_ylabel("gated MACs / dense MACs (%)")
    ratio.set_ylim(0, 100)
    for axis in (loss, ratio):
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    made.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return made


def _line_styles(histories: Histories) -> dict[str, tuple[str, str]]:
    """Colour by method, dash pattern by budget."""
    budgets = sorted({key.rsplit("_", 1)[1] for key in histories if "budget" in key})
    dashes = dict(zip(budgets, ["-", "--", ":", "-."] * len(budgets), strict=False))
    methods = {"vicreg": GREY, "dual": BLUE, "vicreg_gating": ORANGE}
    return {
        key: (methods[key.split(".")[0]], dashes.get(key.rsplit("_", 1)[-1], "-"))
        for key in histories
    }


def accuracy_against_cost(metrics: Mapping[str, float], models: Models) -> Figure:
    """Linear and 1-NN accuracy over the cost of an image, with what they have to beat."""
    made, axes = figure(10, 4.4, columns=2)
    measures = (("linear_top1_mean", "Linear probe"), ("knn_top1", "1-NN"))
    for axis, (measure, name) in zip(axes, measures, strict=True):
        if f"vicreg.dense.{measure}" not in metrics:
            axis.text(0.5, 0.5, "no labels: not evaluated", ha="center", transform=axis.transAxes)
            continue
        _accuracy_panel(axis, metrics, models, measure)
        title(axis, f"{name}: accuracy against cost")
        axis.set_ylabel(f"{name} top-1 (%)")
        axis.set_xlabel("FLOPs (MACs) of the dense encoder (%)")
        axis.set_xlim(0, 112)
    handles = [
        Line2D([], [], marker="s", ls="", color=GREY, label="VICReg, dense (Baseline-1)"),
        Line2D([], [], marker="^", ls="", color=ORANGE, label="VICReg-Gating (Baseline-2)"),
        Line2D([], [], marker="o", ls="", color=BLUE, label="dual gating, gated"),
        Line2D([], [], marker="o", ls="", color=BLUE, mfc="white", label="dual gating, dense"),
    ]
    made.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return made


def _accuracy_panel(axis: Axes, metrics: Mapping[str, float], models: Models, measure: str) -> None:
    axis.plot(100, 100 * metrics[f"vicreg.dense.{measure}"], "s", color=GREY, ms=8)
    points: dict[str, list[tuple[float, float, int]]] = {"vicreg_gating": [], "dual_gating": []}
    for key, model in models.items():
        if model["budget"] is None:
            continue
        cost = 100 * (1 - model["macs"]["flop_reduction"])
        accuracy = 100 * metrics[f"{key}.gated.{measure}"]
        points[model["method"]].append((cost, accuracy, round(100 * model["budget"])))
        if f"{key}.dense.{measure}" in metrics:
            dense = 100 * metrics[f"{key}.dense.{measure}"]
            axis.plot(100, dense, "o", color=BLUE, mfc="white", ms=6)
    for method, marker in (("vicreg_gating", "^"), ("dual_gating", "o")):
        ordered = sorted(points[method])
        colour = _METHOD_COLOURS[method]
        axis.plot(
            [p[0] for p in ordered], [p[1] for p in ordered], marker=marker, color=colour, lw=1
        )
    for cost, accuracy, percent in points["dual_gating"]:
        axis.annotate(
            f"t_d {percent} %",
            (cost, accuracy),
            textcoords="offset points",
            xytext=(6, 7),
            fontsize=8,
            color=BLUE,
        )
    _reference_lines(axis, metrics)


def _reference_lines(axis: Axes, metrics: Mapping[str, float]) -> None:
    names = (
        ("raw_pixels.knn_top1", "raw pixels, 1-NN"),
        ("random_init.knn_top1", "random encoder, 1-NN"),
        ("chance", "chance"),
    )
    for key, name in names:
        if key in metrics:
            axis.axhline(100 * metrics[key], color="#555", lw=0.8, ls=":")
            axis.annotate(
                name,
                (0.01, 100 * metrics[key]),
                xycoords=("axes fraction", "data"),
                fontsize=8,
                color="#555",
                va="bottom",
            )


def channel_usage_figure(models: Models) -> Figure:
    """Share of channels always on, input-dependent and always off, per block (Fig. 5.1)."""
    gated = {key: model for key, model in models.items() if model["channel_usage"]}
    columns = max(1, math.ceil(len(gated) / 2)) if len(gated) > 3 else max(1, len(gated))
    rows = math.ceil(max(1, len(gated)) / columns)
    made, axes = figure(11, 2.5 * rows + 0.6, rows, columns)
    parts = (
        ("always_on", "always on", BLUE),
        ("dependent", "depends on the image", ORANGE),
        ("always_off", "always off", "#C9CDD3"),
    )
    ordered = sorted(gated.items(), key=lambda item: (item[0].split(".")[0], item[1]["budget"]))
    for axis, (key, model) in zip(axes, ordered, strict=False):
        usage = model["channel_usage"]
        position = np.arange(len(usage))
        bottom = np.zeros(len(usage))
        for name, label, colour in parts:
            share = np.array([100 * block[name] / block["channels"] for block in usage])
            axis.bar(position, share, 0.8, bottom=bottom, color=colour, label=label)
            bottom += share
        axis.set_xticks(position, [block["block"].removeprefix("layer") for block in usage])
        axis.set_ylim(0, 100)
        axis.set_ylabel("channels (%)")
        axis.set_xlabel("residual block")
        title(axis, budget_label(key))
    for axis in axes[len(gated) :]:
        axis.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return made


def embedding_figure(embedding: pd.DataFrame) -> Figure:
    """Two-dimensional embeddings: dense features above, gated below, one column a model."""
    keys = list(dict.fromkeys(embedding["model"]))
    columns = max(1, len(keys))
    made, axes = figure(2.9 * columns + 0.4, 6.6, 2, columns)
    labels = sorted(embedding["label"].unique())
    colours = {
        label: CLASS_COLOURS[index % len(CLASS_COLOURS)] if label >= 0 else GREY
        for index, label in enumerate(labels)
    }
    for row, branch in enumerate(("dense", "gated")):
        for column, key in enumerate(keys):
            axis = axes[row * columns + column]
            part = embedding[(embedding["model"] == key) & (embedding["branch"] == branch)]
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if part.empty:
                axis.text(0.5, 0.5, "no gates", ha="center", color=GREY, transform=axis.transAxes)
                continue
            axis.scatter(
                part["x"], part["y"], s=7, lw=0, c=[colours[label] for label in part["label"]]
            )
            title(axis, f"{budget_label(key)}: {branch}" if key != "vicreg" else budget_label(key))
    names = dict(zip(embedding["label"], embedding["class_name"], strict=True))
    handles = [
        Line2D([], [], marker="o", ls="", color=colours[label], label=names[label])
        for label in labels
        if label >= 0
    ]
    if 0 < len(handles) <= 20:
        made.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    return made
