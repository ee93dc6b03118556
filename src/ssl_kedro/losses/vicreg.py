"""VICReg: variance, invariance, covariance (Bardes et al. 2022; thesis eq. 2.5 and 6.1)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ssl_kedro.core.collectives import batch_average, batch_variance, loss_average, rows_of_all
from ssl_kedro.core.config import WEIGHT, Config
from ssl_kedro.losses.second_moments import squared_products


@dataclass(frozen=True)
class VICRegConfig(Config):
    """Weights of the three terms.

    Args:
        invariance: weight of the squared difference between the views (25).
        variance: weight of the hinge on each dimension's standard deviation (25).
        covariance: weight of the squared off-diagonal covariances (1). The thesis prints
            25 / 25 / 1 in the order variance / covariance / invariance; paper and authors'
            scripts mean the order used here.
        convention: "thesis" adds the variance terms of both views, as the thesis and its
            authors' code do; "official" halves that sum, as the paper's own code does. "text" is
            thesis eq. 2.5 to the letter: added, and the squared difference is summed over
            dimensions, where the others (and the code) take their mean.
    """

    invariance: Annotated[float, WEIGHT] = 25.0
    variance: Annotated[float, WEIGHT] = 25.0
    covariance: Annotated[float, WEIGHT] = 1.0
    convention: Literal["thesis", "official", "text"] = "thesis"


def variance_term(z: Tensor) -> Tensor:
    """Mean over dimensions of max(0, 1 - sqrt(var + 1e-4)), unbiased variance, of z (N, D)."""
    deviation = torch.sqrt(batch_variance(z) + 1e-4)
    return torch.relu(1 - deviation).mean()


def covariance_term(z: Tensor) -> Tensor:
    """Sum of squared off-diagonal covariances (over N - 1) over D, of z (N, D)."""
    centred = z - batch_average(z.mean(dim=0))
    squares, diagonal = squared_products(centred, centred, rows_of_all(len(z)) - 1)
    # All squares less those of the diagonal: no D x D mask to build.
    return (squares - diagonal.square().sum()) / z.shape[1]


def vicreg_loss(z_1: Tensor, z_2: Tensor, config: VICRegConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the three terms on two views' embeddings.

    Of a batch that processes share, every process gets the loss of the whole.

    Args:
        z_1: embeddings of the first view, (N, D), N >= 2.
        z_2: embeddings of the second view, same shape.
        config: weights and convention.

    Returns:
        The loss, and its unweighted terms by name (detached).

    Raises:
        ValueError: the shapes differ, or fewer than two samples.
    """
    if z_1.shape != z_2.shape or z_1.ndim != 2:
        raise ValueError(
            f"expected two (N, D) embeddings, found {tuple(z_1.shape)} and {tuple(z_2.shape)}"
        )
    if rows_of_all(len(z_1)) < 2:
        raise ValueError("VICReg needs a batch of at least 2 samples: its variance is over them")
    z_1, z_2 = z_1.float(), z_2.float()
    invariance = loss_average((z_1 - z_2).square().mean())
    if config.convention == "text":
        invariance = invariance * z_1.shape[1]
    variance = variance_term(z_1) + variance_term(z_2)
    if config.convention == "official":
        variance = variance / 2
    covariance = covariance_term(z_1) + covariance_term(z_2)
    loss = (
        config.invariance * invariance + config.variance * variance + config.covariance * covariance
    )
    terms = {"invariance": invariance, "variance": variance, "covariance": covariance}
    return loss, {name: value.detach() for name, value in terms.items()}
