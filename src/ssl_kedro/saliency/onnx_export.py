"""A saliency model as one ONNX file, checked against the network it was made of.

The exporter is ``torch.onnx.export(dynamo=True)``: it traces with ``torch.export``, is the
default since PyTorch 2.9 and the one that is still maintained; the older TorchScript exporter
is deprecated. Weights are kept inside the file, which limits them to 2 GB.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.core.files import replaced_file
from ssl_kedro.saliency.predict import model_at_work

INPUT, OUTPUT = "images", "saliency"
TOLERANCE = 1e-4
_LOWEST_OPSET = 18
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


class ExportError(RuntimeError):
    """A model that cannot be exported, or whose file computes something else."""


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far it is from the network.

    Args:
        path: of the file.
        opset: version of the ONNX operators in the file.
        bytes: of the file.
        images: compared, random and real.
        difference: largest absolute difference of a pixel of a map.
        lowest: value of the network's maps; with ``highest``, what the difference compares with.
        highest: value of the network's maps.
        export_s: seconds for tracing and writing.
        check_s: seconds for running both.
    """

    path: Path
    opset: int
    bytes: int
    images: int
    difference: float
    lowest: float
    highest: float
    export_s: float
    check_s: float


def export_onnx(
    model: nn.Module,
    path: Path,
    height: int = 160,
    width: int = 320,
    opset: int = 18,
    *,
    images: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> ExportReport:
    """Write encoder and decoder as one ONNX file and compare it with PyTorch.

    The file takes ``images``, float32 (N, 3, height, width) in [0, 1], RGB, for any N, and
    gives ``saliency``, float32 (N, 1, h, w). It is compared on the CPU at batches of 1 and of
    several images, and takes its place only when it agrees: an older file stays otherwise.

    Args:
        model: the whole network; left as it was.
        path: of the file.
        height: of the images in px; fixed in the file.
        width: of the images in px; fixed in the file.
        opset: version of the ONNX operators; at least 18.
        images: real ones to compare with besides random noise, uint8 (N, 3, height, width).
        tolerance: largest difference of a pixel that is allowed.

    Raises:
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is not installed.
        ValueError: an opset below 18, or images of another shape or type.
        ExportError: the model cannot be exported, or the file differs by more than
            ``tolerance``; there is no file then.
    """
    check_export_installed()
    if opset < _LOWEST_OPSET:
        raise ValueError(
            f"opset = {opset}: expected at least {_LOWEST_OPSET}, the first that the exporter "
            "writes (it would write that one without a word)"
        )
    compared = _compared_images(images, height, width)
    with model_at_work(model, torch.device("cpu")), replaced_file(path) as temporary:
        began = time.perf_counter()
        _write(model, temporary, compared[:2], opset)
        exported = time.perf_counter()
        with torch.inference_mode():
            expected = torch.cat([model(part) for part in torch.split(compared, 1)]).numpy()
        found = _run(temporary, compared.numpy())
        difference = _difference(found, expected)
        if not difference <= tolerance:  # also where it is not a number
            raise ExportError(
                f"{path}: the ONNX file differs from the network by {difference:.3g} in a map of "
                f"{expected.min():.3g} to {expected.max():.3g}; expected at most {tolerance:g}. "
                "No file was written; try another opset, or another version of onnxruntime"
            )
        size = temporary.stat().st_size
        written = _opset(temporary)
        checked = time.perf_counter()
    return ExportReport(
        path=path,
        opset=written,
        bytes=size,
        images=len(compared),
        difference=difference,
        lowest=float(expected.min()),
        highest=float(expected.max()),
        export_s=exported - began,
        check_s=checked - exported,
    )


def check_export_installed() -> None:
    """Raise ModuleNotFoundError, which says how to install it, if a package is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"ONNX export needs {', '.join(missing)}, which is not installed: "
            "pip install ssl_kedro[export]",
            name=missing[0],
        )


def _compared_images(images: np.ndarray | None, height: int, width: int) -> Tensor:
    """Noise, an even grey, and the given images, float32 (N, 3, height, width) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 3, height, width, generator=generator)
    parts = [noise, torch.full((1, 3, height, width), 0.5)]
    if images is not None:
        if images.dtype != np.uint8 or images.shape[1:] != (3, height, width):
            raise ValueError(
                f"expected images to compare with as uint8 (N, 3, {height}, {width}), found "
                f"{images.dtype} {images.shape}"
            )
        parts.append(torch.from_numpy(images).float() / 255)
    return torch.cat(parts)


def _write(model: nn.Module, path: Path, example: Tensor, opset: int) -> None:
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                model,
                (example,),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=opset,
                dynamo=True,
                # A batch of one would be taken for a constant.
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        # Many kinds from many places; the exporter's own text runs over pages.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"the model cannot be exported at opset {opset}: {reason}. See the error above for "
            "the operation at fault, or try a newer opset"
        ) from error


def _run(path: Path, images: np.ndarray) -> np.ndarray:
    """Maps by ONNX Runtime: the first image alone, then the others together."""
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    parts = [session.run([OUTPUT], {INPUT: part})[0] for part in (images[:1], images[1:])]
    return np.concatenate(parts)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        raise ExportError(
            f"the ONNX file gives maps of shape {found.shape}, the network {expected.shape}"
        )
    return float(np.abs(found - expected).max())


def _opset(path: Path) -> int:
    import onnx  # noqa: PLC0415  optional

    model = onnx.load(str(path), load_external_data=False)
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return int(max(versions))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own progress and on its own deprecations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
