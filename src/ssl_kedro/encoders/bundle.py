"""An encoder on disk: a folder with a JSON description and safetensors weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ssl_kedro.core.errors import UserError
from ssl_kedro.core.files import replaced_folder
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.pair import EncoderPair

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "weights.safetensors"
SINGLE_FORMAT = "ssl_kedro gated_resnet18 v1"
PAIR_FORMAT = "ssl_kedro encoder_pair v1"


class BundleError(UserError, ValueError):
    """A folder that is not a complete, readable encoder bundle."""


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write the bundle, replacing an older one only when complete.

    Raises:
        TypeError: an encoder of a kind that has no bundle format.
    """
    description = _description(encoder) | {
        "feature_dimensions": encoder.feature_dimensions,
        "input": "uint8 or float in [0, 1], (N, 3, H, W), RGB; normalised inside",
        "dense_macs": encoder.cost().dense,
    }
    tensors = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    with replaced_folder(folder) as temporary:
        (temporary / CONFIG_NAME).write_text(json.dumps(description, indent=2) + "\n")
        save_file(tensors, temporary / WEIGHTS_NAME)


def load_encoder(folder: Path, device: torch.device | str = "cpu") -> Encoder:
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
        found = description.get("format")
        if found not in (SINGLE_FORMAT, PAIR_FORMAT):
            raise BundleError(
                f"{config_path}: format {found!r}, expected {SINGLE_FORMAT!r} or {PAIR_FORMAT!r}"
            )
        encoder = _built(description)
        encoder.load_state_dict(load_file(weights_path))
    except (json.JSONDecodeError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} is not a usable encoder bundle: {error}") from error
    return encoder.to(device).eval()


def _description(encoder: Encoder) -> dict[str, Any]:
    """What an encoder has to be rebuilt from, without its weights."""
    if isinstance(encoder, GatedResNet18):
        return {
            "format": SINGLE_FORMAT,
            "encoder": dataclasses.asdict(encoder.config),
            "branches": list(encoder.branches),
            "image_size": encoder.image_size,
            "gate_reduction": encoder.gate_reduction,
            "gate_temperature": encoder.gate_temperature,
        }
    if isinstance(encoder, EncoderPair):
        members = {branch: _description(encoder.member(branch)) for branch in encoder.branches}
        return {"format": PAIR_FORMAT, "members": members}
    raise TypeError(f"there is no bundle format for a {type(encoder).__name__}")


def _built(description: dict[str, Any]) -> Encoder:
    """An encoder of the description, with weights still to be loaded."""
    if description["format"] == PAIR_FORMAT:
        members = description["members"]
        return EncoderPair(_single(members["dense"]), _single(members["gated"]))
    return _single(description)


def _single(description: dict[str, Any]) -> GatedResNet18:
    shape = dict(description["encoder"])
    if shape.get("inner_channels") is not None:
        shape["inner_channels"] = tuple(shape["inner_channels"])
    return GatedResNet18(
        EncoderConfig(**shape),
        branches=description["branches"],
        image_size=description["image_size"],
        gate_reduction=description["gate_reduction"],
        gate_temperature=description["gate_temperature"],
    )
