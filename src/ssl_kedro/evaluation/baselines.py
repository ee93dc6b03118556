"""What any trained encoder has to beat: raw pixels and an encoder of random weights."""

from __future__ import annotations

import numpy as np
import torch

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.evaluation.config import KnnConfig
from ssl_kedro.evaluation.features import extract_features
from ssl_kedro.evaluation.knn import knn_accuracy
from ssl_kedro.images.image_set import ImageSet


def raw_pixel_knn(
    bank: ImageSet, queries: ImageSet, config: KnnConfig, device: torch.device | str
) -> float:
    """Nearest-neighbour accuracy of the pixels themselves, in [0, 1].

    Images above 32 px are averaged down to 32 px first: neighbours in tens of thousands of
    correlated dimensions are no better, and need gigabytes.
    """
    return _accuracy(_pixels(bank.images), _pixels(queries.images), bank, queries, config, device)


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
    return _accuracy(known.features, asked.features, bank, queries, config, device)


def chance_level(queries: ImageSet) -> float:
    """Accuracy of always naming the most frequent class, in [0, 1]."""
    if queries.labels is None:
        raise ValueError("chance level needs labels")
    return float(np.bincount(queries.labels).max() / len(queries.labels))


def _accuracy(
    known: np.ndarray,
    asked: np.ndarray,
    bank: ImageSet,
    queries: ImageSet,
    config: KnnConfig,
    device: torch.device | str,
) -> float:
    if bank.labels is None or queries.labels is None:
        raise ValueError("nearest-neighbour accuracy needs labels")
    return knn_accuracy(
        known,
        bank.labels,
        asked,
        queries.labels,
        k=config.k,
        normalise=config.normalise,
        device=device,
    )


def _pixels(images: np.ndarray, side: int = 32, block: int = 1024) -> np.ndarray:
    """Pixels in [0, 1] as (N, 3 s s) float32, averaged down to at most ``side`` px."""
    found = np.empty((len(images), 3 * min(side, images.shape[-1]) ** 2), dtype=np.float32)
    for start in range(0, len(images), block):
        batch = torch.from_numpy(np.array(images[start : start + block])).float() / 255
        if batch.shape[-1] > side:
            batch = torch.nn.functional.adaptive_avg_pool2d(batch, side)
        found[start : start + block] = batch.flatten(1).numpy()
    return found
