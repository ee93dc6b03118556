"""Accuracies and costs of a frozen encoder, and what any trained one has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.evaluation.features import BlockUsage, channel_usage, extract_features, gate_record
from ssl_kedro.evaluation.knn import KnnConfig, knn_accuracy
from ssl_kedro.evaluation.linear_probe import (
    ProbeConfig,
    augmented_batches,
    linear_probe_accuracies,
)
from ssl_kedro.images.image_set import ImageSet


@dataclass(frozen=True)
class Accuracies:
    """Top-1 accuracies of one branch in [0, 1]; None where there are no labels, or was not asked.

    Args:
        knn_top1: of the nearest neighbours, as the run has them.
        knn_normalised_top1: of those among L2-normalised features.
        linear_top1: of the linear probe, one a run.
    """

    knn_top1: float | None = None
    knn_normalised_top1: float | None = None
    linear_top1: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Costs:
    """Multiply-accumulates of an image.

    Args:
        dense: of the whole network with every channel.
        own: of this network with every channel; a student may be narrower.
        gated_mean: mean over the evaluation images of what the gates leave; None without gates.
        flop_reduction: 1 - gated_mean / dense.
    """

    dense: int
    own: int
    gated_mean: float | None = None
    flop_reduction: float | None = None


def branch_accuracies(
    encoder: Encoder,
    branch: Branch,
    features: Mapping[str, np.ndarray],
    bank: ImageSet,
    queries: ImageSet,
    knn: KnnConfig,
    probe: ProbeConfig | None,
    views: ViewConfig,
    *,
    seed: int,
    device: torch.device | str,
) -> Accuracies:
    """Linear probe and nearest-neighbour accuracies of one branch.

    Args:
        encoder: frozen.
        branch: "dense" or "gated".
        features: of both parts, from :func:`~ssl_kedro.evaluation.features.branch_arrays`.
        bank: labelled training images.
        queries: labelled evaluation images.
        knn: the nearest-neighbour search; L2-normalised features are searched as well.
        probe: the linear probe; None = there is none.
        views: geometry of the probe's crops, where it augments.
        seed: of the probe.
        device: where to compute.

    Raises:
        ValueError: there are no labels.
    """
    sides = _sides(features[f"{branch}.train"], features[f"{branch}.eval"], bank, queries)
    nearest = {
        normalise: knn_accuracy(*sides, k=knn.k, normalise=normalise, device=device)
        for normalise in {knn.normalise, True}
    }
    linear = None
    if probe is not None:
        linear = probe_accuracies(
            encoder, branch, features, bank, queries, probe, views, seed=seed, device=device
        )
    return Accuracies(nearest[knn.normalise], nearest[True], linear)


def probe_accuracies(
    encoder: Encoder,
    branch: Branch,
    features: Mapping[str, np.ndarray],
    bank: ImageSet,
    queries: ImageSet,
    probe: ProbeConfig,
    views: ViewConfig,
    *,
    seed: int,
    device: torch.device | str,
) -> tuple[float, ...]:
    """Linear accuracies of one branch, one a run of the probe; see :func:`branch_accuracies`."""
    sides = _sides(features[f"{branch}.train"], features[f"{branch}.eval"], bank, queries)
    batches = None
    if probe.features == "augmented":
        batches = augmented_batches(
            encoder,
            bank.images,
            sides[1],
            branch,
            probe,
            views,
            seed=derived_seed(seed, "probe", branch),
            device=device,
        )
    found = linear_probe_accuracies(
        *sides, probe, seed=seed, batches=batches, device=device, label=f"linear, {branch}"
    )
    return tuple(found)


def branch_costs(
    encoder: Encoder, features: Mapping[str, np.ndarray], image_size: int, whole: int
) -> tuple[Costs, tuple[BlockUsage, ...]]:
    """Cost of an encoder, and how its gates used the channels of the evaluation images.

    Args:
        encoder: dense, gated or both.
        features: what the gates did, from :func:`~ssl_kedro.evaluation.features.branch_arrays`.
        image_size: side in px.
        whole: MACs of the whole dense network.
    """
    own = encoder.cost(image_size).dense
    if "gated" not in encoder.branches:
        return Costs(whole, own), ()
    record = gate_record(features, "eval")
    mean = float(record.macs.mean())
    return Costs(whole, own, mean, 1 - mean / whole), tuple(channel_usage(record))


def raw_pixel_knn(
    bank: ImageSet, queries: ImageSet, config: KnnConfig, device: torch.device | str
) -> float:
    """Nearest-neighbour accuracy of the pixels themselves, in [0, 1].

    Images above 32 px are averaged down to 32 px first: neighbours in tens of thousands of
    correlated dimensions are no better, and need gigabytes.
    """
    sides = _sides(_pixels(bank.images), _pixels(queries.images), bank, queries)
    return knn_accuracy(*sides, k=config.k, normalise=config.normalise, device=device)


def encoder_knn(
    encoder: Encoder,
    bank: ImageSet,
    queries: ImageSet,
    config: KnnConfig,
    device: torch.device | str,
) -> float:
    """Nearest-neighbour accuracy of an encoder's dense features, in [0, 1]."""
    known, asked = (
        extract_features(encoder, images.images, "dense", device=device, label="random encoder")
        for images in (bank, queries)
    )
    sides = _sides(known.features, asked.features, bank, queries)
    return knn_accuracy(*sides, k=config.k, normalise=config.normalise, device=device)


def chance_level(queries: ImageSet) -> float:
    """Accuracy of always naming the most frequent class, in [0, 1]."""
    if queries.labels is None:
        raise ValueError("chance level needs labels")
    return float(np.bincount(queries.labels).max() / len(queries.labels))


def _sides(
    known: np.ndarray, asked: np.ndarray, bank: ImageSet, queries: ImageSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features and labels of the training part, then of the evaluation part."""
    if bank.labels is None or queries.labels is None:
        raise ValueError("accuracies need labels")
    return known, bank.labels, asked, queries.labels


def _pixels(images: np.ndarray, side: int = 32, block: int = 1024) -> np.ndarray:
    """Pixels in [0, 1] as (N, 3 s s) float32, averaged down to at most ``side`` px."""
    found = np.empty((len(images), 3 * min(side, images.shape[-1]) ** 2), dtype=np.float32)
    for start in range(0, len(images), block):
        batch = torch.from_numpy(np.array(images[start : start + block])).float() / 255
        if batch.shape[-1] > side:
            batch = torch.nn.functional.adaptive_avg_pool2d(batch, side)
        found[start : start + block] = batch.flatten(1).numpy()
    return found
