"""A training step that nobody waits for: no number of it is read before the next is queued."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ssl_kedro.methods.base import StepResult
from ssl_kedro.training.divergence import DivergenceWatch, StateGuard
from ssl_kedro.training.recording import Recording

if TYPE_CHECKING:
    from ssl_kedro.training.step import TrainingStep


class DelayedUpdate:
    """Steps that are taken back on the device where they are not finite.

    Args:
        step: what is computed.
        lag: steps between a step and the reading of its finiteness.
        recorded: record the step once and replay it.
    """

    def __init__(self, step: TrainingStep, lag: int, *, recorded: bool) -> None:
        self._step = step
        self._number = torch.zeros((), dtype=torch.int64, device=step.device)
        self.watch = DivergenceWatch(step.device, lag)
        self.guard = StateGuard(step.method, step.optimiser)
        self._compute: Callable[[Tensor, Tensor], StepResult] = self._computed
        if recorded:
            self._compute = Recording(self._computed, step.noise, self._undo)

    def take(
        self, images: Tensor, view_1: Tensor, view_2: Tensor, indices: Tensor, number: int
    ) -> tuple[StepResult, bool]:
        """Queue one step. Returns its result, and whether one was found not to be finite."""
        step = self._step
        step.begin(indices, number)
        self._number.fill_(number)
        result = self._compute(view_1, view_2)
        step.method.after_update(images, (number + 1) / step.total_steps)
        self.guard.restore_others(self.watch.bad)
        return result, self.watch.noticed()

    def _computed(self, view_1: Tensor, view_2: Tensor) -> StepResult:
        """Everything of a step that only the device has to see."""
        self.guard.remember()
        result, finite = self._step.forward_backward(view_1, view_2, self._step.noise)
        self.watch.observe(self._number, result, finite)
        self._step.optimiser.step()
        self.guard.restore_trained(self.watch.bad)
        return result

    def _undo(self) -> None:
        """Take back the last step computed, whatever it gave."""
        self.guard.restore_all(torch.ones_like(self.watch.bad))
        self.watch.forget()
