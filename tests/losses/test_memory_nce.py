from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.losses import memory_nce as module
from ssl_kedro.losses.memory_nce import MemoryBank, chance_loss, memory_nce

N, D, B, K, TAU = 40, 6, 5, 12, 0.07


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bank() -> MemoryBank:
    return MemoryBank(N, D, generator()).double()


def embeddings(seed: int = 1) -> Tensor:
    found = torch.randn(B, D, generator=generator(seed), dtype=torch.float64)
    return functional.normalize(found, dim=1)


INDICES = torch.tensor([3, 17, 0, 39, 8])
NEGATIVES = torch.randint(N, (B, K), generator=generator(2))


def slow_loss(f: Tensor, vectors: Tensor, z: float) -> float:
    """-log P(D=1 | own) - sum log P(D=0 | negative), sample by sample (Tian et al. 2019)."""
    total = 0.0
    for sample in range(B):
        own = math.exp(float(vectors[INDICES[sample]] @ f[sample]) / TAU) / z
        total -= math.log(own / (own + K / N))
        for row in NEGATIVES[sample].tolist():
            p = math.exp(float(vectors[row] @ f[sample]) / TAU) / z
            total -= math.log((K / N) / (p + K / N))
    return total / B


@pytest.mark.parametrize("gathered", [False, True])
def test_equals_the_formula_and_its_gradient(
    gathered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WHOLE_BANK", 0 if gathered else 50)
    memory, f = bank(), embeddings().requires_grad_()
    positive, negative = memory.scores(f, INDICES, NEGATIVES, TAU)
    every = [
        math.exp(float(memory.vectors[row] @ f[sample].detach()) / TAU)
        for sample in range(B)
        for row in [int(INDICES[sample]), *NEGATIVES[sample].tolist()]
    ]
    z = N * sum(every) / len(every)
    normaliser = memory.normaliser(0, positive, negative)
    assert float(normaliser.exp()) == pytest.approx(z, rel=1e-9)
    loss = memory_nce(positive, negative, normaliser, N)
    assert float(loss.detach()) == pytest.approx(slow_loss(f.detach(), memory.vectors, z), rel=1e-9)

    def of_embeddings(values: Tensor) -> Tensor:
        return memory_nce(*memory.scores(values, INDICES, NEGATIVES, TAU), normaliser, N)

    assert torch.autograd.gradcheck(of_embeddings, f)


def test_the_normaliser_is_fixed_by_the_first_batch_for_each_kind() -> None:
    memory = bank()
    first = memory.scores(embeddings(), INDICES, NEGATIVES, TAU)
    second = memory.scores(embeddings(5), INDICES, NEGATIVES, TAU)
    z = float(memory.normaliser(0, *first))
    assert float(memory.normaliser(0, *second)) == z
    other = float(memory.normaliser(1, *second))
    assert other != z
    # Part of the state: a resumed training goes on with the same constant.
    again = bank()
    again.load_state_dict(memory.state_dict())
    assert float(again.normaliser(1, *first)) == other


def test_only_the_batchs_rows_move_half_way_and_keep_unit_length() -> None:
    memory = bank()
    before = memory.vectors.clone()
    memory.update(INDICES, embeddings(), 0.5)
    others = sorted(set(range(N)) - set(INDICES.tolist()))
    assert torch.equal(memory.vectors[others], before[others])
    for sample, row in enumerate(INDICES.tolist()):
        halfway = before[row] + embeddings()[sample]
        torch.testing.assert_close(memory.vectors[row], halfway / halfway.norm())


def test_first_vectors_are_gaussian_directions_of_the_seed() -> None:
    first = MemoryBank(4000, 8, generator()).vectors
    torch.testing.assert_close(first.norm(dim=1), torch.ones(4000))
    assert first.mean(dim=0).abs().max() < 0.03
    assert torch.equal(first, MemoryBank(4000, 8, generator()).vectors)
    assert not torch.equal(first, MemoryBank(4000, 8, generator(1)).vectors)


def test_scores_that_know_nothing_lose_what_chance_loses() -> None:
    zeros = torch.zeros(B, K)
    loss = memory_nce(zeros[:, 0], zeros, torch.tensor(math.log(N)), N)
    assert float(loss) == pytest.approx(math.log(1 + K) + K * math.log(1 + 1 / K), rel=1e-5)


def test_chance_is_what_a_bank_of_equal_vectors_gives() -> None:
    memory = bank()
    positive = torch.full((B,), 2.5, dtype=torch.float64)
    negative = torch.full((B, K), 2.5, dtype=torch.float64)
    normaliser = memory.normaliser(0, positive, negative)
    assert float(memory_nce(positive, negative, normaliser, N)) == pytest.approx(chance_loss(K))
    assert chance_loss(16_000) == pytest.approx(math.log(16_000) + 1, abs=1e-3)
