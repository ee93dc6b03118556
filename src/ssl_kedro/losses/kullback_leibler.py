"""Kullback-Leibler divergence between saliency maps (thesis eq. 4.4)."""

import torch
from torch import Tensor

# Far below any pixel of a map that is a distribution (1 / 51,200 where it is even), yet a
# float32 that its neighbours do not swallow.
EPSILON = 1e-12


def kullback_leibler(
    prediction: Tensor,
    truth: Tensor,
    weights: Tensor | None = None,
    *,
    last_sample_only: bool = False,
    epsilon: float = EPSILON,
) -> Tensor:
    """Mean over the batch of sum_i P_i log(eps + P_i / (eps + Y_i)), natural logarithm.

    Y and P are prediction and truth, each divided by its sum.

    Args:
        prediction: float (N, H, W), not negative, not all zero; takes the gradient.
        truth: the same.
        weights: float (H, W), by which both maps are multiplied before they are divided by
            their sums; solid angles make densities per steradian to distributions. None = pixels
            count alike, as printed in the thesis.
        last_sample_only: the loss of the last sample alone, as the authors' code has it.
        epsilon: keeps the logarithm finite.

    Raises:
        ValueError: shapes that do not fit.
    """
    if prediction.ndim != 3 or prediction.shape != truth.shape:
        raise ValueError(
            f"expected prediction and truth of one shape (N, H, W), found "
            f"{tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    if weights is not None:
        if weights.shape != prediction.shape[1:]:
            raise ValueError(
                f"expected weights of shape {tuple(prediction.shape[1:])}, found "
                f"{tuple(weights.shape)}"
            )
        prediction, truth = prediction * weights, truth * weights
    predicted, wanted = prediction.flatten(1), truth.flatten(1)
    predicted = predicted / predicted.sum(dim=1, keepdim=True)
    wanted = wanted / wanted.sum(dim=1, keepdim=True)
    each = (wanted * torch.log(epsilon + wanted / (epsilon + predicted))).sum(dim=1)
    return each[-1] if last_sample_only else each.mean()
