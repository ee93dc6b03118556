"""Figures of chapter 4: scores with intervals, training curves, overlays."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ssl_kedro.pipelines.saliency360.records import BASELINES, Results, Training
from ssl_kedro.reporting.number_format import MINUS, plain
from ssl_kedro.reporting.style import BLUE, CLASS_COLOURS, DARK, ORANGE, figure, literal, title
from ssl_kedro.saliency.evaluation import Estimate
from ssl_kedro.saliency.metric import Metric, metrics
from ssl_kedro.saliency.predict.overlays import overlay

# (name, panorama uint8 (3, H, W), truth (h, w), maps by column, CC by column)
Shown = tuple[str, np.ndarray, np.ndarray, Mapping[str, np.ndarray], Mapping[str, float]]


def scores(results: Results) -> Figure:
    """A panel a metric: models and baselines as points with their intervals."""
    models = results.scores[results.main]
    names = [*(n for n in models if n not in BASELINES), *(n for n in BASELINES if n in models)]
    means = {metric: {n: results.estimate(n, metric) for n in names} for metric in metrics()}
    shown = [m for m, of in means.items() if any(one.mean is not None for one in of.values())]
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    made, axes = figure(2.5 * columns + 1.2, (0.27 * len(names) + 0.75) * rows, rows, columns)
    for at, axis in enumerate(axes):
        if at >= len(shown):
            axis.set_visible(False)
            continue
        _score_panel(axis, metrics()[shown[at]], means[shown[at]])
        axis.set_yticks(range(len(names)), [literal(n) for n in names] if at % columns == 0 else [])
        axis.invert_yaxis()
    return made


def _score_panel(axis: Axes, metric: Metric, means: Mapping[str, Estimate]) -> None:
    for place, (name, found) in enumerate(means.items()):
        if found.mean is None:
            continue
        colour = DARK if name in BASELINES else BLUE
        if found.low is not None and found.high is not None:
            axis.plot([found.low, found.high], [place] * 2, color=colour, lw=2.5, alpha=0.45)
        axis.plot(found.mean, place, "o", color=colour, ms=5)
    equator = means["equator"].mean if "equator" in means else None
    if equator is not None:
        axis.axvline(equator, color=ORANGE, lw=1, ls="--", zorder=0)
    title(axis, metric.heading + " (lower is better)" * metric.lower_is_better)


def training_curves(results: Results) -> Figure:
    """Loss of every pre-training, and of every decoder, over its epochs."""
    made, axes = figure(9.0, 3.1, 1, 2)
    trainings: dict[str, Mapping[str, Training]] = {
        "Pre-training": results.encoders,
        "Decoders": results.models,
    }
    for axis, (name, trained) in zip(axes, trainings.items(), strict=True):
        curves = {label: found.history for label, found in trained.items() if found.history}
        for (label, history), colour in zip(curves.items(), cycle(CLASS_COLOURS), strict=False):
            points = zip(*((row["epoch"], row["loss"]) for row in history), strict=True)
            axis.plot(*points, color=colour, lw=1.6, label=literal(label))
        axis.set_xlabel("epoch", fontsize=9, color=DARK)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylabel("loss", fontsize=9, color=DARK)
        title(axis, name if curves else f"{name}: none in this run")
        if curves:
            axis.legend(frameon=False, fontsize=8)
    return made


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
        said = (f"CC {plain(correlations[column])}".replace("-", MINUS) for column in columns)
        below = [literal(name), "", *said]
        for axis, shown, text in zip(axes, pictures, below, strict=True):
            axis.imshow(shown.transpose(1, 2, 0), interpolation="bilinear", aspect="auto")
            axis.text(0, -0.03, text, transform=axis.transAxes, va="top", fontsize=7.5, color=DARK)
    for axis, head in zip(grid[0], heads, strict=True):
        axis.set_title(literal(head), fontsize=9, loc="left", color=DARK)
    return made
