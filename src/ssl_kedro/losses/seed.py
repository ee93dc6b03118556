"""SEED: a student learns the teacher's similarities to a queue (Fang et al. 2021)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import TEMPERATURE, Config


@dataclass(frozen=True)
class SeedTemperatures(Config):
    """Sharpness of the two similarity distributions (Fang et al. 2021, 4.1).

    Args:
        student: 0.2.
        teacher: 0.01.
    """

    student: Annotated[float, TEMPERATURE] = 0.2
    teacher: Annotated[float, TEMPERATURE] = 0.01


def seed_loss(student: Tensor, teacher: Tensor, queue: Tensor, config: SeedTemperatures) -> Tensor:
    """Cross-entropy of the student's similarity distribution under the teacher's.

    Both distributions are over the queue and, in front of it, the teacher's own embedding of
    the sample (Fang et al. 2021, eq. 2-5). Up to the teacher's entropy, which has no
    gradient, this is their KL divergence.

    Args:
        student: L2-normalised, (N, D).
        teacher: L2-normalised, (N, D), a constant.
        queue: the teacher's earlier embeddings, L2-normalised, (K, D), constants.
        config: temperatures.
    """
    teacher, queue = teacher.detach(), queue.detach()
    own = (student * teacher).sum(dim=1, keepdim=True)
    student_logits = torch.cat([own, student @ queue.T], dim=1) / config.student
    teacher_own = (teacher * teacher).sum(dim=1, keepdim=True)
    teacher_logits = torch.cat([teacher_own, teacher @ queue.T], dim=1) / config.teacher
    wanted = nn.functional.softmax(teacher_logits, dim=1)
    each = (wanted * nn.functional.log_softmax(student_logits, dim=1)).sum(dim=1)
    return loss_average(-each.mean())
