"""Figures of chapter 4: scores with intervals, training curves, overlays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_kedro.reporting.chapter4_tables import BASELINES
from ssl_kedro.reporting.number_format import MINUS, plain
from ssl_kedro.reporting.style import BLUE, CLASS_COLOURS, DARK, ORANGE, figure, literal, title
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.predict.overlays import overlay

# (name, panorama uint8 (3, H, W), truth (h, w), maps by column, CC by column)
Shown = tuple[str, np.ndarray, np.ndarray, Mapping[str, np.ndarray], Mapping[str, float]]


def main_dataset(results: Mapping[str, Any]) -> str:
    """Name of the run's own data."""
    return next(str(n) for n, found in results["datasets"].items() if found["role"] == "main")


def headline_mode(modes: Mapping[str, Any]) -> str:
    """Mode that reports show: by solid angle, where it was scored."""
    return "sphere" if "sphere" in modes else next(iter(modes))


def scores(results: Mapping[str, Any]) -> Figure:
    """A panel a metric: models and baselines as points with their intervals."""
    dataset = main_dataset(results)
    models = results["scores"][dataset]
    mode = headline_mode(next(iter(models.values())))
    names = [*(n for n in models if n not in BASELINES), *(n for n in BASELINES if n in models)]
    shown = [m for m in metrics() if any(_mean(models, n, mode, m) is not None for n in names)]
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    made, axes = figure(2.5 * columns + 1.2, (0.27 * len(names) + 0.75) * rows, rows, columns)
    for at, axis in enumerate(axes):
        if at >= len(shown):
            axis.set_visible(False)
            continue
        _score_panel(axis, models, names, mode, shown[at], named=at % columns == 0)
    return made


def _score_panel(
    axis: Axes,
    models: Mapping[str, Any],
    names: Sequence[str],
    mode: str,
    metric: str,
    *,
    named: bool,
) -> None:
    for place, name in enumerate(names):
        found = models[name].get(mode, {}).get(metric) or {}
        if found.get("mean") is None:
            continue
        colour = DARK if name in BASELINES else BLUE
        if found.get("low") is not None:
            axis.plot([found["low"], found["high"]], [place] * 2, color=colour, lw=2.5, alpha=0.45)
        axis.plot(found["mean"], place, "o", color=colour, ms=5)
    equator = _mean(models, "equator", mode, metric)
    if equator is not None:
        axis.axvline(equator, color=ORANGE, lw=1, ls="--", zorder=0)
    axis.set_yticks(range(len(names)), [literal(n) for n in names] if named else [])
    axis.invert_yaxis()
    known = metrics()[metric]
    title(axis, known.heading + " (lower is better)" * known.lower_is_better)


def _mean(models: Mapping[str, Any], name: str, mode: str, metric: str) -> float | None:
    found = models.get(name, {}).get(mode, {}).get(metric) or {}
    return found.get("mean")


def training_curves(results: Mapping[str, Any]) -> Figure:
    """Loss of every pre-training, and of every decoder, over its epochs."""
    made, (left, right) = figure(9.0, 3.1, 1, 2)
    for axis, part, name in ((left, "encoders", "Pre-training"), (right, "models", "Decoders")):
        curves = {n: found["history"] for n, found in results[part].items() if found["history"]}
        for (label, history), colour in zip(curves.items(), _colours(len(curves)), strict=True):
            epochs = [row["epoch"] for row in history]
            losses = [row["loss"] for row in history]
            axis.plot(epochs, losses, color=colour, lw=1.6, label=literal(label))
        axis.set_xlabel("epoch", fontsize=9, color=DARK)
        axis.set_ylabel("loss", fontsize=9, color=DARK)
        title(axis, name if curves else f"{name}: none in this run")
        if curves:
            axis.legend(frameon=False, fontsize=8)
    return made


def _colours(count: int) -> list[str]:
    return [CLASS_COLOURS[at % len(CLASS_COLOURS)] for at in range(count)]


def overlay_sheet(rows: Sequence[Shown], columns: Sequence[str]) -> Figure:
    """A row a panorama: the picture, where people looked, what each column predicts."""
    heads = ["panorama", "where people looked", *columns]
    width = 2.35 * len(heads)
    made = Figure(figsize=(width, 1.42 * max(1, len(rows)) + 0.35), dpi=110)
    grid = made.subplots(max(1, len(rows)), len(heads), squeeze=False)
    top = 1 - 0.3 / made.get_figheight()
    bottom = 0.2 / made.get_figheight()
    made.subplots_adjust(0.005, bottom, 0.995, top, wspace=0.03, hspace=0.2)
    for axis in grid.flat:
        axis.set_axis_off()
    for axes, (name, picture, truth, maps, correlations) in zip(grid, rows, strict=False):
        pictures = [picture, overlay(picture, truth)]
        pictures += [overlay(picture, maps[column]) for column in columns]
        below = [literal(name), "", *(_correlation(correlations.get(column)) for column in columns)]
        for axis, shown, text in zip(axes, pictures, below, strict=True):
            axis.imshow(shown.transpose(1, 2, 0), interpolation="bilinear", aspect="auto")
            axis.text(0, -0.03, text, transform=axis.transAxes, va="top", fontsize=7.5, color=DARK)
    for axis, head in zip(grid[0], heads, strict=True):
        axis.set_title(literal(head), fontsize=9, loc="left", color=DARK)
    return made


def _correlation(value: float | None) -> str:
    return "" if value is None else f"CC {plain(value)}".replace("-", MINUS)
