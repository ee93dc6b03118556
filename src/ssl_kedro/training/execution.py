"""Choosing how to compute by a short trial on the machine at hand."""

import copy
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.errors import first_line
from ssl_kedro.core.precision import processor_lacks
from ssl_kedro.core.race import first_within, prepared, race
from ssl_kedro.methods.base import Trainable
from ssl_kedro.training.config import (
    Execution,
    MemoryFormat,
    TrainConfig,
    say_uncompiled,
    say_unrecorded,
)
from ssl_kedro.training.divergence import TrainingDiverged
from ssl_kedro.training.step import TrainingStep

logger = logging.getLogger(__name__)
# What comes later must win by this much: a tie keeps the exact arithmetic, and timing noise
# cannot flip the choice (and with it the numbers) from one run to the next.
_REQUIRED_SPEEDUP = 1.1
# A candidate this much slower than the best after a round takes no further part.
_HOPELESS = 1.5
_ROUNDS = 4


def choose_execution(
    method: Trainable, sample_shape: tuple[int, ...], config: TrainConfig
) -> Execution:
    """Device, precision, memory format, compilation and recording of a run.

    What is "auto" takes a few training steps of the run's own batch size on copies of the
    method, turn by turn, first the precisions and memory formats, then on a GPU the winner
    recorded, compiled and both. The fastest is taken unless one that comes before it, in the
    order above and with fp32 and channels_last first, is within 10 %. Which one wins depends on
    processor and width, so it is measured. What cannot be recorded or compiled is left out,
    with a line in the log; a method that says so itself is not recorded whatever ``graphs`` is,
    nor compiled whatever ``compile`` is. A CPU without instructions for bf16 computes in fp32,
    also where bf16 is asked for: what it would imitate takes many times as long.

    Args:
        method: a freshly built method, left untouched.
        sample_shape: of one view, (3, H, W) or whatever the method takes.
        config: the recipe.

    Raises:
        ValueError: ``graphs`` is "on" without a CUDA device.
        RuntimeError: no step could be computed in any way that the recipe leaves open.
    """
    device = resolved_device(config.device)
    config = _not_imitated(config, device)
    if config.graphs == "on" and device.type != "cuda":
        raise ValueError(f"train.graphs = on: {device} has none, only CUDA devices; use auto")
    if not method.recordable and config.graphs != "off":
        if device.type == "cuda":
            say_unrecorded(type(method))
        config = replace(config, graphs="off")
    if not method.compilable and config.compile != "off":
        if device.type == "cuda" or config.compile == "on":
            say_uncompiled(type(method))
        config = replace(config, compile="off")
    trial = Trial(method, sample_shape, config, device)
    way = trial.best(_eager_ways(config, device))
    way = trial.best(_faster_ways(way, config, device))
    least = {name: round(1000 * seconds, 1) for name, seconds in trial.least.items()}
    return replace(way, trial_ms=least)


def _not_imitated(config: TrainConfig, device: torch.device) -> TrainConfig:
    if (
        device.type != "cpu"
        or config.precision == "fp32"
        or not (lacking := processor_lacks("bf16"))
    ):
        return config
    if config.precision == "bf16":
        logger.info("Training in fp32: %s", lacking)
    return replace(config, precision="fp32")


def _eager_ways(config: TrainConfig, device: torch.device) -> list[Execution]:
    precisions = ["fp32", "bf16"] if config.precision == "auto" else [config.precision]
    formats: list[MemoryFormat] = ["channels_last", "contiguous"]
    if config.memory_format != "auto":
        formats = [config.memory_format]
    pairs = itertools.product(precisions, formats)
    return [Execution(str(device), precision, {}, layout) for precision, layout in pairs]


def _faster_ways(way: Execution, config: TrainConfig, device: torch.device) -> list[Execution]:
    """The winner, and what to try beyond it; a switch that is "on" leaves no choice."""
    choices = {"on": (True,), "off": (False,)}
    auto = (False, True) if device.type == "cuda" else (False,)
    pairs = itertools.product(choices.get(config.compile, auto), choices.get(config.graphs, auto))
    return [replace(way, compiled=compiled, recorded=recorded) for compiled, recorded in pairs]


class Trial:
    """Times ways to compute a step against each other.

    Args:
        method: left untouched; every way trains a copy.
        sample_shape: of one view.
        config: the recipe.
        device: where.
    """

    def __init__(
        self,
        method: Trainable,
        sample_shape: tuple[int, ...],
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self._method = method
        self._config = config
        self._device = device
        self._shape = (method.view_count, config.batch_size, *sample_shape)
        self.least: dict[str, float] = {}

    def best(self, ways: Sequence[Execution]) -> Execution:
        """The way to take; a single one is not tried.

        Raises:
            RuntimeError: none of them can be computed.
        """
        if len(ways) == 1:
            return ways[0]
        views = torch.rand(self._shape, device=self._device)
        runners, faults = prepared(
            {way: partial(self._warm, way, views) for way in ways},
            lambda way, _: way.compiled or way.recorded,
        )
        for way, fault in faults.items():
            logger.info("Training steps stay without %s: %s", way, first_line(fault))
        if not runners:
            raise RuntimeError(
                f"no training step could be computed as {' or as '.join(map(str, ways))}: "
                f"{fault}; use train.compile=off or train.graphs=auto"
            ) from fault
        times = race(runners, _ROUNDS - 1, hopeless=_HOPELESS)
        # Other work on the machine only ever adds time, and not to all ways alike.
        least = {way: min(seconds) for way, seconds in times.items()}
        self.least |= {str(way): best for way, best in least.items()}
        return first_within(least, _REQUIRED_SPEEDUP)

    def _warm(self, way: Execution, views: Tensor) -> Callable[[], float]:
        """A step that has been taken once: it allocates, picks kernels, compiles, records."""
        method = copy.deepcopy(self._method)
        step = TrainingStep(method, self._config, way, batches_per_epoch=1)
        _timed(step, views)
        return lambda: _timed(step, views)


def _timed(step: TrainingStep, views: Tensor) -> float:
    """Seconds of one step on views (V, N, 3, H, W)."""
    waits = views.device.type == "cuda"
    if waits:
        torch.cuda.synchronize(views.device)
    began = time.perf_counter()
    # A step on noise that is not finite takes as long as any other.
    try:
        step.take(views[0], views.unbind(), torch.arange(views.shape[1]), 0)
    except TrainingDiverged:
        logger.debug("a trial step was not finite")
    if waits:
        torch.cuda.synchronize(views.device)
    return time.perf_counter() - began
