"""Gates: which channels of a residual block are worth computing, for this image or for all."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import own_rows, rows_of_all


def global_average(x: Tensor) -> Tensor:
    """Mean over a map, (N, C, H, W) -> (N, C), in float32.

    Written as a scaled sum: the gradient of a sum is a broadcast, that of a mean fills and
    divides a whole map (7 % of a training step on a CPU).
    """
    pixels = x.shape[2] * x.shape[3]
    reduced = x.dtype in {torch.bfloat16, torch.float16}
    if reduced and x.requires_grad and not torch.compiler.is_compiling():
        summed: Tensor = _SumOfMap.apply(x)
        return summed / pixels
    return x.sum(dim=(2, 3), dtype=torch.float32) / pixels


class _SumOfMap(torch.autograd.Function):
    """Sum over a map in float32, whose gradient stays a broadcast in the map's own type.

    Autograd would cast the broadcast gradient pixel by pixel, into a whole map of another memory
    order, which is then added to maps of the other order (3 % of a training step).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return x.sum(dim=(2, 3), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        return gradient.to(ctx.dtype)[:, :, None, None].expand(ctx.shape)


class Gate(nn.Module, ABC):
    """Decides per sample which channels of a block's first convolution are computed.

    A subclass says where the logits come from. In training a channel is open with
    probability sigmoid(logit): logistic noise, which is the difference of two Gumbel draws,
    is added and the result thresholded, with the gradient of the sigmoid at ``temperature``
    passed straight through. In evaluation a channel is open where its logit is >= 0.

    ``opening`` is added to the logits in training: a warm-up sets it high, so that gates start
    open, and lets it fall to 0. Decisions and evaluation do not know it. It lives on the device,
    where a recorded training step reads it anew each time.

    ``seen``, where it is a list, takes in the logits of each pass, for losses on them.

    Args:
        temperature: of the relaxed Bernoulli in training (2/3 in the authors' code).
    """

    _opening: Tensor

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.seen: list[Tensor] | None = None
        self.register_buffer("_opening", torch.zeros(()), persistent=False)

    @property
    def opening(self) -> float:
        """What is added to the logits in training. Reading it waits for the device."""
        return float(self._opening)

    @opening.setter
    def opening(self, value: float) -> None:
        self._opening.fill_(value)

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of the decision for one sample."""

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Relevance of each channel, (N, C_out), from a block's input (N, C_in, H, W)."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Binary mask (N, C_out) in float32; in training its gradient is the relaxed one.

        Args:
            x: the block's input, (N, C_in, H, W).
            generator: source of the training noise, on x's device; None draws from torch's
                default generator.
        """
        return self.sample(self.logits(x), generator)

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Mask of given logits: drawn in training, their sign in evaluation."""
        if self.seen is not None:
            self.seen.append(logits)
        if not self.training:
            return (logits >= 0).to(logits.dtype)
        return straight_through_sample(logits + self._opening, self.temperature, generator)


class ChannelGate(Gate):
    """A gate that looks at the image.

    Global average pool -> 1x1 convolution C_in -> C_in / r -> batch norm -> ReLU -> 1x1
    convolution -> C_out logits (thesis eq. 6.2; both convolutions without bias, written as
    linear layers because the map is 1x1 after pooling).

    Args:
        in_channels: channels of the block's input, C_in.
        out_channels: channels of the block's first convolution, C_out.
        reduction: r, by which the hidden layer is narrower than the input.
        temperature: as in :class:`Gate`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        reduction: int = 4,
        temperature: float = 2 / 3,
    ) -> None:
        super().__init__(temperature)
        hidden = max(1, in_channels // reduction)
        self.squeeze = nn.Linear(in_channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.expand = nn.Linear(hidden, out_channels, bias=False)

    @property
    def macs(self) -> int:
        """Of the two convolutions."""
        return self.squeeze.weight.numel() + self.expand.weight.numel()

    def logits(self, x: Tensor) -> Tensor:
        """From the mean of each input channel; see :class:`Gate`."""
        # In float32 whatever the precision around it: the threshold at 0 must not move
        # between training and evaluation.
        with torch.autocast(x.device.type, enabled=False):
            pooled = global_average(x)
            logits: Tensor = self.expand(torch.relu(self.norm(self.squeeze(pooled))))
        return logits


class StaticGate(Gate):
    """A gate that sees no image: one learnt logit a channel, 0 at the start.

    The question whether gates gain anything from the image, asked in training: noise, gradient
    and penalty are those of :class:`ChannelGate`, and each sample draws for itself.

    Args:
        out_channels: channels of the block's first convolution, C_out.
        temperature: as in :class:`Gate`.
    """

    def __init__(self, out_channels: int, *, temperature: float = 2 / 3) -> None:
        super().__init__(temperature)
        self.logit = nn.Parameter(torch.zeros(out_channels))

    @property
    def macs(self) -> int:
        """None: there is nothing to compute."""
        return 0

    def logits(self, x: Tensor) -> Tensor:
        """The same for every sample; see :class:`Gate`."""
        return self.logit.expand(len(x), -1)


def straight_through_sample(
    logits: Tensor, temperature: float, generator: torch.Generator | None = None
) -> Tensor:
    """Hard Bernoulli(sigmoid(logits)) samples with the gradient of their relaxation.

    Binary concrete distribution (Maddison et al. 2017; Jang et al. 2017): the relaxed sample
    is sigmoid((logits + L) / temperature) with L logistic, the hard one is relaxed >= 1/2.
    """
    uniform = own_rows(
        torch.rand(
            (rows_of_all(len(logits)), *logits.shape[1:]),
            generator=generator,
            device=logits.device,
            dtype=logits.dtype,
        )
    )
    # Keeps both logarithms finite; the probability moved is below float32 resolution.
    uniform = uniform.clamp(torch.finfo(logits.dtype).tiny, 1 - torch.finfo(logits.dtype).eps)
    noise = torch.log(uniform) - torch.log1p(-uniform)
    relaxed = torch.sigmoid((logits + noise) / temperature)
    hard = (relaxed >= 0.5).to(relaxed.dtype)
    # The difference in brackets is exactly 0, so that the mask is exactly 0 or 1.
    return hard + (relaxed - relaxed.detach())
