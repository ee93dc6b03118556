"""Compaction: norms folded, channels that were never open removed, the rest ordered.

Channels are what gates decide: in transformers heads and hidden units.

The static variant is a plain narrow network that meets a budget without any gate.

``Always off`` and ``always on`` are observations on a data set, not properties of the
network: the compact network forces those gates, and :mod:`ssl_kedro.inference.forcing` counts
on other images how often that changes a mask.
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.folding import FoldedEncoder, FoldedUnit, Layer
from ssl_kedro.encoders.vit_folding import FoldedViT
from ssl_kedro.gating.cost import layer_name
from ssl_kedro.inference.network import CompactNetwork, first_convolution
from ssl_kedro.inference.plan import BlockPlan, CompactPlan, LayerPlan
from ssl_kedro.inference.planned import PlannedNetwork, filled
from ssl_kedro.inference.vit import vit_network


class BudgetError(ValueError):
    """A budget below what the channels that are always on cost."""


@dataclass(frozen=True)
class GateUsage:
    """How often each gate was open on a named data set.

    Args:
        source: name of the data set, for reports.
        images: how many there were.
        block_names: the masks in order, as the encoder's cost names them.
        open_counts: of each, (C_l,) integers: on how many images each channel was open.
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


def compact(encoder: Encoder, usage: GateUsage) -> PlannedNetwork:
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
) -> tuple[PlannedNetwork, float]:
    """Channels by how often they were open, as many as the budget pays for, computed always.

    One threshold on the opening frequency holds for the whole network, the lowest that the
    budget allows; channels that were always open are always kept. What depended on the image
    no longer does: accuracy has to be measured again.

    Args:
        encoder: with a gated branch, whose batch norms are taken; left as it was.
        usage: of this encoder's gates, e.g. on its training images.
        budget: largest share of the dense MACs, in (0, 1].
        image_size: side in px at which MACs are counted; None = that of the training images.

    Returns:
        The network, and the threshold: channels that were open on at least this share of the
        images are kept.

    Raises:
        BudgetError: not even the channels that are always on fit into the budget.
        ValueError: the budget is no share, the encoder has no gated branch, or the usage is of
            other blocks.
    """
    check_usage(encoder, usage)
    if not 0 < budget <= 1:
        raise ValueError(f"budget = {budget}: expected a share of the dense MACs in (0, 1]")
    counts = np.unique([usage.images, *np.concatenate(usage.open_counts)])
    ratios = {int(least): _ratio(encoder, usage, least, image_size) for least in counts if least}
    fitting = [least for least, ratio in ratios.items() if ratio <= budget]
    if not fitting:
        raise BudgetError(
            f"budget = {budget}: the channels that are always on cost {ratios[usage.images]:.3f} "
            "of the dense network already; choose a larger budget, or train with a smaller one"
        )
    kept = [np.flatnonzero(found >= fitting[0]).tolist() for found in usage.open_counts]
    network = build(encoder.folded("gated"), [(channels, len(channels)) for channels in kept])
    return network, fitting[0] / usage.images


def dense_network(encoder: Encoder, branch: Branch = "dense") -> PlannedNetwork:
    """A branch with every channel computed and batch norms folded: what others must beat.

    Raises:
        ValueError: the encoder has no such branch.
    """
    source = encoder.folded(branch)
    return build(source, [(list(range(n)), n) for unit in source.units for n in unit.channels])


def build(source: FoldedEncoder | FoldedViT, kept: list[tuple[list[int], int]]) -> PlannedNetwork:
    """A compact network from a branch and, for each mask, kept channels and how many are on."""
    return vit_network(source, kept) if isinstance(source, FoldedViT) else _residual(source, kept)


@torch.no_grad()
def _residual(source: FoldedEncoder, kept: list[tuple[list[int], int]]) -> CompactNetwork:
    """One of residual blocks."""
    remaining = iter(kept)
    blocks = tuple(
        _block_plan(unit, list(islice(remaining, len(unit.gates)))) for unit in source.units
    )
    tensors = {"pixel_mean": source.pixel_mean, "pixel_std": source.pixel_std}
    layers = {"stem": source.first}
    for index, (unit, block) in enumerate(zip(source.units, blocks, strict=True)):
        place, first = f"blocks.{index}", first_convolution(block)
        cut = [
            Layer(
                weight[_channels(block, number + 1)][:, _channels(block, number)],
                bias[_channels(block, number + 1)],
            )
            for number, (weight, bias) in enumerate(unit.layers)
        ]
        layers |= {f"{place}.conv{n + 1}": cut[n] for n in range(first, len(cut))}
        if first:
            tensors[f"{place}.constant"] = cut[first - 1].bias
        if unit.shortcut is not None:
            layers[f"{place}.downsample"] = unit.shortcut
        for name, gate, decided in zip(("gate", "gate2"), unit.gates, block.layers, strict=False):
            if gate is not None and decided.dependent:
                layers[f"{place}.{name}.squeeze"] = gate.squeeze
                rows = gate.expand[list(decided.kept[decided.always_on :])]
                tensors[f"{place}.{name}.expand.weight"] = rows
    with torch.device("meta"):
        width = len(source.first.bias)
        network = CompactNetwork(CompactPlan(source.stem, width, source.image_size, blocks))
    return filled(network, layers, tensors)


def _channels(block: BlockPlan, number: int) -> slice | list[int]:
    """Of what the number-th convolution (from 0) reads, those that are left."""
    inner = 0 < number <= len(block.layers)
    return list(block.layers[number - 1].kept) if inner else slice(None)


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
    return cost.at([int((counts >= least).sum()) for counts in usage.open_counts]) / cost.dense


def _block_plan(unit: FoldedUnit, kept: list[tuple[list[int], int]]) -> BlockPlan:
    if not all(channels for channels, _ in kept):
        # Behind a layer without channels stands a constant: nothing reads the layers before it.
        last = max(index for index, (channels, _) in enumerate(kept) if not channels)
        kept = [([], 0)] * last + kept[last:]
    named = zip(unit.gates, unit.channels, kept, strict=True)
    layers = []
    for index, (gate, channels, (left, always_on)) in enumerate(named):
        decided = gate is not None and len(left) > always_on
        layers.append(
            LayerPlan(
                name=layer_name(unit.name, index, len(kept)),
                channels=channels,
                kept=tuple(left),
                always_on=always_on,
                hidden=len(gate.squeeze.bias) if gate is not None and decided else 0,
            )
        )
    return BlockPlan(
        in_channels=unit.layers[0].weight.shape[1],
        out_channels=len(unit.layers[-1].bias),
        stride=unit.stride,
        downsample=unit.shortcut is not None,
        layers=tuple(layers),
    )
