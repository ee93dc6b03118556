"""How often the gates open channels, block by block (Fig. 5.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.variants import (
    budget_percent,
    budgets_of,
    in_table_order,
    label_of,
    name_of,
)
from ssl_kedro.reporting.html import Picture, Section
from ssl_kedro.reporting.style import BLUE, ORANGE, PALE, figure, title

# More rows of panels than these are drawn flatter, more panels of one budget on several rows.
_TALL_ROWS = 4
_PANELS_A_ROW = 3


def channels_section(models: Evaluations, *, seeds: bool = False) -> list[Section]:
    """Channel usage of every model with gates; nothing without any.

    Args:
        models: evaluation of every model.
        seeds: whether they are the first of several seeds.
    """
    if not any(model.channel_usage for model in models.values()):
        return []
    sentence = (
        "Per residual block, the share of channels that the gates open for every evaluation "
        "image, for some, and for none (thesis, Fig. 5.1). “Always off” is an observation on "
        "these images." + " Shown is the first seed." * seeds
    )
    picture = Picture(
        channel_usage_figure(models),
        "Stacked bars of channel usage for each residual block and model: always on, depends on "
        "the image, always off",
    )
    return [Section("Channels", (sentence,), pictures=[picture])]


def channel_usage_figure(models: Evaluations) -> Figure:
    """Share of channels always on, input-dependent and always off, per block (Fig. 5.1).

    One row a model with its budgets side by side, dual gating first; up to three panels, or
    those of a single budget, fill the rows one after another.
    """
    gated = [key for key, model in models.items() if model.channel_usage]
    names = sorted(in_table_order(gated), key=lambda name: name != "dual")
    ordered = sorted(gated, key=lambda key: (names.index(name_of(key)), budget_percent(key)))
    budgets = len(budgets_of(gated))
    columns = budgets if budgets > 1 and len(gated) > 3 else min(len(gated), _PANELS_A_ROW)
    rows = max(1, -(-len(gated) // max(1, columns)))
    height = 2.6 if rows <= _TALL_ROWS else 1.8
    made, axes = figure(max(6, 3.7 * columns), height * rows + 0.5, rows, max(1, columns))
    for axis in axes[len(gated) :]:
        axis.set_visible(False)
    for index, (axis, key) in enumerate(zip(axes, ordered, strict=False)):
        _usage_panel(axis, models[key].channel_usage, label_of(key))
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


def _usage_panel(axis: Axes, usage: Sequence[BlockUsage], name: str) -> None:
    position = np.arange(len(usage))
    bottom = np.zeros(len(usage))
    for part, _, colour in _USAGE:
        share = np.array([100 * getattr(block, part) / block.channels for block in usage])
        axis.bar(position, share, 0.84, bottom=bottom, color=colour, edgecolor="white", lw=0.6)
        bottom += share
    channels = sum(block.channels for block in usage)
    off = 100 * sum(block.always_off for block in usage) / channels
    axis.set_xticks(position, [block.block.removeprefix("layer") for block in usage])
    axis.set_ylim(0, 100)
    title(axis, f"{name}: {off:.0f} % always off")
