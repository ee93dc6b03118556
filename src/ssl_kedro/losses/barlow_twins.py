"""Barlow Twins: redundancy reduction (Zbontar et al. 2021)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ssl_kedro.core.collectives import batch_average, rows_of_all
from ssl_kedro.core.config import WEIGHT, Config, Range
from ssl_kedro.losses.second_moments import squared_products


@dataclass(frozen=True)
class BarlowTwinsConfig(Config):
    """Weights of the loss.

    Args:
        redundancy: lambda, weight of the squared off-diagonal correlations (0.0051).
        scale: factor on the whole loss (0.024).
    """

    redundancy: Annotated[float, WEIGHT] = 0.0051
    scale: Annotated[float, Range(above=0, at_most=1e6)] = 0.024


def barlow_twins_loss(
    z_1: Tensor, z_2: Tensor, config: BarlowTwinsConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scale * [sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2].

    C is the cross-correlation of the two views over the batch: each dimension standardised
    with its mean and biased variance (plus 1e-5, a batch norm without affine part), then
    C = Z_1^T Z_2 / N. Of a batch that processes share, every process gets the loss of the whole.

    Args:
        z_1: embeddings of the first view, (N, D), N >= 2.
        z_2: embeddings of the second view, same shape.
        config: weights.

    Returns:
        The loss, and its two unweighted terms "on_diagonal" and "off_diagonal" (detached).

    Raises:
        ValueError: the shapes differ, or fewer than two samples.
    """
    if z_1.shape != z_2.shape or z_1.ndim != 2:
        raise ValueError(
            f"expected two (N, D) embeddings, found {tuple(z_1.shape)} and {tuple(z_2.shape)}"
        )
    rows = rows_of_all(len(z_1))
    if rows < 2:
        raise ValueError("Barlow Twins needs a batch of at least 2 samples: it correlates them")
    squares, diagonal = squared_products(_standardised(z_1), _standardised(z_2), rows)
    on_diagonal = (1 - diagonal).square().sum()
    # All squares less those of the diagonal: no D x D mask to build.
    off_diagonal = squares - diagonal.square().sum()
    loss = config.scale * (on_diagonal + config.redundancy * off_diagonal)
    return loss, {"on_diagonal": on_diagonal.detach(), "off_diagonal": off_diagonal.detach()}


def _standardised(z: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Each dimension of z (N, D) with mean 0 and variance 1 over the batch."""
    centred = z - batch_average(z.mean(dim=0))
    return centred * torch.rsqrt(batch_average(centred.square().mean(dim=0)) + epsilon)
