"""Encoders with batch norms that are not the identity, and usages of their gates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from oracles.norms import with_used_norms
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.gated_resnet import BlockKind, EncoderConfig, GatedResNet18, Stem
from ssl_kedro.evaluation.features import extract_features
from ssl_kedro.inference.compact import GateUsage

# Which masks of bottlenecks have no channels: none; a block's first; its second; both; one's first
# and the next one's second.
EMPTY = [(), (0,), (5,), (2, 3), (6, 9)]


def random_encoder(
    stem: Stem = "cifar",
    width: int = 8,
    size: int = 16,
    inner: tuple[int, ...] | None = None,
    seed: int = 0,
    gate_input_dependent: bool = True,
    block: BlockKind = "basic",
) -> GatedResNet18:
    torch.manual_seed(seed)
    config = EncoderConfig(stem=stem, width=width, inner_channels=inner, block=block)
    encoder = GatedResNet18(
        config,
        image_size=size,
        pixel_mean=(0.4, 0.5, 0.6),
        pixel_std=(0.2, 0.25, 0.3),
        gate_input_dependent=gate_input_dependent,
    )
    return with_used_norms(encoder)


def random_usage(encoder: Encoder, seed: int = 0) -> GateUsage:
    """About a third of the channels never open, a third always, a third on some of 10 images."""
    generator = torch.Generator().manual_seed(seed)
    names, counts = [], []
    for block in encoder.cost().blocks:
        kind = torch.randint(0, 3, (block.channels,), generator=generator)
        names.append(block.name)
        counts.append(torch.tensor([0, 10, 4])[kind].numpy())
    return GateUsage("made up", 10, tuple(names), tuple(counts))


def agreeing_masks(usage: GateUsage, count: int, seed: int = 0) -> list[Tensor]:
    """Random masks (count, C_l) a block that agree with what was observed."""
    generator = torch.Generator().manual_seed(seed)
    masks = []
    for counts in usage.open_counts:
        mask = (torch.rand(count, len(counts), generator=generator) < 0.5).float()
        mask[:, torch.from_numpy(counts == 0)] = 0
        mask[:, torch.from_numpy(counts == usage.images)] = 1
        masks.append(mask)
    return masks


def gate_usage(
    encoder: Encoder, images: np.ndarray, source: str, batch_size: int = 128
) -> GateUsage:
    """Usage of the encoder's gates on images, as it is counted with their features."""
    record = extract_features(encoder, images, "gated", batch_size=batch_size).gates
    assert record is not None
    return GateUsage(source, len(images), record.block_names, record.open_counts)


def without(usage: GateUsage, places: tuple[int, ...]) -> GateUsage:
    """The usage with some masks never open."""
    counts = [np.zeros_like(c) if i in places else c for i, c in enumerate(usage.open_counts)]
    return GateUsage(usage.source, usage.images, usage.block_names, tuple(counts))
