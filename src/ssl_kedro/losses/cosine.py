"""Distance of directions: what SimSiam, BYOL and SimReg regress with."""

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import loss_average


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of -cos(prediction, target) over the batch; no gradient to the target.

    SimSiam, Chen & He 2021, eq. 1; in [-1, 1].

    Args:
        prediction: (N, D).
        target: (N, D), treated as a constant.
    """
    similarity = nn.functional.cosine_similarity(prediction, target.detach(), dim=1)
    return loss_average(-similarity.mean())


def normalised_regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of L2-normalised vectors, 2 - 2 cos; no gradient to the target.

    BYOL, Grill et al. 2020, eq. 2; SimReg, Navaneet et al. 2021, eq. 1; in [0, 4].

    Args:
        prediction: (N, D).
        target: (N, D), treated as a constant.
    """
    difference = nn.functional.normalize(prediction, dim=1) - nn.functional.normalize(
        target.detach(), dim=1
    )
    return loss_average(torch.sum(difference.square(), dim=1).mean())
