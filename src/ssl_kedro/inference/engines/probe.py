"""The fastest engine on this machine, by a short race."""

import functools
import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.extras import absent, how_to_install
from ssl_kedro.core.precision import PRECISIONS, Precision, processor_lacks
from ssl_kedro.core.race import first_within, prepared, race, seconds_of
from ssl_kedro.inference.engines.base import Engine, EngineUnavailableError
from ssl_kedro.inference.engines.packaged import (
    CompiledEngine,
    OnnxRuntimeEngine,
    OpenVinoEngine,
    TorchEngine,
    compiled_needs,
    onnx_bytes,
)
from ssl_kedro.inference.native import build
from ssl_kedro.inference.native.kernel import NativeNetwork
from ssl_kedro.inference.planned import PlannedNetwork

K = TypeVar("K", bound=str)
_LOG = logging.getLogger(__name__)

EngineName = Literal["native", "openvino", "onnxruntime", "compiled", "eager"]
ENGINES: tuple[EngineName, ...] = ("native", "openvino", "onnxruntime", "compiled", "eager")
# Precisions in which each engine computes.
_OFFERED: dict[EngineName, tuple[Precision, ...]] = {
    "native": ("f32", "int8"),
    "openvino": PRECISIONS,
    "onnxruntime": ("f32", "int8"),
    "compiled": ("f32", "bf16"),
    "eager": ("f32", "bf16"),
}
# Behind the leader by this much after the first rounds, an engine leaves the race.
_HOPELESS = 1.5
_FIRST_ROUNDS = 3
# Fast batches are timed for at least so long: interruptions come in spells.
_SHORTEST_S = 0.5


@dataclass(frozen=True)
class EngineTiming:
    """One engine in the race.

    Args:
        name: of the engine, as it is asked for.
        engine: its name for reports.
        ms: median milliseconds of a batch; None if it did not run.
        rounds: how many were timed.
        reason: why it did not run; "" if it did.
    """

    name: EngineName
    engine: str
    ms: float | None
    rounds: int
    reason: str


@dataclass(frozen=True)
class Probe:
    """A race and who won it.

    Args:
        engine: the fastest, as it is asked for.
        chosen: its name for reports.
        batch_size: images a batch.
        image_size: side in px.
        threads: of each engine.
        timings: of all engines, in the order in which they were asked for.
        precision: in which they computed.
    """

    engine: EngineName
    chosen: str
    batch_size: int
    image_size: int
    threads: int
    timings: tuple[EngineTiming, ...]
    precision: Precision = field(default="f32", kw_only=True)


def fastest_engine(
    network: PlannedNetwork,
    batch_size: int,
    image_size: int,
    *,
    images: Tensor | None = None,
    masks: Tensor | None = None,
    threads: int | None = None,
    engines: Sequence[EngineName] = ENGINES,
    precision: Precision = "f32",
    calibration: np.ndarray | None = None,
    rounds: int = 15,
    seconds: float = 10.0,
) -> tuple[Engine, Probe]:
    """The engine with the smallest median time of a batch.

    Engines take turns, so that a change of the machine's load meets all of them alike. All of
    them compute the same features: where the native kernel loses, a plain engine that masks
    channels after computing them is taken, and a network without dependent channels is a plain
    dense network for each of them.

    Args:
        network: gated, static or dense.
        batch_size: images a batch.
        image_size: side in px.
        images: real ones to race with, float (batch_size, 3, image_size, image_size) in [0, 1];
            the native kernel's time depends on what the gates open. None = noise.
        masks: (batch_size, dependent): race under imposed masks, for measurements. The engine
            then expects masks at every call.
        threads: of each engine; None = as many as PyTorch has.
        engines: those that take part; packages that are missing, and engines without the
            precision, are passed over.
        precision: that they compute with. Features change with it: measure accuracies again.
        calibration: training images, uint8 (N, 3, image_size, image_size), some hundred: ranges
            of activations for int8. Other precisions do not look at them.
        rounds: timed batches for each engine, at least; more where they are short.
        seconds: after which the race ends, when each engine has run a few times.

    Raises:
        EngineUnavailableError: none of the engines can be used.
        ValueError: images of another shape, or int8 without images to calibrate on.
    """
    shape = (batch_size, 3, image_size, image_size)
    if images is None:
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if images.shape != shape or not images.is_floating_point():
        raise ValueError(
            f"expected images to race with as float {shape}, found {images.dtype} "
            f"{tuple(images.shape)}"
        )
    threads = threads or torch.get_num_threads()
    example = (images,) if masks is None else (images, masks.float())
    built, reasons = build_engines(network, engines, example, threads, precision, calibration)
    if not built:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise EngineUnavailableError(f"no engine can be used in {precision} ({told})")
    calls = {name: functools.partial(engine, images, masks) for name, engine in built.items()}
    times = timed_in_turns(calls, rounds, seconds, _HOPELESS)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = first_within(medians)
    timings = tuple(
        EngineTiming(name, built[name].name, 1e3 * medians[name], len(times[name]), "")
        if name in built
        else EngineTiming(name, name, None, 0, reasons[name])
        for name in engines
    )
    chosen = built[best].name
    probe = Probe(best, chosen, batch_size, image_size, threads, timings, precision=precision)
    ms = 1e3 * medians[best]
    _LOG.info("Engine %s, %s: %.3f ms a batch of %d", chosen, precision, ms, batch_size)
    return built[best], probe


def build_engines(
    network: PlannedNetwork,
    engines: Sequence[EngineName],
    example: tuple[Tensor, ...],
    threads: int,
    precision: Precision = "f32",
    calibration: np.ndarray | None = None,
) -> tuple[dict[EngineName, Engine], dict[EngineName, str]]:
    """Those of the engines that work here, and for the others the reason why not."""
    if precision == "int8" and calibration is None:
        raise ValueError(
            "int8 needs images to calibrate on: give some hundred of the training images"
        )
    batch_size, side = len(example[0]), example[0].shape[-1]
    quantised = calibration if precision == "int8" else None

    @functools.cache
    def exported() -> bytes:
        return onnx_bytes(network, side, masks=len(example) > 1, calibration=quantised)

    makers: dict[EngineName, Callable[[], Engine]] = {
        "native": lambda: NativeNetwork(
            network,
            side,
            threads,
            precision="f32" if quantised is None else "int8",
            calibration=quantised,
        ),
        "openvino": lambda: OpenVinoEngine(exported(), batch_size, threads, precision),
        "onnxruntime": lambda: OnnxRuntimeEngine(exported(), batch_size, threads, precision),
        "compiled": lambda: CompiledEngine(network, batch_size, threads, example, precision),
        "eager": lambda: TorchEngine(network, batch_size, threads, precision),
    }

    def make(name: EngineName) -> Engine:
        if lacking := _lacks_precision(name, precision):
            raise EngineUnavailableError(lacking)
        return makers[name]()

    built, faults = prepared(
        {name: functools.partial(make, name) for name in engines},
        lambda _, error: isinstance(error, EngineUnavailableError),
    )
    return built, {name: str(fault) for name, fault in faults.items()}


def _lacks_precision(engine: EngineName, precision: Precision) -> str:
    if precision not in _OFFERED[engine]:
        return f"it computes in {' and '.join(_OFFERED[engine])} only"
    return processor_lacks(precision)


def timed_in_turns(
    calls: Mapping[K, Callable[[], object]], rounds: int, seconds: float, hopeless: float = math.inf
) -> dict[K, list[float]]:
    """Seconds of each call, by :func:`~ssl_kedro.core.race.race`; each is made once before.

    Args:
        calls: what is timed.
        rounds: for each, at least; more where they are short.
        seconds: after which it ends, when each was called a few times.
        hopeless: who is behind the leader by this factor after the first rounds leaves.
    """
    for call in calls.values():
        call()
    return race(
        {name: seconds_of(call) for name, call in calls.items()},
        rounds,
        seconds=seconds,
        least_seconds=_SHORTEST_S,
        patience=_FIRST_ROUNDS,
        hopeless=hopeless,
    )


def why_unavailable(engine: EngineName, precision: Precision = "f32") -> str:
    """What an engine needs and this machine lacks, "" if nothing; a look that takes no time.

    An engine may still turn out to be unusable when it is built.
    """
    if lacking := _lacks_precision(engine, precision):
        return lacking
    if engine == "native":
        return build.why_unavailable()
    if engine == "compiled":
        return compiled_needs()
    if engine == "eager":
        return ""
    wanted = ("onnx", engine, *(("onnxruntime",) if precision == "int8" else ()))
    missing = absent(*wanted)
    told = f"{', '.join(missing)} is not installed"
    return f"{told}: {how_to_install(*missing)}" if missing else ""
