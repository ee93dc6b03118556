from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from processes import in_processes
from ssl_kedro.core import collectives
from ssl_kedro.core.collectives import (
    Share,
    average_in_place,
    batch_average,
    batch_variance,
    batch_variances,
    current_share,
    gathered,
    leads,
    loss_average,
    own_rows,
    own_slice,
    rows_of_all,
    shared_batch,
)


def test_one_process_holds_the_whole_batch() -> None:
    x = torch.randn(5, 3, requires_grad=True)
    for share in (None, Share(0, 1)):
        if share is None:
            assert current_share() is None
            continue
        with shared_batch(share):
            assert current_share() is None
            assert leads()
            assert own_rows(x) is batch_average(x) is loss_average(x) is x
            assert torch.equal(gathered(x), x)
            assert not gathered(x).requires_grad
            assert torch.equal(batch_variance(x), x.var(dim=0))
            assert (rows_of_all(5), own_slice(5)) == (5, slice(0, 5))


def test_processes_hold_the_rows_in_the_order_of_their_ranks() -> None:
    whole = torch.arange(24.0).view(8, 3)

    def own(rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, bool]:
        rows = own_rows(whole)
        assert torch.equal(whole[own_slice(len(rows))], rows)
        assert rows_of_all(len(rows)) == 8
        return rows, own_rows(whole.T, dim=1), gathered(rows), leads()

    found = in_processes(4, own)
    assert torch.equal(torch.cat([rows for rows, *_ in found]), whole)
    assert torch.equal(torch.cat([columns for _, columns, *_ in found], dim=1), whole.T)
    assert all(torch.equal(everything, whole) for _, _, everything, _ in found)
    assert [first for *_, first in found] == [True, False, False, False]


def test_rows_that_cannot_be_shared_evenly_are_refused() -> None:
    with (
        shared_batch(Share(0, 3)),
        pytest.raises(ValueError, match="8 rows cannot be shared evenly by 3"),
    ):
        own_rows(torch.zeros(8, 2))


def test_an_average_that_is_used_differently_everywhere_has_the_right_gradient() -> None:
    """J = mean over r of L_r, L_r = c_r m^2 with m the mean of all x: dJ/dx = mean(c) 2 m / W."""
    values, factors = torch.tensor([1.0, 4.0, 7.0]), torch.tensor([0.5, -1.0, 3.0])

    def gradient(rank: int) -> torch.Tensor:
        x = values[rank].clone().requires_grad_()
        (factors[rank] * batch_average(x).square()).backward()
        assert x.grad is not None
        return x.grad

    # A process' gradient is W times its share of J's; average_in_place divides it again.
    expected = 3 * factors.mean() * 2 * values.mean() / 3
    for found in in_processes(3, gradient):
        torch.testing.assert_close(found, expected)


def test_variance_is_unbiased_and_so_is_its_gradient() -> None:
    torch.manual_seed(0)
    z = torch.randn(9, 4, dtype=torch.float64) + 5
    weights = torch.randn(4, dtype=torch.float64)
    whole = z.clone().requires_grad_()
    (whole.var(dim=0) * weights).sum().backward()

    def own(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = own_rows(z).clone().requires_grad_()
        variance = batch_variance(rows)
        (variance * weights).sum().backward()
        assert rows.grad is not None
        return variance.detach(), rows.grad

    found = in_processes(3, own)
    torch.testing.assert_close(found[1][0], z.var(dim=0))
    gradient = torch.cat([one for _, one in found]) / 3
    torch.testing.assert_close(gradient, whole.grad)


def test_averages_in_place_keep_shapes_and_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where pieces are so small that some tensors share one and one exceeds it."""
    monkeypatch.setattr(collectives, "_PIECE", 10)
    torch.manual_seed(0)
    shapes = [(), (3,), (2, 3, 2, 2), (4,), (1,)]
    given = [[torch.randn(shape) for shape in shapes] for _ in range(2)]

    def averaged(rank: int) -> list[torch.Tensor]:
        tensors = [t.clone() for t in given[rank]]
        tensors[2] = tensors[2].contiguous(memory_format=torch.channels_last)
        average_in_place(tensors)
        assert tensors[2].is_contiguous(memory_format=torch.channels_last)
        return tensors

    for found in in_processes(2, averaged):
        for index, tensor in enumerate(found):
            torch.testing.assert_close(tensor, (given[0][index] + given[1][index]) / 2)


def test_variances_of_several_columns_are_those_of_each_in_one_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    parts = [torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)]
    assert all(
        torch.equal(found, z.var(dim=0))
        for found, z in zip(batch_variances(parts), parts, strict=True)
    )

    def own(rank: int) -> tuple[list[torch.Tensor], list[torch.Tensor], int, int]:
        sent = []
        reduces = dist.all_reduce
        monkeypatch.setattr(
            dist, "all_reduce", lambda x, **k: (sent.append(x.numel()), reduces(x, **k))
        )
        rows = [own_rows(z) for z in parts]
        together = batch_variances(rows)
        count = len(sent)
        return together, [batch_variance(z) for z in rows], count, len(sent) - count

    for together, alone, count, twice in in_processes(3, own):
        for found, other, z in zip(together, alone, parts, strict=True):
            torch.testing.assert_close(found, z.var(dim=0))
            torch.testing.assert_close(other, z.var(dim=0))
        assert (count, twice) == (2, 4)
