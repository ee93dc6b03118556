"""Probe batches of augmented images: the authors' way of linear evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews
from ssl_kedro.core.seeding import torch_generator
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.evaluation.linear_probe import ProbeBatches, ProbeConfig


def augmented_batches(
    encoder: Encoder,
    images: np.ndarray,
    labels: np.ndarray,
    branch: Branch,
    config: ProbeConfig,
    crops: ViewConfig,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> ProbeBatches:
    """Features of a fresh crop and flip of every image each epoch.

    The runs of the probe share the views and their order, so that an epoch costs one pass
    through the encoder; they differ in their initial weights.

    Args:
        encoder: frozen, put in evaluation mode.
        images: uint8 (N, 3, H, W).
        labels: (N,) int.
        branch: "dense" or "gated".
        config: the probe's recipe.
        crops: geometry of the views; its colour changes are switched off.
        seed: of order and views.
        device: where to compute.
    """
    encoder = encoder.to(device).eval()
    views = RandomViews(
        ViewConfig(
            crop_scale=crops.crop_scale,
            crop_ratio=crops.crop_ratio,
            size=crops.size,
            flip=crops.flip,
            jitter=0,
            grey=0,
            solarize=0,
        )
    )
    targets = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(device)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(images), generator=torch_generator(seed, "probe order", epoch))
        noise = torch_generator(seed, "probe views", epoch, device=device)
        for indices in torch.split(order, config.batch_size):
            batch = torch.from_numpy(np.array(images[indices.numpy()])).to(device)
            features = encoder(views(batch, noise), branch).features
            yield features[None], targets[indices.to(device)][None]

    return batches
