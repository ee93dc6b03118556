"""Means and sums over a batch whose rows several processes share.

Convention: of a batch of N rows, process r of W holds rows r N / W to (r + 1) N / W, all of them
equally many. Inside :func:`shared_batch` the functions here speak of the whole batch; outside,
where one process holds it all, each is the identity or the plain computation, to the last bit.

Gradients: every process computes the loss of the whole batch and differentiates it with respect
to its own copy of the weights; what belongs to the weights is the mean of these gradients over
processes (:func:`average_in_place`). In that convention the adjoint of a mean over processes is a
mean over processes, and a loss that is a plain mean over a process' own rows has the right
gradient without any call from here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# Gradients travel in pieces of so many numbers: one is copied while another is under way.
_PIECE = 4 * 2**20


@dataclass(frozen=True)
class Share:
    """A process' part of every batch.

    Args:
        rank: place of the process, from 0.
        processes: how many share the batch.
        group: through which they speak; None = torch's default group.
    """

    rank: int
    processes: int
    group: dist.ProcessGroup | None = None


_shares: list[Share] = []


@contextmanager
def shared_batch(share: Share) -> Iterator[None]:
    """Take every batch within the block for a part of one that other processes hold the rest of.

    All of them must make the same calls in the same order, as collective operations demand.
    """
    _shares.append(share)
    try:
        yield
    finally:
        _shares.pop()


def current_share() -> Share | None:
    """This process' part, None where it holds the whole batch."""
    return _shares[-1] if _shares and _shares[-1].processes > 1 else None


def leads() -> bool:
    """Whether this process is the one that reports and writes."""
    return not _shares or _shares[-1].rank == 0


def rows_of_all(rows: int) -> int:
    """N, rows of the whole batch, from those of this process."""
    share = current_share()
    return rows if share is None else rows * share.processes


def own_rows(whole: Tensor, dim: int = 0) -> Tensor:
    """This process' rows of something made for the whole batch.

    Random numbers are drawn for the whole batch, alike in every process, and each takes its own:
    what a sample gets does not depend on the number of processes.

    Args:
        whole: N rows along ``dim``.
        dim: where the rows are.

    Raises:
        ValueError: the rows cannot be shared out evenly.
    """
    share = current_share()
    if share is None:
        return whole
    count, rest = divmod(whole.shape[dim], share.processes)
    if rest:
        raise ValueError(
            f"{whole.shape[dim]} rows cannot be shared evenly by {share.processes} processes"
        )
    return whole.narrow(dim, share.rank * count, count)


def own_slice(rows: int) -> slice:
    """Where a process' rows, this many, stand in the whole batch."""
    share = current_share()
    start = 0 if share is None else share.rank * rows
    return slice(start, start + rows)


def batch_average(x: Tensor) -> Tensor:
    """Mean over processes, wherever it is used afterwards; the gradient is averaged as well."""
    share = current_share()
    return x if share is None else _Average.apply(x, share)


def loss_average(x: Tensor) -> Tensor:
    """Mean over processes of something that only enters the loss.

    What follows must be computed from values that all processes have alike. Their gradients are
    then alike too, and the mean of equals needs no communication.
    """
    share = current_share()
    return x if share is None else _LossAverage.apply(x, share)


def gathered(x: Tensor) -> Tensor:
    """Rows of all processes in the order of the batch, (n, ...) -> (N, ...); no gradient."""
    share = current_share()
    if share is None:
        return x.detach()
    own = x.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(share.processes)]
    dist.all_gather(parts, own, group=share.group)
    return torch.cat(parts)


def rows_for_loss(x: Tensor) -> Tensor:
    """Rows of all processes, (n, ...) -> (N, ...), for a loss that all compute of them alike.

    Each then has the gradient of its own rows without asking anyone. It counts as often as there
    are processes, over which the gradients of weights are averaged.
    """
    share = current_share()
    return x if share is None else _RowsForLoss.apply(x, share)


def batch_variance(z: Tensor) -> Tensor:
    """Unbiased variance of each column over the whole batch, (n, D) -> (D,); for losses.

    The mean takes no gradient: deviations from it sum to zero, so that none is due.
    """
    if current_share() is None:
        return z.var(dim=0)
    centred = z - batch_average(z.detach().mean(dim=0))
    count = rows_of_all(len(z))
    return loss_average(centred.square().mean(dim=0)) * (count / (count - 1))


def batch_variances(parts: Sequence[Tensor]) -> list[Tensor]:
    """:func:`batch_variance` of several (n, D_i) over the same rows, in the messages of one."""
    if current_share() is None:
        return [batch_variance(z) for z in parts]
    together = batch_variance(torch.cat(list(parts), dim=1))
    return list(torch.split(together, [z.shape[1] for z in parts]))


@torch.no_grad()
def average_in_place(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over processes.

    They travel as a few flat pieces, each a single message: a network has a hundred gradients, and
    a message of its own for each costs more than its content.

    Args:
        tensors: the same shapes in every process, of one type and on one device.
    """
    share = current_share()
    if share is None:
        return
    under_way = []
    for piece in pieces(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in piece])
        work = dist.all_reduce(flat, group=share.group, async_op=True)
        under_way.append((piece, flat, work))
    for piece, flat, work in under_way:
        if work is not None:
            work.wait()
        flat.div_(share.processes)
        parts = torch.split(flat, [tensor.numel() for tensor in piece])
        shaped = [part.view(tensor.shape) for part, tensor in zip(parts, piece, strict=True)]
        torch._foreach_copy_(list(piece), shaped)


def pieces(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in the groups in which :func:`average_in_place` sends them, in order."""
    piece: list[Tensor] = []
    for tensor in tensors:
        if piece and sum(t.numel() for t in piece) + tensor.numel() > _PIECE:
            yield piece
            piece = []
        piece.append(tensor)
    if piece:
        yield piece


def _averaged(x: Tensor, share: Share) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=share.group)
    return total.div_(share.processes)


class _Average(torch.autograd.Function):
    """Mean over processes; its own adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return _averaged(x, share)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _averaged(gradients[0], ctx.share), None


class _LossAverage(_Average):
    """Mean over processes whose gradient is the same everywhere."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradients[0], None


class _RowsForLoss(torch.autograd.Function):
    """Rows of all processes whose gradient is the same everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share, ctx.rows = share, own_slice(len(x))
        return gathered(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][ctx.rows] * ctx.share.processes, None
