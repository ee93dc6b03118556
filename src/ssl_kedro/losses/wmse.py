"""W-MSE: whitened views are pulled together (Ermolov et al. 2021)."""

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import rows_for_loss


def wmse_loss(z_1: Tensor, z_2: Tensor, sub_batch: int) -> Tensor:
    """Mean of 2 - 2 cos between whitened embeddings of two views.

    Each view is whitened in runs of ``sub_batch`` consecutive rows, each with its own mean and
    covariance (Ermolov et al. 2021, eq. 4 to 7, one slicing a step). The paper shuffles the rows
    before; batches are drawn at random as they are. Of a batch that processes share, every process
    computes the loss of the whole.

    Args:
        z_1: embeddings of the first view, (N, D).
        z_2: embeddings of the second view, same shape.
        sub_batch: rows that are whitened together; more than D, and a divisor of N.

    Raises:
        ValueError: the shapes differ, or the rows cannot be parted so.
    """
    if z_1.shape != z_2.shape or z_1.ndim != 2:
        raise ValueError(
            f"expected two (N, D) embeddings, found {tuple(z_1.shape)} and {tuple(z_2.shape)}"
        )
    whitened = []
    for z in (z_1, z_2):
        rows = rows_for_loss(z)
        if len(rows) % sub_batch or sub_batch <= z.shape[1]:
            raise ValueError(
                f"{len(rows)} rows of {z.shape[1]} dimensions cannot be whitened in parts of "
                f"{sub_batch}: expected more rows in a part than dimensions, and whole parts"
            )
        parts = rows.reshape(-1, sub_batch, z.shape[1])
        whitened.append(nn.functional.normalize(whitened_rows(parts).flatten(0, 1), dim=1))
    first, second = whitened
    return (first - second).square().sum(dim=1).mean()


def whitened_rows(parts: Tensor) -> Tensor:
    """Each part with mean 0 and covariance I: W (z - mean), W the inverse Cholesky factor.

    Ermolov et al. 2021, eq. 7: with the covariance S = L L^T over n - 1, W = L^-1. NaN where
    the factorisation finds S not positive definite.

    Args:
        parts: (P, n, D), n > D.
    """
    centred = parts - parts.mean(dim=1, keepdim=True)
    covariance = centred.mT @ centred / (parts.shape[1] - 1)
    # Without a check of its own, for which the host would wait for the device.
    factor, failed = torch.linalg.cholesky_ex(covariance)
    # A factor that was left half done is finite.
    factor = factor.where(failed[:, None, None] == 0, torch.nan)
    whitened: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False)
    return whitened.mT
