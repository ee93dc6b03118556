"""An encoder on disk: a folder with a JSON description and safetensors weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ssl_kedro.core.files import replaced_folder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "weights.safetensors"
FORMAT = "ssl_kedro gated_resnet18 v1"


class BundleError(ValueError):
    """A folder that is not a complete, readable encoder bundle."""


def save_encoder(encoder: GatedResNet18, folder: Path) -> None:
    """Write the bundle, replacing an older one only when complete."""
    description = {
        "format": FORMAT,
        "encoder": dataclasses.asdict(encoder.config),
        "branches": list(encoder.branches),
        "image_size": encoder.image_size,
        "gate_reduction": encoder.gate_reduction,
        "gate_temperature": encoder.gate_temperature,
        "feature_dimensions": encoder.feature_dimensions,
        "input": "uint8 or float in [0, 1], (N, 3, H, W), RGB; normalised inside",
        "dense_macs": encoder.cost().dense,
    }
    tensors = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    with replaced_folder(folder) as temporary:
        (temporary / CONFIG_NAME).write_text(json.dumps(description, indent=2) + "\n")
        save_file(tensors, temporary / WEIGHTS_NAME)


def load_encoder(folder: Path, device: torch.device | str = "cpu") -> GatedResNet18:
    """A ready encoder in evaluation mode, with ``.dense(x)`` and ``.gated(x)``.

    Args:
        folder: written by :func:`save_encoder`.
        device: where to put it.

    Raises:
        BundleError: files are missing, damaged, of another format, or do not fit together.
    """
    config_path, weights_path = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    for path in (config_path, weights_path):
        if not path.is_file():
            raise BundleError(
                f"{path} is missing: expected a bundle folder with {CONFIG_NAME} and "
                f"{WEIGHTS_NAME}, as the pretrain nodes write it"
            )
    try:
        description = json.loads(config_path.read_text())
        if description.get("format") != FORMAT:
            raise BundleError(
                f"{config_path}: format {description.get('format')!r}, expected {FORMAT!r}"
            )
        encoder = GatedResNet18(
            EncoderConfig(**description["encoder"]),
            branches=description["branches"],
            image_size=description["image_size"],
            gate_reduction=description["gate_reduction"],
            gate_temperature=description["gate_temperature"],
        )
        encoder.load_state_dict(load_file(weights_path))
    except (json.JSONDecodeError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} is not a usable encoder bundle: {error}") from error
    return encoder.to(device).eval()
