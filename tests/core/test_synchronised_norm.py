from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from processes import in_processes
from ssl_kedro.core.collectives import Share, average_in_place, own_rows
from ssl_kedro.core.synchronised_norm import SynchronisedBatchNorm, _Normalised, synchronised


def network() -> nn.Sequential:
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 36, 5),
        nn.BatchNorm1d(5, momentum=None),
        nn.BatchNorm1d(5, affine=False),
    ).double()
    for module in found:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            nn.init.normal_(module.bias)
    return found


def stepped(net: nn.Module, x: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two forward and backward passes; a loss whose gradient differs from row to row."""
    for _ in range(2):
        net.zero_grad()
        x = x.detach().requires_grad_()
        loss = (net(x) * rows).square().sum(dim=1).sin().mean()
        loss.backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        average_in_place(gradients)
    found = {f"gradient.{name}": p.grad for name, p in net.named_parameters()}
    return found | {"input": x.grad} | dict(net.state_dict())  # type: ignore[return-value]


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_processes_together_compute_the_norm_of_the_whole_batch(
    processes: int, layout: torch.memory_format
) -> None:
    """Outputs, gradients of inputs and weights, running statistics: torch's own on one batch."""
    torch.manual_seed(1)
    # Far from zero, and unlike in each process: one that only saw its own rows would show.
    x = torch.randn(8, 3, 8, 8, dtype=torch.float64) * 3 + torch.arange(8.0)[:, None, None, None]
    x = x.contiguous(memory_format=layout)
    rows = torch.randn(8, 5, dtype=torch.float64)
    expected = stepped(network().to(memory_format=layout), x, rows)

    def shard(rank: int) -> dict[str, torch.Tensor]:
        net = synchronised(network().to(memory_format=layout))
        return stepped(net, own_rows(x), own_rows(rows))

    found = in_processes(processes, shard)
    whole = torch.cat([one["input"] for one in found]) / processes
    torch.testing.assert_close(whole, expected["input"], rtol=1e-9, atol=1e-12)
    for one in found:
        assert one.keys() == expected.keys()
        for name in expected.keys() - {"input"}:
            torch.testing.assert_close(one[name], expected[name], rtol=1e-9, atol=1e-12, msg=name)


def test_half_precision_inputs_keep_float32_statistics() -> None:
    torch.manual_seed(2)
    x = (torch.randn(16, 4, 6, 6) * 2 + 50).bfloat16()
    direction = torch.randn(16, 4, 6, 6)

    def normalised(norm: nn.Module, part: torch.Tensor, along: torch.Tensor) -> list[torch.Tensor]:
        part = part.clone().requires_grad_()
        out = norm(part)
        (out * along.to(out.dtype)).sum().backward()
        assert part.grad is not None
        return [out.detach(), part.grad, norm.running_mean, norm.running_var]

    def shard(rank: int) -> list[torch.Tensor]:
        norm = synchronised(nn.BatchNorm2d(4))
        return normalised(norm, own_rows(x), own_rows(direction))

    expected = normalised(nn.BatchNorm2d(4), x, direction)
    found = in_processes(2, shard)
    for index in (0, 1):
        whole = torch.cat([one[index] for one in found])
        assert whole.dtype == torch.bfloat16
        torch.testing.assert_close(whole, expected[index], rtol=2e-2, atol=2e-2)
    for index in (2, 3):
        assert found[0][index].dtype == torch.float32
        torch.testing.assert_close(found[0][index], expected[index], rtol=1e-5, atol=1e-5)


def test_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(3)
    x = torch.randn(6, 3, 2, dtype=torch.float64)
    along = torch.randn(6, 3, 2, dtype=torch.float64)

    def check(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        norm = synchronised(nn.BatchNorm1d(3).double())
        own = own_rows(x).clone().requires_grad_()
        (norm(own) * own_rows(along)).sum().backward()
        # The numeric derivative of the sum over both processes by one of process 0's inputs.
        values = []
        for step in (1e-6, -1e-6):
            moved = x.clone()
            moved[1, 2, 0] += step
            fresh = nn.BatchNorm1d(3).double()
            values.append((fresh(moved) * along).sum().detach())
        assert own.grad is not None
        return own.grad[1, 2, 0], (values[0] - values[1]) / 2e-6

    found, expected = in_processes(2, check)[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_conversion_keeps_names_weights_and_mode_and_alone_changes_nothing() -> None:
    plain = network()
    plain[5].eval()
    converted = synchronised(copy.deepcopy(plain))
    assert sum(isinstance(m, SynchronisedBatchNorm) for m in converted.modules()) == 3
    assert list(converted.state_dict()) == list(plain.state_dict())
    assert [m.training for m in converted.modules()] == [m.training for m in plain.modules()]
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(converted(x), plain(x))
    for name, value in plain.state_dict().items():
        assert torch.equal(converted.state_dict()[name], value), name
    assert isinstance(synchronised(nn.BatchNorm2d(2)), SynchronisedBatchNorm)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[[str], Share]]:
    """A process group of this process only, of a backend."""

    def started(backend: str) -> Share:
        store = dist.FileStore(str(tmp_path / "store"), 1)
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
        return Share(0, 1)

    yield started
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_one_implementation_serves_all_devices_and_waits_for_none(
    alone: Callable[[str], Share],
    device: str,
    layout: torch.memory_format,
    half: bool,
    affine: bool,
) -> None:
    """Forward and backward pass against torch's norm; on a GPU with waiting made an error."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    share = alone("nccl" if device == "cuda" else "gloo")
    torch.manual_seed(4)
    x = (torch.randn(8, 5, 4, 6) * 2 + 3).to(device, memory_format=layout)
    along = torch.randn(8, 5, 4, 6).to(device)
    plain = nn.BatchNorm2d(5, affine=affine).to(device)
    if affine:
        nn.init.uniform_(plain.weight)
        nn.init.normal_(plain.bias)
    x = x.bfloat16() if half else x
    given = [x.clone().requires_grad_() for _ in range(3)]

    def ours(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        out, mean, variance, count = _Normalised.apply(x, plain.weight, plain.bias, 1e-5, share)
        assert count == 8 * 4 * 6
        (out * along.to(out.dtype)).sum().backward()
        return out.detach(), mean, variance

    ours(given[0])  # first messages set up their channels
    plain.zero_grad()
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        out, mean, variance = ours(given[1])
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    found = [out, given[1].grad, *(p.grad.clone() for p in plain.parameters())]  # type: ignore[union-attr]
    plain.zero_grad()
    wanted = plain(given[2])
    (wanted * along.to(wanted.dtype)).sum().backward()
    expected = [wanted.detach(), given[2].grad, *(p.grad for p in plain.parameters())]
    assert out.dtype == x.dtype
    tolerance = 2e-2 if half else 1e-4
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    moments = x.float().transpose(0, 1).reshape(5, -1)
    torch.testing.assert_close(mean, moments.mean(dim=1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(variance, moments.var(dim=1, correction=0), rtol=1e-4, atol=1e-4)
