"""How much memory an engine takes, measured in a process of its own."""

import ctypes
import functools
import gc
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_kedro.core.precision import Precision
from ssl_kedro.inference.engines.base import Engine
from ssl_kedro.inference.engines.packaged import (
    CompiledEngine,
    OnnxRuntimeEngine,
    OpenVinoEngine,
    TorchEngine,
)
from ssl_kedro.inference.engines.probe import EngineName
from ssl_kedro.inference.native.kernel import NativeNetwork
from ssl_kedro.inference.planned import PlannedNetwork

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Batches after which an engine has what it needs.
_BATCHES = 3


def engine_memory_mb(
    make: Callable[[], Engine], batch_size: int, image_size: int, *, seconds: float = 120.0
) -> float | None:
    """Resident memory in MB that an engine adds to a process at most, while it loads and runs.

    The engine is built and run in a process forked from one that has computed nothing but has
    loaded PyTorch and this project. These do not count; the engine's own package does, and all
    that it allocates. No other engine's freed memory hides it.

    Args:
        make: builds the engine; pickled, so a partial of a class with plain arguments.
        batch_size: images a batch.
        image_size: side in px.
        seconds: after which the process is ended and nothing is known.

    Returns:
        None where the system does not tell (it is not Linux), or the engine fails there.
    """
    if not _RESET.exists():
        return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, make, batch_size, image_size))
    process.start()
    theirs.close()
    try:
        return float(ours.recv()) if ours.poll(seconds) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()
        ours.close()


def _measure(
    answer: Connection, make: Callable[[], Engine], batch_size: int, image_size: int
) -> None:
    """In the process of its own: build, run, tell."""
    images = torch.rand(batch_size, 3, image_size, image_size)
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    _RESET.write_text("5")  # the peak from here on: proc(5)
    before = _status_mb("VmRSS")
    engine = make()
    for _ in range(_BATCHES):
        engine(images)
    answer.send(_status_mb("VmHWM") - before)


def _status_mb(name: str) -> float:
    """A line of the process' status in MB (10^6 bytes); its kB are 1024 bytes (proc(5))."""
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(found.split()[1]) * 1024 / 1e6


def engine_maker(
    engine: EngineName,
    network: PlannedNetwork,
    file: bytes | None,
    batch_size: int,
    image_size: int,
    threads: int,
    precision: Precision,
    calibration: np.ndarray | None,
) -> Callable[[], Engine]:
    """What builds an engine as a race does, in another process as well.

    Args:
        engine: as it is asked for.
        network: gated, static or dense.
        file: the same as an ONNX file in this precision, for engines that read one.
        batch_size: images a batch.
        image_size: side in px.
        threads: of the engine.
        precision: that it computes in.
        calibration: images for int8, of engines that quantise themselves.

    Raises:
        ValueError: the engine reads a file and there is none.
    """
    if engine == "native":
        given: dict[str, Any] = {}
        if precision != "f32":
            given = {"precision": precision, "calibration": calibration}
        return functools.partial(NativeNetwork, network, image_size, threads, **given)
    if engine == "eager":
        return functools.partial(TorchEngine, network, batch_size, threads, precision)
    if engine == "compiled":
        example = torch.rand(batch_size, 3, image_size, image_size)
        return functools.partial(
            CompiledEngine, network, batch_size, threads, (example,), precision
        )
    if file is None:
        raise ValueError(f"{engine} reads an ONNX file, and there is none of this network")
    kind = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}[engine]
    return functools.partial(kind, file, batch_size, threads, precision)
