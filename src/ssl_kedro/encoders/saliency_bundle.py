"""Encoders of panoramas and saliency models on disk: JSON and safetensors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ssl_kedro.core.files import replaced_folder
from ssl_kedro.encoders.bundle import CONFIG_NAME, WEIGHTS_NAME, BundleError
from ssl_kedro.encoders.panorama_encoder import (
    PanoramaEncoder,
    PanoramaEncoderConfig,
    build_panorama_encoder,
)
from ssl_kedro.encoders.saliency_decoder import DecoderConfig, build_decoder
from ssl_kedro.encoders.saliency_model import SaliencyModel

ENCODER_FORMAT = "ssl_kedro panorama encoder v1"
MODEL_FORMAT = "ssl_kedro saliency model v1"
_INPUT = "float in [0, 1] or uint8, (N, 3, H, W), RGB, H and W multiples of 16; normalised inside"


def save_panorama_encoder(encoder: PanoramaEncoder, folder: Path) -> None:
    """Write an encoder, replacing an older bundle only when complete."""
    description = {
        "format": ENCODER_FORMAT,
        "encoder": dataclasses.asdict(encoder.config),
        "input": _INPUT,
        "output": f"float (N, {encoder.map_channels}, H / 16, W / 16)",
    }
    _save(description, encoder, folder)


def load_panorama_encoder(folder: Path) -> PanoramaEncoder:
    """An encoder on the CPU, in evaluation mode.

    Raises:
        BundleError: files are missing, damaged, of another format, or do not fit together.
    """
    description = _description(folder, ENCODER_FORMAT)
    try:
        encoder = build_panorama_encoder(PanoramaEncoderConfig(**description["encoder"]))
        encoder.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} is not a usable bundle: {error}") from error
    return encoder.eval()


def save_saliency_model(model: SaliencyModel, folder: Path) -> None:
    """Write encoder and decoder, replacing an older bundle only when complete."""
    description = {
        "format": MODEL_FORMAT,
        "encoder": dataclasses.asdict(model.encoder.config),
        "decoder": dataclasses.asdict(model.decoder.config),
        "input": _INPUT,
        "output": "float (N, 1, H, W) in (0, 1), density per solid angle up to its scale",
    }
    _save(description, model, folder)


def load_saliency_model(folder: Path) -> SaliencyModel:
    """A model on the CPU, in evaluation mode.

    Raises:
        BundleError: files are missing, damaged, of another format, or do not fit together.
    """
    description = _description(folder, MODEL_FORMAT)
    try:
        encoder = build_panorama_encoder(PanoramaEncoderConfig(**description["encoder"]))
        decoder = build_decoder(DecoderConfig(**description["decoder"]), encoder.map_channels)
        model = SaliencyModel(encoder, decoder)
        weights = load_file(folder / WEIGHTS_NAME)
        # Its size is that of the panoramas that it was learnt from.
        decoder.prior_logit = torch.zeros_like(weights["decoder.prior_logit"])
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} is not a usable bundle: {error}") from error
    return model.eval()


def _save(description: dict[str, Any], module: torch.nn.Module, folder: Path) -> None:
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()
    }
    with replaced_folder(folder) as temporary:
        (temporary / CONFIG_NAME).write_text(json.dumps(description, indent=2) + "\n")
        save_file(tensors, temporary / WEIGHTS_NAME)


def _description(folder: Path, expected: str) -> dict[str, Any]:
    for path in (folder / CONFIG_NAME, folder / WEIGHTS_NAME):
        if not path.is_file():
            raise BundleError(
                f"{path} is missing: expected a bundle folder with {CONFIG_NAME} and {WEIGHTS_NAME}"
            )
    try:
        found = json.loads((folder / CONFIG_NAME).read_text())
    except ValueError as error:
        raise BundleError(f"{folder} is not a usable bundle: {error}") from error
    if not isinstance(found, dict) or found.get("format") != expected:
        name = found.get("format") if isinstance(found, dict) else found
        raise BundleError(f"{folder / CONFIG_NAME}: format {name!r}, expected {expected!r}")
    return found
