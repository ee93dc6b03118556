"""The static variant: a plain narrow network that meets a budget without any gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.inference.compact import GateUsage, build, check_usage
from ssl_kedro.inference.network import CompactNetwork


class BudgetError(ValueError):
    """A budget below what the channels that are always on cost."""


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


def _ratio(encoder: Encoder, usage: GateUsage, least: int, image_size: int | None) -> float:
    """MACs over the dense ones when channels that were open ``least`` times are kept."""
    cost = encoder.cost(image_size)
    macs = cost.stem
    for block, counts in zip(cost.blocks, usage.open_counts, strict=True):
        macs += block.shortcut + int((counts >= least).sum()) * block.macs_per_channel
    return macs / cost.dense
