"""One optimisation step: forward, backward, and an update that is only made of finite numbers."""

from collections.abc import Callable

import torch
from torch import Tensor

from ssl_kedro.core.collectives import average_in_place
from ssl_kedro.core.progress import Progress
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.methods.base import StepResult, Trainable, Views
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.divergence import Divergence, DivergenceWatch, StateGuard, TrainingDiverged
from ssl_kedro.training.optimisers import build_optimiser, learning_rate
from ssl_kedro.training.recording import Recording

# Steps that a GPU may be ahead of the check for numbers that are not finite: enough to keep it
# busy, few enough that a diverged training ends at once.
DEVICE_LAG = 8
# Blocks share their code, which is compiled once for each of their shapes and branches.
_SHAPES_OF_A_BLOCK = 64


def compiled(method: Trainable) -> Callable[..., StepResult]:
    """A method's forward pass through ``torch.compile``; the method itself stays as it is.

    Gates draw their noise outside compiled code, from their own generator, so that the numbers
    drawn are the same.
    """
    forward = torch.compile(method, dynamic=False)

    def call(*arguments: object) -> StepResult:
        with torch._dynamo.config.patch(recompile_limit=_SHAPES_OF_A_BLOCK):
            result: StepResult = forward(*arguments)
        return result

    return call


class TrainingStep:
    """One optimisation step, with everything that stays the same between steps.

    On a GPU nothing of a step is read before the next is queued: learning rates and progress lie
    on the device, and a step that is not finite is taken back there, as are those queued behind
    it until the host has noticed. On a CPU each step is looked at before its update.

    Args:
        method: moved to the device, put in training mode and laid out as the execution says.
        config: the recipe.
        execution: where and how to compute.
        batches_per_epoch: for the schedule.
        lag: steps between a step and the moment that its finiteness is read. 0 waits for it
            before the weights are touched; else the device itself leaves all as it was before
            the first step that is not finite. None = 0 on a CPU, 8 on a GPU.
    """

    def __init__(
        self,
        method: Trainable,
        config: TrainConfig,
        execution: Execution,
        batches_per_epoch: int,
        lag: int | None = None,
    ) -> None:
        device = torch.device(execution.device)
        channels_last = execution.memory_format == "channels_last"
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.method = method.to(device=device).to(memory_format=layout)
        self.method.train()
        self.config = config
        self.execution = execution
        self.device = device
        self.batches_per_epoch = batches_per_epoch
        self.total_steps = config.epochs * batches_per_epoch
        self.parameters = [p for p in self.method.parameters() if p.requires_grad]
        self.noise = torch.Generator(device=device)
        # What changes from step to step is a tensor where the step is recorded or compiled: a
        # number would be frozen in.
        fixed = device.type == "cuda" or execution.recorded or execution.compiled
        self.optimiser = build_optimiser(
            self.method, config, device if fixed else None, recorded=execution.recorded
        )
        zero = torch.zeros((), dtype=torch.float64, device=device)
        self._progress: Progress = zero if fixed else 0.0
        self._forward = compiled(self.method) if execution.compiled else self.method
        ahead = DEVICE_LAG if device.type == "cuda" or execution.recorded else 0
        self.lag = ahead if lag is None else max(lag, int(execution.recorded))
        self._delayed: DelayedUpdate | None = None

    def learning_rate(self, step: int) -> float:
        """Rate of a step counted from 0."""
        return learning_rate(self.config, step, self.batches_per_epoch)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Start the gates' noise of an epoch; a recording holds on to its generator."""
        self.noise.manual_seed(derived_seed(seed, "gates", epoch))

    def take(self, images: Tensor, views: Views, indices: Tensor, step: int) -> StepResult:
        """One whole step.

        Args:
            images: uint8 (N, 3, H, W), the batch.
            views: of it, as many as the method takes.
            indices: int64 (N,) on the CPU, its places among the training images.
            step: counted from 0.

        Returns:
            Loss and terms. Behind a recording they live until the next call.

        Raises:
            TrainingDiverged: this step, or one at most ``lag`` steps before, was not finite;
                the method is as it was before that step.
        """
        if self.lag == 0:
            self.begin(indices, step)
            result, finite = self.forward_backward(views)
            if not finite:
                scalars = {name: float(value) for name, value in result.scalars.items()}
                found = Divergence(step, float(result.loss.detach()), scalars)
                raise TrainingDiverged(self._told(found))
            self.optimiser.step()
            self.method.after_update(images, (step + 1) / self.total_steps)
            return result
        if self._delayed is None:  # not earlier: a resumed training first gets its state
            self._delayed = DelayedUpdate(self, self.lag, recorded=self.execution.recorded)
        result, noticed = self._delayed.take(images, views, indices, step)
        if noticed:
            self.settle()
        return result

    def settle(self) -> None:
        """Wait for the device and look at every step queued so far.

        Raises:
            TrainingDiverged: one was not finite.
        """
        found = self._delayed.watch.found() if self._delayed is not None else None
        if found is not None:
            raise TrainingDiverged(self._told(found))

    def begin(self, indices: Tensor, step: int) -> None:
        """Set what a step needs besides its views: rates, progress, the method's own."""
        lr = self.learning_rate(step)
        for group in self.optimiser.param_groups:
            rate = (lr if group["scheduled"] else self.config.peak_lr) * group["lr_factor"]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        progress = step / self.total_steps
        if isinstance(self._progress, Tensor):
            self._progress.fill_(progress)
        else:
            self._progress = progress
        self.method.before_step(progress, indices)

    def forward_backward(self, views: Views) -> tuple[StepResult, Tensor]:
        """Forward and backward pass of a step that has begun: its result, and if all is finite."""
        reduced = self.execution.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=reduced):
            result = self._forward(views, self._progress, self.noise)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(result.loss)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        loss = result.loss.detach().clone()
        # With the loss, so that processes that share the batch agree on whether all is finite.
        average_in_place([loss, *gradients])
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        finite = torch.isfinite(loss) & torch.isfinite(norm)
        return result, finite

    def _told(self, found: Divergence) -> str:
        epoch, index = divmod(found.step, self.batches_per_epoch)
        terms = ", ".join(f"{name} {value:g}" for name, value in found.scalars.items())
        return (
            f"training diverged in epoch {epoch + 1}, batch {index + 1}: loss {found.loss:g} "
            f"({terms}) at learning rate {self.learning_rate(found.step):g}. The weights were "
            "not updated with it and the last checkpoint is intact. Lower train.lr, lengthen "
            "train.warmup_epochs, or use train.precision=fp32"
        )


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
        self._compute: Callable[[Views], StepResult] = self._computed
        if recorded:
            self._compute = Recording(self._computed, step.noise, self._undo)

    def take(
        self, images: Tensor, views: Views, indices: Tensor, number: int
    ) -> tuple[StepResult, bool]:
        """Queue one step. Returns its result, and whether one was found not to be finite."""
        step = self._step
        step.begin(indices, number)
        self._number.fill_(number)
        result = self._compute(views)
        step.method.after_update(images, (number + 1) / step.total_steps)
        self.guard.restore_others(self.watch.bad)
        return result, self.watch.noticed()

    def _computed(self, views: Views) -> StepResult:
        """Everything of a step that only the device has to see."""
        self.guard.remember()
        result, finite = self._step.forward_backward(views)
        self.watch.observe(self._number, result, finite)
        self._step.optimiser.step()
        self.guard.restore_trained(self.watch.bad)
        return result

    def _undo(self) -> None:
        """Take back the last step computed, whatever it gave."""
        self.guard.restore_all(torch.ones_like(self.watch.bad))
        self.watch.forget()
