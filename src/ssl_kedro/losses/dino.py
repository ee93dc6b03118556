"""DINO: a student takes over how a centred, sharpened teacher shares out prototypes."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.core.collectives import loss_average

Pair = tuple[Tensor, Tensor]


def dino_loss(
    students: Pair, teachers: Pair, centre: Tensor, student_temperature: float, sharpness: Tensor
) -> Tensor:
    """Mean cross-entropy of each student view under the teacher's distribution of the other view.

    -sum_k P_t(k) log P_s(k) with P_t = softmax((g_t - c) / tau_t) and P_s = softmax(g_s / tau_s)
    (Caron et al. 2021, eq. 1 to 3 and algorithm 1), mean over images and the two crossed pairs.
    There are no local crops.

    Args:
        students: outputs of two views, (N, K) each.
        teachers: outputs of the same views, (N, K) each, constants.
        centre: c, (K,).
        student_temperature: tau_s.
        sharpness: tau_t, a scalar tensor, which the device can read anew in each step.
    """
    terms = [
        -(wanted * functional.log_softmax(found / student_temperature, dim=1)).sum(dim=1).mean()
        for wanted, found in zip(
            (teacher_shares(teacher, centre, sharpness) for teacher in teachers),
            reversed(students),
            strict=True,
        )
    ]
    return loss_average(torch.stack(terms).mean())


def teacher_shares(outputs: Tensor, centre: Tensor, sharpness: Tensor) -> Tensor:
    """P_t of outputs (N, K); no gradient. Arguments are those of :func:`dino_loss`."""
    return functional.softmax((outputs.detach() - centre) / sharpness, dim=1)


def share_entropies(shares: Tensor) -> tuple[Tensor, Tensor]:
    """How the teacher might collapse: entropies over log K, in [0, 1].

    Args:
        shares: P_t, (N, K).

    Returns:
        Mean entropy of an image's shares, 1 where they are all alike; entropy of the batch's mean
        share, 0 where all images fall onto one prototype.
    """
    of_images = loss_average(torch.special.entr(shares).sum(dim=1).mean())
    of_batch = torch.special.entr(loss_average(shares.mean(dim=0))).sum()
    most = math.log(shares.shape[1])
    return of_images / most, of_batch / most
