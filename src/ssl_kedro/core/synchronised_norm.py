"""Batch norm over a batch that several processes share, on any device.

torch's own ``SyncBatchNorm`` takes CUDA tensors only, and its host waits for the device in each
forward pass, to leave out processes without rows. This one computes each process' moments with
torch's fused kernels, combines them in one message of 2 C numbers, and normalises with the kernel
of evaluation mode; the backward pass is the same the other way round. Nothing in it waits.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules import batchnorm

from ssl_kedro.core.collectives import Share, current_share

_backward = torch.ops.aten.native_batch_norm_backward


class SynchronisedBatchNorm(batchnorm._BatchNorm):
    """Batch norm whose statistics in training are those of the whole shared batch.

    Parameters, buffers and their names are those of ``nn.BatchNorm1d`` and ``nn.BatchNorm2d``, and
    outside a shared batch, in evaluation or without running statistics it computes what they do.
    The running variance takes the unbiased variance of the whole batch.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected (N, C, ...), found {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...) per channel."""
        share = current_share()
        if share is None or not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        factor = self._running_factor()
        normalised, mean, variance, count = _Normalised.apply(
            input, self.weight, self.bias, self.eps, share
        )
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(mean, factor)
            self.running_var.lerp_(variance * (count / (count - 1)), factor)
        return normalised  # type: ignore[no-any-return]

    def _running_factor(self) -> float:
        """Weight of this batch in the running statistics; counts the batch."""
        if self.num_batches_tracked is not None and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum


def synchronised(module: nn.Module) -> nn.Module:
    """The module with every batch norm in it synchronised; weights and names stay.

    Args:
        module: changed in place, unless it is itself a batch norm.

    Returns:
        The module, or what replaces it.
    """
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return _replacement(module)
    for name, child in module.named_children():
        replaced = synchronised(child)
        if replaced is not child:
            module.register_module(name, replaced)
    return module


def _replacement(norm: batchnorm._BatchNorm) -> SynchronisedBatchNorm:
    found = SynchronisedBatchNorm(
        norm.num_features,
        norm.eps,
        norm.momentum,
        affine=False,
        track_running_stats=norm.track_running_stats,
    )
    # The very tensors, so that whoever holds them holds ours.
    found.affine, found.weight, found.bias = norm.affine, norm.weight, norm.bias
    found.running_mean, found.running_var = norm.running_mean, norm.running_var
    found.num_batches_tracked = norm.num_batches_tracked
    return found.train(norm.training)


class _Normalised(torch.autograd.Function):
    """(x - m) / sqrt(v + eps) * weight + bias with m and v over all processes.

    With x^ the normalised input and g the gradient of the output,
    dx = weight / sqrt(v + eps) * (g - mean(g) - x^ mean(g x^)), the means over the whole batch. The
    gradients of weight and bias are this process' own sums, as everywhere.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, share: Share
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        mean, variance = _moments(x, share)
        count = x.numel() // x.shape[1] * share.processes
        out = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.share, ctx.count = eps, share, count
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # In evaluation mode the kernel takes m and v for constants, and its gradients of weight
        # and bias are the sums of g x^ and of g.
        scale = torch.ones_like(mean) if weight is None else weight
        direct, of_weight, of_bias = _backward(
            gradients[0], x, scale, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_weight, of_bias])
        dist.all_reduce(sums, group=ctx.share.group)
        through = sums * (-scale * torch.rsqrt(variance + ctx.eps) / ctx.count)
        indirect = torch.native_batch_norm(
            x, through[0], through[1], mean, variance, False, 0.0, ctx.eps
        )[0]
        given = ctx.needs_input_grad
        return (
            direct.add_(indirect) if given[0] else None,
            of_weight if given[1] else None,
            of_bias if given[2] else None,
            None,
            None,
        )


def _moments(x: Tensor, share: Share) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel over all processes, float32 (C,)."""
    # The statistics of half precision are float32.
    kind = torch.promote_types(x.dtype, torch.float32)
    scratch = torch.zeros(2, x.shape[1], dtype=kind, device=x.device)
    mean, variance = torch.batch_norm_update_stats(x, scratch[0], scratch[1], 0.0)
    # E x^2 - m^2 over processes in float64: it loses no digit that float32 has.
    moments = torch.stack([mean.double(), variance.double() + mean.double().square()])
    dist.all_reduce(moments, group=share.group)
    moments.div_(share.processes)
    found = moments[1] - moments[0].square()
    return moments[0].to(mean.dtype), found.clamp_(min=0).to(mean.dtype)
