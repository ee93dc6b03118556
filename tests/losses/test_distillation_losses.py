from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ssl_kedro.losses.cosine import negative_cosine, normalised_regression
from ssl_kedro.losses.seed import SeedTemperatures, seed_loss


def vectors(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_cosine_losses_equal_the_loop() -> None:
    p, z = vectors(5, 7, seed=0), vectors(5, 7, seed=1)
    similarities = [cosine(a, b) for a, b in zip(p.tolist(), z.tolist(), strict=True)]
    mean = sum(similarities) / 5
    assert float(negative_cosine(p, z)) == pytest.approx(-mean, abs=1e-12)
    # |a - b|^2 = 2 - 2 cos for unit vectors
    assert float(normalised_regression(p, z)) == pytest.approx(2 - 2 * mean, abs=1e-12)


def test_targets_get_no_gradient() -> None:
    p = vectors(4, 3, seed=0).requires_grad_()
    z = vectors(4, 3, seed=1).requires_grad_()
    (negative_cosine(p, z) + normalised_regression(p, z)).backward()
    assert p.grad is not None
    assert z.grad is None


def test_seed_loss_equals_the_sum_over_samples_and_queue() -> None:
    student = nn.functional.normalize(vectors(3, 4, seed=0), dim=1)
    teacher = nn.functional.normalize(vectors(3, 4, seed=1), dim=1)
    queue = nn.functional.normalize(vectors(6, 4, seed=2), dim=1)
    config = SeedTemperatures(student=0.2, teacher=0.05)
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        anchors = [t, *queue.tolist()]
        q = [math.exp(cosine(s, a) / 0.2) for a in anchors]
        p = [math.exp(cosine(t, a) / 0.05) for a in anchors]
        total -= sum(pi / sum(p) * math.log(qi / sum(q)) for pi, qi in zip(p, q, strict=True))
    assert float(seed_loss(student, teacher, queue, config)) == pytest.approx(total / 3, rel=1e-12)


def test_seed_loss_is_least_where_the_student_is_the_teacher() -> None:
    # With equal temperatures cross-entropy is smallest, the teacher's entropy, at equality.
    config = SeedTemperatures(student=0.1, teacher=0.1)
    teacher = nn.functional.normalize(vectors(8, 5, seed=1), dim=1)
    queue = nn.functional.normalize(vectors(30, 5, seed=2), dim=1)
    best = float(seed_loss(teacher, teacher, queue, config))
    for seed in range(3, 8):
        other = nn.functional.normalize(teacher + 0.2 * vectors(8, 5, seed=seed), dim=1)
        assert float(seed_loss(other, teacher, queue, config)) > best


def test_gradients_are_right() -> None:
    queue = nn.functional.normalize(vectors(6, 4, seed=2), dim=1)
    teacher = nn.functional.normalize(vectors(3, 4, seed=1), dim=1)
    student = vectors(3, 4, seed=0).requires_grad_()

    def losses(x: Tensor) -> Tensor:
        unit = nn.functional.normalize(x, dim=1)
        return (
            seed_loss(unit, teacher, queue, SeedTemperatures(0.2, 0.1))
            + negative_cosine(x, teacher)
            + normalised_regression(x, teacher)
        )

    assert torch.autograd.gradcheck(losses, (student,))
