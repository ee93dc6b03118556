"""Losses of batches that processes share, against the same losses of the whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from processes import in_processes
from ssl_kedro.core.collectives import own_rows
from ssl_kedro.core.seeding import torch_generator
from ssl_kedro.gating.budget import channel_diversity_loss
from ssl_kedro.gating.cost import BlockCost, NetworkCost
from ssl_kedro.losses import second_moments
from ssl_kedro.losses.barlow_twins import BarlowTwinsConfig, barlow_twins_loss
from ssl_kedro.losses.cosine import negative_cosine, normalised_regression
from ssl_kedro.losses.dino import dino_loss, share_entropies
from ssl_kedro.losses.info_nce import in_batch_nce, nt_xent, queue_nce
from ssl_kedro.losses.memory_nce import MemoryBank, memory_nce
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.losses.wmse import wmse_loss

Loss = Callable[[Tensor, Tensor], Tensor]
COST = NetworkCost(100, (BlockCost("b", 24, 10, 0, 5),))


def nce(z_1: Tensor, z_2: Tensor) -> Tensor:
    bank = MemoryBank(50, z_1.shape[1], torch_generator(0, "bank")).double()
    indices = own_rows(torch.arange(12))
    negatives = own_rows(torch.randint(50, (12, 7), generator=torch_generator(0, "negatives")))
    positive, negative = bank.scores(z_1, indices, negatives, 0.5)
    return memory_nce(positive, negative, bank.normaliser(0, positive, negative), 50)


def unit_rows(columns: int) -> Tensor:
    rows = torch.randn(9, columns, generator=torch_generator(0, "queue"), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=1)


def dino(z_1: Tensor, z_2: Tensor) -> Tensor:
    teachers = z_1.flip(1), z_2.flip(1)
    centre = torch.linspace(-1, 1, z_1.shape[1], dtype=torch.float64)
    loss = dino_loss((z_1, z_2), teachers, centre, 0.3, torch.tensor(0.5))
    return loss + sum(share_entropies(z_1.softmax(dim=1)))


LOSSES: dict[str, Loss] = {
    "vicreg": lambda a, b: vicreg_loss(a, b, VICRegConfig())[0],
    "barlow": lambda a, b: barlow_twins_loss(a, b, BarlowTwinsConfig())[0],
    "cosine": negative_cosine,
    "regression": normalised_regression,
    "diversity": lambda a, b: channel_diversity_loss([a.sigmoid(), b.sigmoid()]),
    "cost": lambda a, b: COST.ratio([a.sigmoid()]).square(),
    "memory": nce,
    "nt_xent": lambda a, b: nt_xent(a, b, 0.3),
    "queue": lambda a, b: queue_nce(a, b, unit_rows(a.shape[1]), 0.3),
    "in_batch": lambda a, b: in_batch_nce(a, b, 0.3),
    "wmse": lambda a, b: wmse_loss(a[:, :3], b[:, :3], 6),  # parts lie across processes
    "dino": dino,
}


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)


@pytest.mark.parametrize("columns", [24, 5])  # more, and fewer, than the 12 rows
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_those_of_the_whole_batch(
    double: None, name: str, columns: int
) -> None:
    torch.manual_seed(0)
    # Of unlike size in each process, and away from zero.
    scale = torch.linspace(0.5, 3, 12, dtype=torch.float64)[:, None]
    z = [torch.randn(12, columns, dtype=torch.float64) * scale + scale for _ in range(2)]

    def value_and_gradients(parts: list[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        parts = [part.clone().requires_grad_() for part in parts]
        loss = LOSSES[name](*parts)
        loss.backward()
        return loss.detach(), [part.grad for part in parts]

    value, gradients = value_and_gradients(z)
    found = in_processes(3, lambda rank: value_and_gradients([own_rows(part) for part in z]))
    for one, _ in found:
        torch.testing.assert_close(one, value, rtol=1e-10, atol=1e-12)
    for index, expected in enumerate(gradients):
        if expected is None:
            assert all(of_one[index] is None for _, of_one in found)
            continue
        # Averaged over three processes, of which each has a third of the rows.
        whole = torch.cat([of_one[index] for _, of_one in found]) / 3  # type: ignore[misc]
        torch.testing.assert_close(whole, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("columns", [64, 512])  # matrices are added; rows are exchanged
@pytest.mark.parametrize("name", ["vicreg", "barlow"])
def test_two_processes_of_128_are_one_of_256_in_float32(name: str, columns: int) -> None:
    torch.manual_seed(1)
    z = [torch.randn(256, columns) * torch.linspace(0.5, 2, columns) for _ in range(2)]

    def value_and_gradients(parts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        parts = [part.clone().requires_grad_() for part in parts]
        loss = LOSSES[name](*parts)
        return loss.detach(), list(torch.autograd.grad(loss, parts))

    value, gradients = value_and_gradients(z)
    found = in_processes(2, lambda rank: value_and_gradients([own_rows(part) for part in z]))
    for one, _ in found:
        torch.testing.assert_close(one, value, rtol=1e-5, atol=0)
    for index, expected in enumerate(gradients):
        whole = torch.cat([of_one[index] for _, of_one in found]) / 2
        scale = float(expected.abs().max())
        torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-5 * scale)


def test_few_rows_are_exchanged_and_many_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the two ways is taken shows in what would be exchanged."""

    def sizes(rank: int, columns: int) -> list[int]:
        seen: list[int] = []
        gathered = second_moments.gathered
        monkeypatch.setattr(
            second_moments, "gathered", lambda x: seen.append(x.numel()) or gathered(x)
        )
        rows = own_rows(torch.randn(12, columns))
        second_moments.squared_products(rows, rows, 11)
        return seen

    assert in_processes(2, lambda rank: sizes(rank, 13)) == [[6 * 13]] * 2
    assert in_processes(2, lambda rank: sizes(rank, 12)) == [[]] * 2
