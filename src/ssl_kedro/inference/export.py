"""Compact and static networks as folders and as ONNX files, checked."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_kedro.core.files import replaced_file
from ssl_kedro.core.precision import Precision
from ssl_kedro.encoders.base import SIDE, Backbone, Encoder
from ssl_kedro.encoders.bundle import load_bundle, save_bundle
from ssl_kedro.encoders.factory import new_backbone
from ssl_kedro.encoders.timm_names import encoder_name, timm_weights
from ssl_kedro.encoders.torchvision_names import named_architecture, torchvision_weights
from ssl_kedro.gating.gate import global_average
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.int8 import Int8Network, int8_network
from ssl_kedro.inference.native.kernel import NativeNetwork
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.inference.onnx_file import (
    OPSET,
    ExportError,
    check_export_installed,
    checked_difference,
    compared_images,
    run_onnx,
)
from ssl_kedro.inference.onnx_graph import compact_onnx
from ssl_kedro.inference.planned import CompactGate, PlannedNetwork
from ssl_kedro.inference.quantisation import quantised_onnx

# A gate this close to its threshold may fall on either side when sums are rounded otherwise.
_UNDECIDED = 1e-4


@dataclass(frozen=True)
class FileReport:
    """What was written, and how far it is from the network.

    Args:
        path: of the file or folder.
        bytes: of it.
        images: compared.
        difference: largest absolute difference of a feature.
        largest: absolute value of the network's features, which the difference compares with.
    """

    path: Path
    bytes: int
    images: int
    difference: float
    largest: float


@dataclass(frozen=True)
class ExportReport(FileReport):
    """An ONNX file.

    Args:
        opset: version of the ONNX operators in the file.
        undecided: images left out of the comparison, because a gate stands so close to its
            threshold that rounding decides.
        precision: that the file computes in; in int8 ``difference`` is what quantisation costs.
    """

    opset: int
    undecided: int
    precision: Precision = field(default="f32", kw_only=True)


def export_compact(
    network: PlannedNetwork, encoder: Encoder, folder: Path, images: np.ndarray
) -> FileReport:
    """The folder written, read again and compared with the encoder.

    The network is compared before it is written as well: an older folder stays where it differs.

    Args:
        network: made of the encoder, with its gates forced.
        encoder: with a gated branch.
        folder: to be written.
        images: real ones to compare with besides noise, uint8 (N, 3, side, side).

    Raises:
        ExportError: the features differ, or the folder was not written as it is.
    """
    batch = compared_images(images, *images.shape[2:])
    _compact_difference(network, encoder, folder, batch)
    save_bundle(network, folder)
    again = load_bundle(folder, type(network))
    difference, largest = _compact_difference(again, encoder, folder, batch)
    return FileReport(folder, folder_bytes(folder), len(batch), difference, largest)


def export_bundle(network: PlannedNetwork, folder: Path, images: np.ndarray) -> FileReport:
    """The network's folder, read again and compared; that of residual ones the C++ kernel computes.

    Beside the weights stands ``model.py``, which computes them with PyTorch alone.

    Args:
        network: static or dense.
        folder: to be written.
        images: real ones to compare with besides noise, uint8 (N, 3, side, side).

    Raises:
        ExportError: the folder was not written as it is.
    """
    batch = compared_images(images, *images.shape[2:])
    save_bundle(network, folder)
    shutil.copyfile(network.plain.__file__, folder / "model.py")
    with torch.inference_mode():
        expected = network(batch)
        difference = max(
            checked_difference(folder, again(batch), expected, "features", "write it again")
            for again in (load_bundle(folder, type(network)), network.plain.load(folder))
        )
    largest = float(expected.abs().max())
    return FileReport(folder, folder_bytes(folder), len(batch), difference, largest)


def export_torchvision(encoder: Encoder, path: Path, images: np.ndarray) -> FileReport:
    """The dense branch as weights for torchvision's and timm's network of its name, without ``fc``.

    The file is read into torchvision's network and compared.

    Args:
        encoder: of a shape that they have.
        path: of the file to be written, ``.safetensors``.
        images: real ones to compare with besides noise, uint8 (N, 3, side, side).

    Raises:
        InputError: they have no network of its shape.
        ExportError: their network computes something else.
    """
    from torchvision.models import get_model  # noqa: PLC0415  takes a second

    weights, dense = torchvision_weights(encoder), cast(Backbone, encoder.member("dense"))
    with replaced_file(path) as temporary:
        save_file(weights, temporary)
    network = get_model(named_architecture(encoder))
    network.fc = nn.Identity()
    network.load_state_dict(load_file(path))
    batch = compared_images(images, *images.shape[2:])
    with torch.inference_mode():
        expected = dense.eval().dense(batch)
        found = network.eval()((batch - dense.pixel_mean) / dense.pixel_std)
    difference = checked_difference(path, found, expected, "features", "write it again")
    return FileReport(path, path.stat().st_size, len(batch), difference, float(expected.max()))


def export_timm(encoder: Encoder, path: Path, images: np.ndarray) -> FileReport:
    """The dense branch as weights for timm's network of its name, without a classifier.

    The file is read into a new encoder and compared.

    Args:
        encoder: of a shape that timm has.
        path: of the file to be written, ``.safetensors``.
        images: real ones to compare with besides noise, uint8 (N, 3, side, side).

    Raises:
        InputError: timm has no network of its shape.
        ExportError: what the file holds computes something else.
    """
    weights, dense = timm_weights(encoder), cast(Backbone, encoder.member("dense"))
    with replaced_file(path) as temporary:
        save_file(weights, temporary)
    again = new_backbone(dense.config, branches=("dense",), image_size=dense.image_size)
    known = {name: dense.state_dict()[name] for name in ("pixel_mean", "pixel_std")}
    again.load_state_dict(
        known | {encoder_name(name): value for name, value in load_file(path).items()}
    )
    batch = compared_images(images, *images.shape[2:])
    expected, found = dense.eval().dense(batch), again.eval().dense(batch)
    difference = checked_difference(path, found, expected, "features", "write it again")
    largest = float(expected.abs().max())
    return FileReport(path, path.stat().st_size, len(batch), difference, largest)


def folder_bytes(folder: Path) -> int:
    """Of all files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


@torch.inference_mode()
def _compact_difference(
    network: PlannedNetwork, encoder: Encoder, folder: Path, batch: Tensor
) -> tuple[float, float]:
    """Largest difference from the encoder under the masks that the network decides.

    Beside it the largest of the encoder's features. Since masks are imposed, gates at their
    threshold play no part.

    Raises:
        ExportError: the difference is above the tolerance.
    """
    features, masks = network.decide(batch)
    own = encoder(batch, "gated", masks=network.plan.encoder_masks(masks)).features
    remedy = "what was folded is not what was trained: a fault of this program"
    difference = checked_difference(folder, features, own, "features", remedy)
    return difference, float(own.abs().max())


def export_int8_compact(
    network: PlannedNetwork, folder: Path, images: np.ndarray, calibration: np.ndarray
) -> FileReport:
    """The folder that the C++ kernel computes in int8, read again and run.

    Args:
        network: gated, static or dense.
        folder: to be written.
        images: real ones to compare with besides noise, uint8 (N, 3, side, side).
        calibration: training images, uint8 (N, 3, side, side), some hundred.

    Returns:
        The difference is what quantisation costs: that from PyTorch in float32.

    Raises:
        CalibrationError: images that no scale can be taken from.
        EngineUnavailableError: the kernel cannot be used here, or not in int8.
        ExportError: the kernel gives other features after reading than before writing.
    """
    if not isinstance(network, CompactNetwork):
        raise EngineUnavailableError("the kernel computes residual networks")
    made = int8_network(network, calibration)
    batch = compared_images(images, *images.shape[2:])
    before = NativeNetwork(made, batch.shape[-1])(batch)
    save_bundle(made, folder)
    after = NativeNetwork(load_bundle(folder, Int8Network), batch.shape[-1])(batch)
    checked_difference(folder, after, before, "features", "write it again")
    with torch.inference_mode():
        expected = network(batch)
    difference, largest = float((after - expected).abs().max()), float(expected.abs().max())
    return FileReport(folder, folder_bytes(folder), len(batch), difference, largest)


def export_compact_onnx(
    network: PlannedNetwork,
    path: Path,
    image_size: int | None = None,
    *,
    images: np.ndarray | None = None,
    opset: int = OPSET,
    precision: Precision = "f32",
    calibration: np.ndarray | None = None,
) -> ExportReport:
    """Write the network as one ONNX file and compare it with PyTorch.

    The file takes ``images``, float32 (N, 3, side, side) in [0, 1], RGB, for any N, and gives
    ``features``, float32 (N, D). Gates are in it: dependent channels are computed and masked,
    which saves no time; what it is fast for are static networks. It is compared by ONNX Runtime
    at batches of one and of several images, and takes its place only when it agrees: an older
    file stays otherwise. A file in int8 is compared with its content before it was written; how
    far that is from PyTorch in float32 is reported.

    Args:
        network: compact, static or dense.
        path: of the file.
        image_size: side in px, fixed in the file; None = that of the training images.
        images: real ones to compare with besides noise, uint8 (N, 3, side, side).
        opset: version of the ONNX operators; at least 18.
        precision: "f32" or "int8".
        calibration: training images for int8, uint8 (N, 3, side, side), some hundred.

    Raises:
        NotInstalledError: onnx or onnxruntime is not installed.
        ValueError: an opset below 18, a size that images cannot have, images of another shape
            or type, bf16, or int8 without images to calibrate on.
        ExportError: the file's features differ; there is no file then.
    """
    check_export_installed()
    side = network.plan.image_size if image_size is None else image_size
    if not SIDE.contains(side):
        raise ValueError(f"image_size = {side}: expected {SIDE}")
    compared = compared_images(images, side, side)
    with torch.inference_mode():
        expected = torch.cat([network(part) for part in torch.split(compared, 1)])
        decided = _decided(network, compared)
    if not decided.any():
        raise ExportError(
            f"{path}: each of {len(compared)} images has a gate at its threshold, so that nothing "
            "can be compared; give real images"
        )
    content = _content(network, side, opset, precision, calibration)
    with replaced_file(path) as temporary:
        temporary.write_bytes(content)
        found = run_onnx(temporary, compared)
        known = expected if precision == "f32" else run_onnx(content, compared)
        checked_difference(path, found[decided], known[decided], "features")
        size = temporary.stat().st_size
    undecided, largest = int((~decided).sum()), float(expected.abs().max())
    difference = float((found - expected)[decided].abs().max())
    return ExportReport(
        *(path, size, len(compared), difference, largest, opset, undecided), precision=precision
    )


def _content(
    network: PlannedNetwork,
    side: int,
    opset: int,
    precision: Precision,
    calibration: np.ndarray | None,
) -> bytes:
    if precision == "f32":
        return compact_onnx(network, side, opset=opset)
    if precision != "int8" or calibration is None:
        raise ValueError(
            f"precision = {precision!r}: expected f32, or int8 with some hundred of the training "
            "images to calibrate on; OpenVINO computes a file in f32 in bf16 where it is told to"
        )
    return quantised_onnx(network, calibration, image_size=side, opset=opset)


def _decided(network: PlannedNetwork, images: Tensor) -> Tensor:
    """Whether every gate of an image is clear of its threshold, (N,) boolean."""
    clear = torch.ones(len(images), dtype=torch.bool)
    gates = [module for module in network.modules() if isinstance(module, CompactGate)]

    def look(module: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        gate = cast(CompactGate, module)
        hidden = gate.squeeze(global_average(inputs[0]))
        # With every hidden unit shut the logits are exactly 0, whoever computes them.
        shut = hidden.amax(dim=1) < -_UNDECIDED
        margin = _UNDECIDED * logits.abs().amax(dim=1).clamp_min(1)
        clear.logical_and_(shut | (logits.abs().amin(dim=1) > margin))

    hooks = [gate.register_forward_hook(look) for gate in gates]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return clear
