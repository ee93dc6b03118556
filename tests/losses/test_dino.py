"""DINO's loss and its measures of collapse against loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_kedro.losses.dino import dino_loss, share_entropies, teacher_shares

SHARP = torch.tensor(0.05, dtype=torch.float64)


def drawn(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, 4, generator=generator, dtype=torch.float64) * 2 - 1


def softmax(scores: list[float]) -> list[float]:
    weights = [math.exp(score) for score in scores]
    return [weight / sum(weights) for weight in weights]


def test_value_by_loops_over_the_crossed_pairs() -> None:
    students, teachers, centre = (drawn(0), drawn(1)), (drawn(2), drawn(3)), drawn(4)[0]
    total = 0.0
    for t, s in ((0, 1), (1, 0)):
        for n in range(3):
            wanted = softmax(((teachers[t][n] - centre) / 0.05).tolist())
            found = softmax((students[s][n] / 0.1).tolist())
            total -= sum(p * math.log(q) for p, q in zip(wanted, found, strict=True))
    assert float(dino_loss(students, teachers, centre, 0.1, SHARP)) == pytest.approx(total / 6)


def test_only_students_take_a_gradient() -> None:
    s_1, s_2, t_1, t_2 = (drawn(seed).requires_grad_() for seed in range(4))
    centre = drawn(4)[0]
    dino_loss((s_1, s_2), (t_1, t_2), centre, 0.1, SHARP).backward()
    assert t_1.grad is None
    assert t_2.grad is None
    pair = drawn(0).requires_grad_(), drawn(1).requires_grad_()
    teachers = drawn(2), drawn(3)
    assert torch.autograd.gradcheck(
        lambda a, b: dino_loss((a, b), teachers, centre, 0.1, SHARP), pair
    )


def test_entropies_tell_both_ways_to_collapse() -> None:
    one = torch.eye(4)[[2, 2, 2]]
    even = torch.full((3, 4), 0.25)
    spread = torch.eye(4)
    assert [float(x) for x in share_entropies(one)] == pytest.approx([0, 0])
    assert [float(x) for x in share_entropies(even)] == pytest.approx([1, 1])
    assert [float(x) for x in share_entropies(spread)] == pytest.approx([0, 1])


def test_the_centre_keeps_one_prototype_from_winning_everywhere() -> None:
    outputs = drawn(0) + torch.tensor([0.0, 5, 0, 0])
    before = teacher_shares(outputs, torch.zeros(4), SHARP)
    after = teacher_shares(outputs, outputs.mean(dim=0), SHARP)
    assert float(share_entropies(before)[1]) < 1e-6
    assert float(share_entropies(after)[1]) > 0.3
