"""Numbers that are not finite: noticed without waiting for the device, and never applied."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_kedro.core.errors import UserError
from ssl_kedro.methods.base import StepResult

_cuda: Any = torch.cuda  # parts of it carry no types


class TrainingDiverged(UserError, RuntimeError):  # noqa: N818  the field's word for it
    """Loss or gradient stopped being finite; weights are those before that step.

    Cause: the learning rate is too high for the batch size, or a weight of the loss is.
    Remedy: lower ``train.lr``, or lengthen ``train.warmup_epochs``.
    """


@dataclass(frozen=True)
class Divergence:
    """The first step that was not finite.

    Args:
        step: counted from 0 over the whole training.
        loss: its loss.
        scalars: its named terms.
    """

    step: int
    loss: float
    scalars: dict[str, float]


class DivergenceWatch:
    """Remembers on the device the first step that was not finite, and tells the host late.

    ``bad`` is false until a step is not finite and true from then on. The host reads it from
    pinned memory ``lag`` steps later, so that it runs that far ahead of the device and waits
    only for steps that are behind it.

    Args:
        device: of the training.
        lag: steps between a step and the reading of its flag, at least 1.
    """

    def __init__(self, device: torch.device, lag: int) -> None:
        self.lag = lag
        self.bad = torch.zeros((), dtype=torch.bool, device=device)
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._values: Tensor | None = None
        self._names: tuple[str, ...] = ()
        self._flags: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()

    def observe(self, step: Tensor, result: StepResult, finite: Tensor) -> None:
        """Take in one step; on the device only.

        Args:
            step: its number, int64 scalar on the device.
            result: its loss and terms.
            finite: whether it was, a boolean scalar.
        """
        terms = [result.loss.detach(), *result.scalars.values()]
        values = torch.stack([value.detach().float() for value in terms])
        if self._values is None:
            self._values = torch.zeros_like(values)
            self._names = tuple(result.scalars)
        first = ~finite & ~self.bad
        torch.where(first, values, self._values, out=self._values)
        torch.where(first, step, self._step, out=self._step)
        self.bad.logical_or_(~finite)

    def noticed(self) -> bool:
        """Whether a step at least ``lag`` steps back was not finite; call once a step."""
        if self.bad.device.type == "cuda":
            flag = torch.empty((), dtype=torch.bool, pin_memory=True)
            flag.copy_(self.bad, non_blocking=True)
            event = _cuda.Event()
            event.record()
            self._flags.append((flag, event))
        else:
            self._flags.append((self.bad.clone(), None))
        if len(self._flags) <= self.lag:
            return False
        flag, done = self._flags.popleft()
        if done is not None:
            done.synchronize()
        return bool(flag)

    def found(self) -> Divergence | None:
        """The first step that was not finite, or None. Waits for the device."""
        self._flags.clear()
        if not self.bad or self._values is None:
            return None
        loss, *terms = self._values.tolist()
        return Divergence(int(self._step), loss, dict(zip(self._names, terms, strict=True)))

    def forget(self) -> None:
        """Start afresh, in the same tensors."""
        self.bad.fill_(False)
        self._flags.clear()


class StateGuard:
    """Takes a step back on the device where it was not finite, and later ones with it.

    Before a step all state is copied; behind it every tensor t becomes where(bad, copy, t),
    which is t itself, to the bit, as long as nothing was wrong. Multiplying updates by 0 would
    not do: 0 x NaN is NaN, and a running statistic has no update to multiply.

    Args:
        method: whose parameters and buffers are guarded.
        optimiser: whose state is guarded; what its first step creates counts as zeros before.
    """

    def __init__(self, method: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        trained = {name for name, p in method.named_parameters() if p.requires_grad}
        state = method.state_dict()
        self._optimiser = optimiser
        self._weights = _Copies([state[name] for name in state if name in trained])
        # Running statistics, queues, targets: they move in the forward pass or after an update.
        self._others = _Copies([state[name] for name in state if name not in trained])
        self._moments = _Copies(_state_tensors(optimiser))

    def remember(self) -> None:
        """Copy all state; before the forward pass."""
        for copies in (self._weights, self._others, self._moments):
            copies.take()

    @torch.no_grad()
    def restore_trained(self, bad: Tensor) -> None:
        """Weights and optimiser state as remembered where bad; after the optimiser's step."""
        self._weights.put_back(bad)
        self._moments.add_zeros(_state_tensors(self._optimiser))
        self._moments.put_back(bad)

    @torch.no_grad()
    def restore_others(self, bad: Tensor) -> None:
        """Everything else as remembered where bad; after the method's last word on the step."""
        self._others.put_back(bad)

    @torch.no_grad()
    def restore_all(self, bad: Tensor) -> None:
        """Both."""
        self.restore_trained(bad)
        self.restore_others(bad)


class _Copies:
    """Tensors and room for a copy of each."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors: list[Tensor] = []
        self._copies: list[Tensor] = []
        # One multi-tensor kernel copies what is of one type.
        self._groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        self.add_zeros(tensors)

    def add_zeros(self, tensors: Sequence[Tensor]) -> None:
        """Look after further tensors too, which were zeros before; known ones are left out."""
        if len(tensors) == len(self._tensors):
            return
        known = {id(tensor) for tensor in self._tensors}
        for tensor in tensors:
            if id(tensor) not in known:
                copy = torch.zeros_like(tensor)
                self._tensors.append(tensor)
                self._copies.append(copy)
                to, source = self._groups.setdefault(tensor.dtype, ([], []))
                to.append(copy)
                source.append(tensor)

    @torch.no_grad()
    def take(self) -> None:
        """Copy them as they are now."""
        for to, source in self._groups.values():
            torch._foreach_copy_(to, source)

    def put_back(self, bad: Tensor) -> None:
        """Copies over the tensors where bad."""
        for copy, tensor in zip(self._copies, self._tensors, strict=True):
            torch.where(bad, copy, tensor, out=tensor)


def _state_tensors(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [
        value
        for state in optimiser.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]
