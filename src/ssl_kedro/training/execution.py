"""Choosing the arithmetic by a short trial on the machine at hand."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import dataclass

import torch

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.methods.base import Trainable
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.loop import TrainingStep

# bfloat16 must win by this much: a tie keeps the exact arithmetic, and timing noise cannot
# flip the choice (and with it the numbers) from one run to the next.
_REQUIRED_SPEEDUP = 1.1


@dataclass(frozen=True)
class Execution:
    """Where and how trainings of one run compute.

    Args:
        device: e.g. "cpu" or "cuda".
        precision: "fp32" or "bf16".
        trial_ms: median milliseconds a training step of each precision that was tried.
    """

    device: str
    precision: str
    trial_ms: dict[str, float]


def choose_execution(
    method: Trainable, sample_shape: tuple[int, ...], config: TrainConfig
) -> Execution:
    """Device and precision of a run.

    With ``precision: auto`` both precisions take a few training steps of the run's own batch
    size on copies of the method, turn by turn; bf16 is chosen where it is at least 10 %
    faster. Which one wins depends on processor and width, so it is measured.

    Args:
        method: a freshly built method, left untouched.
        sample_shape: of one view, (3, H, W) or whatever the method takes.
        config: the recipe.
    """
    device = resolved_device(config.device)
    if config.precision != "auto":
        return Execution(str(device), config.precision, {})
    steps = {name: _trial(method, config, device, name) for name in ("fp32", "bf16")}
    views = torch.rand(2, config.batch_size, *sample_shape, device=device)
    noise = torch.Generator(device=device)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(4):
        for name, step in steps.items():
            elapsed = _timed(step, views, noise)
            if round_number > 0:  # the first round allocates and picks kernels
                seconds[name].append(elapsed)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    faster = medians["fp32"] >= _REQUIRED_SPEEDUP * medians["bf16"]
    return Execution(
        str(device),
        "bf16" if faster else "fp32",
        {name: round(1000 * value, 1) for name, value in medians.items()},
    )


def _trial(
    method: Trainable, config: TrainConfig, device: torch.device, precision: str
) -> TrainingStep:
    return TrainingStep(copy.deepcopy(method), config, precision, device, batches_per_epoch=1)


def _timed(step: TrainingStep, views: torch.Tensor, noise: torch.Generator) -> float:
    if views.device.type == "cuda":
        torch.cuda.synchronize(views.device)
    began = time.perf_counter()
    _, finite = step(views[0], views[1], torch.arange(views.shape[1]), 0, noise)
    step.update(views[0], 0)
    bool(finite)  # waits for the device
    return time.perf_counter() - began
