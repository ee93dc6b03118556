"""Compaction: batch norms folded, channels that were never open removed, the rest ordered.

The static variant is a plain narrow network that meets a budget without any gate.

``Always off`` and ``always on`` are observations on a data set, not properties of the
network: the compact network forces those gates, and :mod:`ssl_kedro.inference.forcing` counts
on other images how often that changes a mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.folding import FoldedEncoder, FoldedUnit, Layer
from ssl_kedro.inference.network import CompactBlock, CompactNetwork
from ssl_kedro.inference.plan import BlockPlan, CompactPlan


class BudgetError(ValueError):
    """A budget below what the channels that are always on cost."""


@dataclass(frozen=True)
class GateUsage:
    """How often each gate was open on a named data set.

    Args:
        source: name of the data set, for reports.
        images: how many there were.
        block_names: the residual blocks in order.
        open_counts: per block, (C_l,) integers: on how many images each channel was open.
    """

    source: str
    images: int
    block_names: tuple[str, ...]
    open_counts: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images = {self.images}: expected usage of at least one image")
        for name, counts in zip(self.block_names, self.open_counts, strict=True):
            if counts.min(initial=0) < 0 or counts.max(initial=0) > self.images:
                raise ValueError(
                    f"block {name}: expected each channel open on 0 to {self.images} images, found "
                    f"{counts.min()} to {counts.max()}; were the counts taken on other images?"
                )


@dataclass(frozen=True)
class StaticChoice:
    """What a static network keeps.

    Args:
        threshold: channels that were open on at least this share of the images are kept.
        ratio: MACs over those of the dense network, stem and shortcuts included.
        kept: inner channels of each block.
    """

    threshold: float
    ratio: float
    kept: tuple[int, ...]


def compact(encoder: Encoder, usage: GateUsage) -> CompactNetwork:
    """The gated branch with gates forced as they were observed.

    Channels that were never open are removed, channels that were always open need no gate, and
    logits are computed for the others only. With a mask that agrees with the observation the
    features are those of the masked encoder up to rounding.

    Args:
        encoder: with a gated branch; left as it was.
        usage: of this encoder's gates, e.g. on its training images.

    Raises:
        ValueError: the encoder has no gated branch, or the usage is of other blocks.
    """
    check_usage(encoder, usage)
    kept: list[tuple[list[int], int]] = []
    for counts in usage.open_counts:
        on = np.flatnonzero(counts == usage.images).tolist()
        dependent = np.flatnonzero((counts > 0) & (counts < usage.images)).tolist()
        kept.append((on + dependent, len(on)))
    return build(encoder.folded("gated"), kept)


def static_network(
    encoder: Encoder, usage: GateUsage, budget: float, image_size: int | None = None
) -> tuple[CompactNetwork, StaticChoice]:
    """Channels by how often they were open, as many as the budget pays for, computed always.

    One threshold on the opening frequency holds for the whole network, the lowest that the
    budget allows; channels that were always open are always kept. What depended on the image
    no longer does: accuracy has to be measured again.

    Args:
        encoder: with a gated branch, whose batch norms are taken; left as it was.
        usage: of this encoder's gates, e.g. on its training images.
        budget: largest share of the dense MACs, in (0, 1].
        image_size: side in px at which MACs are counted; None = that of the training images.

    Raises:
        BudgetError: not even the channels that are always on fit into the budget.
        ValueError: the budget is no share, the encoder has no gated branch, or the usage is of
            other blocks.
    """
    check_usage(encoder, usage)
    if not 0 < budget <= 1:
        raise ValueError(f"budget = {budget}: expected a share of the dense MACs in (0, 1]")
    thresholds = np.unique([usage.images, *np.concatenate(usage.open_counts)])
    found = [
        (int(count), ratio)
        for count in thresholds[thresholds > 0]
        if (ratio := _ratio(encoder, usage, int(count), image_size)) <= budget
    ]
    if not found:
        smallest = _ratio(encoder, usage, usage.images, image_size)
        raise BudgetError(
            f"budget = {budget}: the channels that are always on cost {smallest:.3f} of the dense "
            "network already; choose a larger budget, or train with a smaller one"
        )
    count, ratio = found[0]
    kept = [np.flatnonzero(counts >= count).tolist() for counts in usage.open_counts]
    network = build(encoder.folded("gated"), [(channels, len(channels)) for channels in kept])
    sizes = tuple(len(channels) for channels in kept)
    return network, StaticChoice(count / usage.images, ratio, sizes)


def dense_network(encoder: Encoder, branch: Branch = "dense") -> CompactNetwork:
    """A branch with every channel computed and batch norms folded: what others must beat.

    Raises:
        ValueError: the encoder has no such branch.
    """
    source = encoder.folded(branch)
    return build(source, [(list(range(unit.channels)), unit.channels) for unit in source.units])


@torch.no_grad()
def build(source: FoldedEncoder, kept: list[tuple[list[int], int]]) -> CompactNetwork:
    """A compact network from a branch and, for each unit, kept channels and how many are on."""
    plans = tuple(
        _block_plan(unit, channels, always_on)
        for unit, (channels, always_on) in zip(source.units, kept, strict=True)
    )
    plan = CompactPlan(source.stem, len(source.first.bias), source.image_size, plans)
    # Without initial weights, which would be drawn from the global generator.
    with torch.device("meta"):
        network = CompactNetwork(plan)
    network.to_empty(device="cpu")
    _fill(network.stem, source.first)
    network.pixel_mean.copy_(source.pixel_mean)
    network.pixel_std.copy_(source.pixel_std)
    for target, unit in zip(network.compact_blocks(), source.units, strict=True):
        _fill_block(target, unit)
    return network


def check_usage(encoder: Encoder, usage: GateUsage) -> None:
    """Raise ValueError if the usage is of other blocks or channels than the encoder's."""
    expected = [(block.name, block.channels) for block in encoder.cost().blocks]
    counts = zip(usage.block_names, usage.open_counts, strict=True)
    found = [(name, len(count)) for name, count in counts]
    if found != expected:
        raise ValueError(
            f"the usage is of blocks and channels {found}, the encoder has {expected}; take the "
            "usage of this encoder"
        )


def _ratio(encoder: Encoder, usage: GateUsage, least: int, image_size: int | None) -> float:
    """MACs over the dense ones when channels that were open ``least`` times are kept."""
    cost = encoder.cost(image_size)
    macs = cost.stem
    for block, counts in zip(cost.blocks, usage.open_counts, strict=True):
        macs += block.shortcut + int((counts >= least).sum()) * block.macs_per_channel
    return macs / cost.dense


def _block_plan(unit: FoldedUnit, kept: list[int], always_on: int) -> BlockPlan:
    hidden = 0
    if len(kept) > always_on and unit.gate is not None:
        hidden = len(unit.gate.squeeze.bias)
    return BlockPlan(
        name=unit.name,
        in_channels=unit.first.weight.shape[1],
        out_channels=len(unit.second.bias),
        stride=unit.stride,
        downsample=unit.shortcut is not None,
        channels=unit.channels,
        kept=tuple(kept),
        always_on=always_on,
        hidden=hidden,
    )


def _fill_block(target: CompactBlock, source: FoldedUnit) -> None:
    kept = torch.tensor(target.plan.kept, dtype=torch.int64)
    if target.conv1 is not None and target.conv2 is not None:
        _fill(target.conv1, Layer(source.first.weight[kept], source.first.bias[kept]))
        _fill(target.conv2, Layer(source.second.weight[:, kept], source.second.bias))
    elif target.constant is not None:
        target.constant.copy_(source.second.bias)
    if target.downsample is not None and source.shortcut is not None:
        _fill(target.downsample, source.shortcut)
    if target.gate is not None and source.gate is not None:
        _fill(target.gate.squeeze, source.gate.squeeze)
        target.gate.expand.weight.copy_(source.gate.expand[kept[target.plan.always_on :]])


def _fill(target: nn.Conv2d | nn.Linear, source: Layer) -> None:
    target.weight.copy_(source.weight)
    if target.bias is not None:
        target.bias.copy_(source.bias)
