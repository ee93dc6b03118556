"""Writing a module as one ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 18


class ExportError(RuntimeError):
    """A network that cannot be exported, or whose file computes something else."""


def write_onnx(
    network: nn.Module,
    path: Path,
    example: tuple[Tensor, ...],
    *,
    names: Sequence[str],
    any_batch: bool = False,
    opset: int = OPSET,
) -> None:
    """Trace the network with ``torch.export`` and write it with its weights inside.

    Args:
        network: gives one tensor, "features".
        path: of the file.
        example: inputs.
        names: of the inputs.
        any_batch: leave the batch size open; the examples then hold at least two.
        opset: version of the ONNX operators; the exporter writes none below 18.

    Raises:
        ExportError: the exporter refuses.
    """
    shapes = tuple({0: torch.export.Dim("batch")} for _ in example) if any_batch else None
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                network,
                example,
                path,
                input_names=list(names),
                output_names=["features"],
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        # Many kinds from many places; the exporter's own text runs over pages.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"the network cannot be exported at opset {opset}: {reason}. See the error above for "
            "the operation at fault, or try a newer opset"
        ) from error


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
