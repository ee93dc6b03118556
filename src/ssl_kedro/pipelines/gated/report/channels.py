"""Channels of each block: how often gates open them (Fig. 5.1), and what a budget keeps."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ssl_kedro.encoders.base import Encoder, EncoderShape
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.pipelines.gated.records import Evaluations, Usages
from ssl_kedro.pipelines.gated.variants import (
    budget_percent,
    budgets_of,
    in_table_order,
    label_of,
    name_of,
)
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.pictures import Picture, tip
from ssl_kedro.reporting.style import BLUE, ORANGE, PALE, figure, title

# More rows of panels than these are drawn flatter, more panels of one budget on several rows.
_TALL_ROWS = 4
_PANELS_A_ROW = 3
# A number of BlockUsage, its name in the legend, and its colour.
_Share = tuple[str, str, str]


def kept_channels(**encoders: Encoder) -> Usages:
    """Channels that networks which are cut from others keep in each block of a ResNet.

    Args:
        encoders: by the model's name in the metrics.

    Returns:
        As what gates do: what is kept is always on, what was cut away always off.
    """
    return {key: tuple(_kept(encoder.config)) for key, encoder in encoders.items()}  # type: ignore[arg-type]


def _kept(config: EncoderShape) -> Iterator[BlockUsage]:
    if not isinstance(config, EncoderConfig):
        return
    number = 0
    for stage, blocks in enumerate(config.stages):
        for block in range(blocks):
            whole = config.width << stage
            for mask, kept in enumerate(config.channels_inside(number, stage)):
                name = f"layer{stage + 1}.{block}" + f".{mask + 1}" * (config.masks_a_block > 1)
                yield BlockUsage(name, whole, kept, whole - kept, 0, kept / whole)
            number += 1


def channels_section(
    models: Evaluations, kept: Usages | None = None, *, seeds: bool = False
) -> list[Section]:
    """Channel usage of every model with gates, and of those cut for a budget; or nothing.

    Args:
        models: evaluation of every model.
        kept: from :func:`kept_channels`.
        seeds: whether they are the first of several seeds.
    """
    return [*_kept_section(kept or {}), *_gated_section(models, seeds=seeds)]


def _kept_section(kept: Usages) -> list[Section]:
    if not (shown := {key: usage for key, usage in kept.items() if usage}):
        return []
    said = (
        "The encoder has one set of weights. A budget keeps some of the channels in each block and "
        "cuts away the rest: a share of the block's width, first to last block from left to right. "
        "It keeps the same channels for every image."
    )
    picture = Picture(
        usage_figure(shown, _CUT, "cut away"),
        "Stacked bars for each block and budget: channels that are kept, and cut away",
    )
    return [Section("What a budget keeps", [said], pictures=[picture])]


def _gated_section(models: Evaluations, *, seeds: bool) -> list[Section]:
    if not any(model.channel_usage for model in models.values()):
        return []
    sentence = (
        "Per mask, the share of channels that the gates open for every evaluation image, for "
        "some, and for none (thesis, Fig. 5.1). In transformers these are heads and hidden units. "
        "“Always off” is an observation on these images." + " Shown is the first seed." * seeds
    )
    picture = Picture(
        channel_usage_figure(models),
        "Stacked bars of channel usage for each mask and model: always on, depends on the image, "
        "always off",
    )
    return [Section("Channels", (sentence,), pictures=[picture])]


def channel_usage_figure(models: Evaluations) -> Figure:
    """Share of channels always on, input-dependent and always off, per block (Fig. 5.1)."""
    usages = {key: model.channel_usage for key, model in models.items() if model.channel_usage}
    return usage_figure(usages, _USAGE, "always off")


def usage_figure(usages: Usages, parts: Sequence[_Share], closed: str) -> Figure:
    """Stacked bars of what becomes of the channels of each block.

    One row a model with its budgets side by side, dual gating first; up to three panels, or
    those of a single budget, fill the rows one after another.

    Args:
        usages: by model.
        parts: that are shown.
        closed: what titles call channels that are never open.
    """
    gated = list(usages)
    names = sorted(in_table_order(gated), key=lambda name: name != "dual")
    ordered = sorted(gated, key=lambda key: (names.index(name_of(key)), budget_percent(key)))
    budgets = len(budgets_of(gated))
    abreast = budgets > 1 and len(names) > 1 and len(gated) > _PANELS_A_ROW
    columns = budgets if abreast else min(len(gated), _PANELS_A_ROW)
    rows = max(1, -(-len(gated) // max(1, columns)))
    height = 2.6 if rows <= _TALL_ROWS else 1.8
    made, axes = figure(max(6, 3.7 * columns), height * rows + 0.5, rows, max(1, columns))
    for axis in axes[len(gated) :]:
        axis.set_visible(False)
    for index, (axis, key) in enumerate(zip(axes, ordered, strict=False)):
        _usage_panel(axis, usages[key], parts, f"{label_of(key)}: {{:.0f}} % {closed}")
        if index % columns == 0:
            axis.set_ylabel("channels (%)")
        if index >= len(gated) - columns:
            attends = any(".attn" in block.block for block in usages[key])
            axis.set_xlabel("block, unit" if attends else "residual block (stage.block)")
    handles = [Patch(color=colour, label=label) for _, label, colour in parts]
    made.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return made


_USAGE: tuple[_Share, ...] = (
    ("always_on", "always on", BLUE),
    ("dependent", "depends on the image", ORANGE),
    ("always_off", "always off", PALE),
)
_CUT: tuple[_Share, ...] = (("always_on", "kept", BLUE), ("always_off", "cut away", PALE))


# Masks whose names have room beside each other.
_MOST_UPRIGHT = 8


def _usage_panel(
    axis: Axes, usage: Sequence[BlockUsage], parts: Sequence[_Share], heading: str
) -> None:
    position = np.arange(len(usage))
    bottom = np.zeros(len(usage))
    for part, words, colour in parts:
        share = np.array([100 * getattr(block, part) / block.channels for block in usage])
        bars = axis.bar(position, share, 0.84, bottom=bottom, color=colour, ec="white", lw=0.6)
        for bar, block, of_block in zip(bars, usage, share, strict=True):
            tip(bar, f"{block.block}: {of_block:.0f} % of {block.channels} channels {words}")
        bottom += share
    channels = sum(block.channels for block in usage)
    off = 100 * sum(block.always_off for block in usage) / channels
    names = [block.block.removeprefix("layer").removeprefix("blocks.") for block in usage]
    axis.set_xticks(position, names)
    if len(names) > _MOST_UPRIGHT:
        axis.tick_params(axis="x", rotation=90, labelsize=6)
    axis.set_ylim(0, 100)
    title(axis, heading.format(off))
