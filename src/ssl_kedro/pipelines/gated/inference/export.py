"""The node that writes an encoder's networks to files, each checked against PyTorch."""

from pathlib import Path

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.timm_names import timm_architecture
from ssl_kedro.encoders.torchvision_names import named_architecture
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.inference.export import (
    ExportReport,
    FileReport,
    export_bundle,
    export_compact,
    export_compact_onnx,
    export_int8_compact,
    export_timm,
    export_torchvision,
)
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.gated.inference.forms import calibration_images
from ssl_kedro.pipelines.gated.inference.networks import Networks, networks_of
from ssl_kedro.pipelines.gated.inference.records import Export, Measurement
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters

# Real images that an exported file is compared on, beside noise.
_COMPARED = 16


def export(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    features: dict[str, np.ndarray],
    inference: Measurement,
    train_images: ImageSet,
    eval_images: ImageSet,
    folder: Path,
) -> Export:
    """Files of one encoder's networks, each compared with PyTorch; in int8 those that hold.

    What the C++ kernel reads in float32 is also read by plain PyTorch, and so always written: of a
    transformer for that alone.

    Raises:
        ConfigError: the encoder is made for another image size, or the static budget cannot
            be met.
        NotInstalledError: the packages are missing.
        ExportError: a file computes something else.
    """
    check_export_installed()
    if encoder.image_size != parameters.data.size:
        raise ConfigError(
            "data.size",
            parameters.data.size,
            f"{encoder.image_size}, the image size that the encoder to export was made for; "
            "train again for another one",
        )
    side = eval_images.images.shape[-1]
    networks = networks_of(parameters, encoder, features, train_images.source, side)
    if networks.static is not None and networks.static.threshold is None:
        raise ConfigError(
            "inference.static_budget",
            networks.static.budget,
            f"a share that this encoder can meet, or null for its own ({networks.static.reason})",
        )
    images = np.array(eval_images.images[:_COMPARED])
    files: dict[str, FileReport | ExportReport] = {}
    if "gated" in networks.own:
        gated, network = encoder.member("gated"), networks.by_name["gated"]
        files["compact"] = export_compact(network, gated, folder / "compact", images)
    for name in networks.own:
        path = folder / f"{name}.onnx"
        files[name] = export_compact_onnx(networks.by_name[name], path, side, images=images)
        if name != "gated":
            kernel = folder / f"{name}_kernel"
            files[kernel.name] = export_bundle(networks.by_name[name], kernel, images)
    if theirs := named_architecture(encoder):
        files["torchvision"] = export_torchvision(encoder, folder / f"{theirs}.safetensors", images)
    if theirs := timm_architecture(encoder):
        files["timm"] = export_timm(encoder, folder / f"{theirs}.safetensors", images)
    files |= _in_int8(parameters, networks, inference, train_images, images, folder)
    share = None
    if "static" in networks.own:
        cost = networks.by_name["static"].plan.cost(side).dense
        share = cost / networks.macs["dense"]
    return Export(str(folder), files, share)


def _in_int8(
    parameters: EncoderPipelineParameters,
    networks: Networks,
    inference: Measurement,
    train_images: ImageSet,
    images: np.ndarray,
    folder: Path,
) -> dict[str, FileReport | ExportReport]:
    """Files of the networks that hold in int8: for the kernel or as ONNX, as engines won.

    They are quantised in different ways; what did not win was not judged.
    """
    held = [
        form
        for form in inference.forms
        if form.precision == "int8" and inference.offered(form.network, "int8")
    ]
    if not held:
        return {}
    calibration = calibration_images(parameters, train_images)
    found: dict[str, FileReport | ExportReport] = {}
    for form in held:
        name, network = form.network, networks.by_name[form.network]
        if "native" in form.engines:
            kernel = f"{name}_int8_kernel"
            found[kernel] = export_int8_compact(network, folder / kernel, images, calibration)
        if {"onnxruntime", "openvino"} & set(form.engines) and f"{name}_int8" not in found:
            found[f"{name}_int8"] = export_compact_onnx(
                network,
                folder / f"{name}_int8.onnx",
                images.shape[-1],
                images=images,
                precision="int8",
                calibration=calibration,
            )
    return found
