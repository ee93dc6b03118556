"""Squares of a correlation matrix over a batch that several processes may share."""

import torch
from torch import Tensor

from ssl_kedro.core.collectives import current_share, gathered, loss_average, rows_of_all


def squared_products(a: Tensor, b: Tensor, divisor: float) -> tuple[Tensor, Tensor]:
    """Sum of squares, and diagonal, of the matrix A^T B / divisor over the whole batch.

    One process computes the matrix. Several either add up their D x D parts, or, where the batch
    has fewer rows N than columns D, exchange rows: with the Gram matrices A A^T and B B^T the sum
    of squares is sum_ij (A A^T)_ij (B B^T)_ij, of which each process takes its own rows. That
    sends 2 N D numbers instead of 2 D^2 and multiplies n N D instead of n D^2 (ADR 17).

    Args:
        a: this process' rows, (n, D).
        b: the same of another matrix, or ``a`` itself.
        divisor: of the products.

    Returns:
        Both for use in a loss alone: a scalar, and (D,).
    """
    share = current_share()
    count = rows_of_all(len(a))
    if share is not None and count < a.shape[1]:
        diagonal = loss_average((a * b).sum(dim=0)) * (share.processes / divisor)
        return _by_rows(a, b) * (share.processes / divisor**2), diagonal
    matrix = a.T @ b / divisor
    if share is not None:
        matrix = loss_average(matrix) * share.processes
    return matrix.square().sum(), matrix.diagonal()


def _by_rows(a: Tensor, b: Tensor) -> Tensor:
    """Mean over processes of their parts of sum_ij (A A^T)_ij (B B^T)_ij.

    The rows of others take no gradient. By symmetry they would return as much as this process'
    own rows get, so that the own gradient is counted twice and the value once.
    """
    all_a = gathered(a)
    all_b = all_a if b is a else gathered(b)
    own = torch.sum((a @ all_a.T) * (b @ all_b.T))
    return loss_average(2 * own - own.detach())
