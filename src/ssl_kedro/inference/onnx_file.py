"""What every ONNX export shares: installed or not, images to compare on, the comparison."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.errors import UserError
from ssl_kedro.core.extras import require

OPSET = 18
TOLERANCE = 1e-4  # largest difference of an output that is allowed


class ExportError(UserError, RuntimeError):
    """A network that cannot be exported, or whose file computes something else.

    Cause: the exporter does not know an operation, or a written file was compared and differs.
    Remedy: see the reason in the message; export after a run with the same parameters.
    """


def check_export_installed(*further: str) -> None:
    """Refuse an export if ONNX, its runtime or a further package that it needs is missing.

    Raises:
        NotInstalledError: it says how to install it.
    """
    require("ONNX export", "onnx", "onnxruntime", *further)


def check_opset(opset: int) -> None:
    """Raise ValueError for an opset that is older than what is written."""
    if opset < OPSET:
        raise ValueError(
            f"opset = {opset}: expected at least {OPSET}, the first that is written here"
        )


def compared_images(images: np.ndarray | None, height: int, width: int, noise: int = 3) -> Tensor:
    """Noise, an even grey, and the given images, float32 (N, 3, height, width) in [0, 1].

    Args:
        images: uint8 (N, 3, height, width), or None.
        height: in px.
        width: in px.
        noise: how many images of it.

    Raises:
        ValueError: images of another shape or type.
    """
    shape, generator = (3, height, width), torch.Generator().manual_seed(0)
    parts = [torch.rand(noise, *shape, generator=generator), torch.full((1, *shape), 0.5)]
    if images is not None:
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise ValueError(
                f"expected images to compare with as uint8 (N, 3, {height}, {width}), found "
                f"{images.dtype} {images.shape}"
            )
        parts.append(torch.from_numpy(np.array(images)).float() / 255)
    return torch.cat(parts)


def onnx_session(file: str | bytes, threads: int) -> Any:
    """ONNX Runtime's session on the CPU for a file's path or content."""
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = threads
    # Its threads would go on spinning after a call, on cores that others could use.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def run_onnx(file: Path | bytes, images: Tensor) -> Tensor:
    """Output of ONNX Runtime on the CPU: the first image alone, then the others together."""
    given = file if isinstance(file, bytes) else str(file)
    session = onnx_session(given, torch.get_num_threads())
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: part.numpy()})[0] for part in (images[:1], images[1:])]
    return torch.from_numpy(np.concatenate(parts))


def checked_difference(
    path: Path,
    found: Tensor,
    expected: Tensor,
    what: str,
    remedy: str = "try another opset, or another version of onnxruntime",
) -> float:
    """Largest absolute difference of what a file and its network compute.

    Args:
        path: of the file that is to be, for messages.
        found: what the file gives.
        expected: what the network gives.
        what: name of the output, "features".
        remedy: what to do about a difference.

    Raises:
        ExportError: shapes differ, or values do by more than :data:`TOLERANCE`.
    """
    if found.shape != expected.shape:
        raise ExportError(
            f"{path}: the file gives {what} of shape {tuple(found.shape)}, the network "
            f"{tuple(expected.shape)}"
        )
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE:  # also where it is not a number
        raise ExportError(
            f"{path}: the file differs from the network by {difference:.3g} in {what} of "
            f"{float(expected.min()):.3g} to {float(expected.max()):.3g}; expected at most "
            f"{TOLERANCE:g}. No file was written; {remedy}"
        )
    return difference


def written_opset(path: Path) -> int:
    """Version of the ONNX operators in a file."""
    import onnx  # noqa: PLC0415  optional

    model = onnx.load(str(path), load_external_data=False)
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return int(max(versions))
