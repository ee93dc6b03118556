"""InfoNCE in its three forms against loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_kedro.losses.info_nce import in_batch_nce, nt_xent, queue_nce


def drawn(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=generator, dtype=torch.float64) + 0.3


def cosine(a: Tensor, b: Tensor) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    lengths = [math.sqrt(sum(float(x) ** 2 for x in v)) for v in (a, b)]
    return dot / (lengths[0] * lengths[1])


def picks(scores: list[float], right: int) -> float:
    """Minus the log-likelihood of the right one."""
    return math.log(sum(map(math.exp, scores))) - scores[right]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_by_a_loop_over_all_views(temperature: float) -> None:
    z = [*drawn(4, 0), *drawn(4, 1)]
    total = 0.0
    for i in range(8):
        others = [j for j in range(8) if j != i]
        scores = [cosine(z[i], z[j]) / temperature for j in others]
        total += picks(scores, others.index((i + 4) % 8))
    found = nt_xent(drawn(4, 0), drawn(4, 1), temperature)
    assert float(found) == pytest.approx(total / 8, rel=1e-12)


def test_queue_nce_by_a_loop_over_the_queue() -> None:
    queries, keys, queue = drawn(3, 0), drawn(3, 1), drawn(7, 2)
    queue = queue / queue.norm(dim=1, keepdim=True)
    expected = 0.0
    for query, key in zip(queries, keys, strict=True):
        scores = [cosine(query, other) / 0.2 for other in (key, *queue)]
        expected += picks(scores, 0) / 3
    assert float(queue_nce(queries, keys, queue, 0.2)) == pytest.approx(expected, rel=1e-12)


def test_in_batch_nce_by_a_loop_with_the_factor_of_moco_v3() -> None:
    """The factor 2 tau of algorithm 1."""
    queries, keys = drawn(4, 0), drawn(4, 1)
    expected = 0.0
    for i, query in enumerate(queries):
        expected += picks([cosine(query, key) / 0.3 for key in keys], i) / 4
    found = in_batch_nce(queries, keys, 0.3)
    assert float(found) == pytest.approx(2 * 0.3 * expected, rel=1e-12)


def test_keys_and_queue_are_constants_and_views_of_nt_xent_are_not() -> None:
    queries, keys, queue = (drawn(4, seed).requires_grad_() for seed in range(3))
    (queue_nce(queries, keys, queue, 0.2) + in_batch_nce(queries, keys, 0.2)).backward()
    assert queries.grad is not None
    assert keys.grad is None
    assert queue.grad is None
    z_1, z_2 = drawn(3, 0).requires_grad_(), drawn(3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), (z_1, z_2))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected two \(N, D\) embeddings"):
        nt_xent(drawn(3, 0), drawn(4, 0), 0.5)
