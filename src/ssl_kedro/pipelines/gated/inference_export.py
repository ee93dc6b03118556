"""The node that writes an encoder's networks to files, each checked against PyTorch."""

from pathlib import Path

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.inference.export import ExportReport, FileReport, export_compact, export_compact_onnx
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.gated.inference_networks import networks_of
from ssl_kedro.pipelines.gated.inference_records import Export
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters

# Real images that an exported file is compared on, beside noise.
_COMPARED = 16


def export(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    features: dict[str, np.ndarray],
    train_images: ImageSet,
    eval_images: ImageSet,
    folder: Path,
) -> Export:
    """Files of one encoder's networks, each compared with PyTorch.

    Raises:
        ConfigError: the encoder was trained at another image size, or the static budget cannot
            be met.
        ExportNotInstalledError: the packages are missing.
        ExportError: a file computes something else.
    """
    check_export_installed()
    if encoder.image_size != parameters.image_size:
        raise ConfigError(
            "data.size",
            parameters.image_size,
            f"{encoder.image_size}, the image size that the encoder to export was trained at; "
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
    share = None
    if "static" in networks.own:
        cost = networks.by_name["static"].plan.cost(side).dense
        share = cost / networks.macs["dense"]
    return Export(str(folder), files, share)
