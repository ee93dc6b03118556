"""Compaction: batch norms folded, channels that were never open removed, the rest ordered.

``Always off`` and ``always on`` are observations on a data set, not properties of the
network: the compact network forces those gates, and :mod:`ssl_kedro.inference.forcing` counts
on other images how often that changes a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.gated_resnet import GatedBlock, GatedResNet18
from ssl_kedro.inference.network import CompactBlock, CompactNetwork
from ssl_kedro.inference.plan import BlockPlan, CompactPlan


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


def compact(encoder: GatedResNet18, usage: GateUsage) -> CompactNetwork:
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
    return build(encoder, "gated", kept)


def dense_network(encoder: GatedResNet18, branch: Branch = "dense") -> CompactNetwork:
    """A branch with every channel computed and batch norms folded: what others must beat.

    Raises:
        ValueError: the encoder has no such branch.
    """
    every = [
        (list(range(block.conv1.out_channels)), block.conv1.out_channels)
        for _, block in encoder.residual_blocks()
    ]
    return build(encoder, branch, every)


@torch.no_grad()
def build(
    encoder: GatedResNet18, branch: Branch, kept: list[tuple[list[int], int]]
) -> CompactNetwork:
    """A compact network from a branch and, for each block, kept channels and how many are on."""
    if branch not in encoder.branches:
        raise ValueError(f"this encoder has no {branch!r} branch, only {encoder.branches}")
    blocks = encoder.residual_blocks()
    plans = tuple(
        _block_plan(name, block, channels, always_on)
        for (name, block), (channels, always_on) in zip(blocks, kept, strict=True)
    )
    config = encoder.config
    plan = CompactPlan(config.stem, config.width, encoder.image_size, plans)
    # Without initial weights, which would be drawn from the global generator.
    with torch.device("meta"):
        network = CompactNetwork(plan)
    network.to_empty(device="cpu")
    stem, norm = cast(nn.Conv2d, encoder.stem[0]), encoder.stem[1]
    _fill(network.stem, *_folded(stem.weight, norm))
    network.pixel_mean.copy_(encoder.pixel_mean)
    network.pixel_std.copy_(encoder.pixel_std)
    for target, (_, source) in zip(network.compact_blocks(), blocks, strict=True):
        _fill_block(target, source, branch)
    return network


def check_usage(encoder: GatedResNet18, usage: GateUsage) -> None:
    """Raise ValueError if the usage is of other blocks or channels than the encoder's."""
    expected = [(name, block.conv1.out_channels) for name, block in encoder.residual_blocks()]
    counts = zip(usage.block_names, usage.open_counts, strict=True)
    found = [(name, len(count)) for name, count in counts]
    if found != expected:
        raise ValueError(
            f"the usage is of blocks and channels {found}, the encoder has {expected}; take the "
            "usage of this encoder"
        )


def _block_plan(name: str, block: GatedBlock, kept: list[int], always_on: int) -> BlockPlan:
    hidden = 0
    if len(kept) > always_on and block.gate is not None:
        hidden = block.gate.squeeze.out_features
    return BlockPlan(
        name=name,
        in_channels=block.conv1.in_channels,
        out_channels=block.conv2.out_channels,
        stride=block.conv1.stride[0],
        downsample=block.downsample is not None,
        channels=block.conv1.out_channels,
        kept=tuple(kept),
        always_on=always_on,
        hidden=hidden,
    )


def _fill_block(target: CompactBlock, source: GatedBlock, branch: Branch) -> None:
    kept = torch.tensor(target.plan.kept, dtype=torch.int64)
    first, first_bias = _folded(source.conv1.weight, source.bn1[branch])
    second, second_bias = _folded(source.conv2.weight, source.bn2[branch])
    if target.conv1 is not None and target.conv2 is not None:
        _fill(target.conv1, first[kept], first_bias[kept])
        _fill(target.conv2, second[:, kept], second_bias)
    elif target.constant is not None:
        target.constant.copy_(second_bias)
    if target.downsample is not None and source.downsample is not None:
        conv, norm = cast(nn.Conv2d, source.downsample[0]), source.downsample[1]
        _fill(target.downsample, *_folded(conv.weight, norm))
    if target.gate is not None and source.gate is not None:
        _fill(target.gate.squeeze, *_folded(source.gate.squeeze.weight, source.gate.norm))
        target.gate.expand.weight.copy_(source.gate.expand.weight[kept[target.plan.always_on :]])


def _fill(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    if layer.bias is not None:
        layer.bias.copy_(bias)


def _folded(weight: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (C_out, ...) and bias that do what weight and then norm in evaluation mode do.

    In float64, so that the fold itself adds no error.
    """
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        raise TypeError(f"expected a batch norm to fold, found {type(norm).__name__}")
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError(
            "a batch norm without running statistics cannot be folded; train the encoder with "
            "track_running_stats"
        )
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    shape = (-1, *(1 for _ in weight.shape[1:]))
    folded = weight.double() * scale.view(shape)
    return folded.float(), (norm.bias.double() - mean.double() * scale).float()
