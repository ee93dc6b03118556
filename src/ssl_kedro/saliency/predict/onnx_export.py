"""A saliency model as one ONNX file, checked against the network it was made of.

The exporter is ``torch.onnx.export(dynamo=True)``: it traces with ``torch.export``, is the
default since PyTorch 2.9 and the one that is still maintained; the older TorchScript exporter
is deprecated. Weights are kept inside the file, which limits them to 2 GB.
"""

import contextlib
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

from ssl_kedro.core.errors import first_line
from ssl_kedro.core.files import replaced_file
from ssl_kedro.inference.onnx_file import (
    OPSET,
    ExportError,
    check_export_installed,
    check_opset,
    checked_difference,
    compared_images,
    run_onnx,
    written_opset,
)
from ssl_kedro.saliency.predict.prediction import model_at_work


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far it is from the network.

    Args:
        path: of the file.
        opset: version of the ONNX operators in the file.
        bytes: of the file.
        images: compared, random and real.
        difference: largest absolute difference of a pixel of a map.
        lowest, highest: values of the network's maps, what the difference compares with.
        export_s, check_s: seconds for tracing and writing, and for running both.
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
    height: int,
    width: int,
    opset: int = OPSET,
    *,
    images: np.ndarray | None = None,
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

    Raises:
        NotInstalledError: onnx, onnxscript or onnxruntime is not installed.
        ValueError: an opset below 18, or images of another shape or type.
        ExportError: the model cannot be exported, or a pixel of the file's maps differs
            by more than :data:`TOLERANCE`; there is no file then.
    """
    check_export_installed("onnxscript")
    check_opset(opset)
    compared = compared_images(images, height, width, noise=2)
    with model_at_work(model, torch.device("cpu")), replaced_file(path) as temporary:
        began = time.perf_counter()
        _write(model, temporary, compared[:2], opset)
        exported = time.perf_counter()
        with torch.inference_mode():
            expected = torch.cat([model(part) for part in torch.split(compared, 1)])
        found = run_onnx(temporary, compared)
        difference = checked_difference(path, found, expected, "maps")
        return ExportReport(
            path,
            written_opset(temporary),
            temporary.stat().st_size,
            len(compared),
            difference,
            float(expected.min()),
            float(expected.max()),
            export_s=exported - began,
            check_s=time.perf_counter() - exported,
        )


def _write(model: nn.Module, path: Path, example: Tensor, opset: int) -> None:
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                model,
                (example,),
                path,
                input_names=["images"],
                output_names=["saliency"],
                opset_version=opset,
                dynamo=True,
                # A batch of one would be taken for a constant.
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        # Many kinds from many places; the exporter's own text runs over pages.
        raise ExportError(
            f"the model cannot be exported at opset {opset}: {first_line(error)}. See the error "
            "above for the operation at fault, or try a newer opset"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own progress and on its own deprecations."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
