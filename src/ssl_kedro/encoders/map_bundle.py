"""A network of maps on disk: JSON and safetensors, with where its weights came from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ssl_kedro.core.files import replaced_folder
from ssl_kedro.encoders.amdim import AmdimConfig, AmdimEncoder
from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.bundle import (
    CONFIG_NAME,
    PAIR_FORMAT,
    SINGLE_FORMAT,
    WEIGHTS_NAME,
    BundleError,
    load_encoder,
    save_encoder,
)
from ssl_kedro.encoders.importers.report import KeyReport
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork

EXTRAS_NAME = "extras.safetensors"
RESNET_FORMAT = "ssl_kedro bottleneck_resnet maps v1"
AMDIM_FORMAT = "ssl_kedro amdim maps v1"
_BUILDERS: dict[str, Callable[[dict[str, Any]], MapNetwork]] = {
    RESNET_FORMAT: lambda shape: BottleneckResNet(BottleneckConfig(**shape)),
    AMDIM_FORMAT: lambda shape: AmdimEncoder(AmdimConfig(**shape)),
}


def save_map_network(
    network: MapNetwork, folder: Path, provenance: KeyReport | Mapping[str, Any] | None = None
) -> None:
    """Write a network, replacing an older bundle only when complete.

    Args:
        network: with this project's own branches it becomes the bundle of its encoder.
        folder: to write.
        provenance: where weights come from; of an import its report, whose extras become a
            file beside the weights.

    Raises:
        TypeError: a network of a kind that has no bundle format.
    """
    if isinstance(network, BranchMaps):
        save_encoder(network.encoder, folder)
        return
    if isinstance(network, BottleneckResNet):
        found, config = RESNET_FORMAT, dataclasses.asdict(network.config)
    elif isinstance(network, AmdimEncoder):
        found, config = AMDIM_FORMAT, dataclasses.asdict(network.config)
    else:
        raise TypeError(f"there is no bundle format for a {type(network).__name__}")
    description = {
        "format": found,
        "network": config,
        "map_channels": network.map_channels,
        "input": "uint8 or float in [0, 1], (N, 3, H, W), RGB; normalised inside",
        "provenance": _origin(provenance),
    }
    with replaced_folder(folder) as temporary:
        (temporary / CONFIG_NAME).write_text(json.dumps(description, indent=2) + "\n")
        save_file(_plain(network.state_dict()), temporary / WEIGHTS_NAME)
        if isinstance(provenance, KeyReport) and provenance.extras:
            save_file(_plain(provenance.extras), temporary / EXTRAS_NAME)


def load_map_network(folder: Path, branch: Branch = "dense") -> MapNetwork:
    """A network in evaluation mode, on the CPU.

    Args:
        folder: written by :func:`save_map_network`, or by ``bundle.save_encoder``.
        branch: of this project's own encoders; others have none, and ignore it.

    Raises:
        BundleError: files are missing, damaged, of another format, or do not fit together.
    """
    description = _description(folder)
    if description.get("format") in (SINGLE_FORMAT, PAIR_FORMAT):
        try:
            return BranchMaps(load_encoder(folder), branch).eval()
        except ValueError as error:
            raise BundleError(f"{folder}: {error}") from error
    builder = _BUILDERS.get(str(description.get("format")))
    if builder is None:
        known = ", ".join(map(repr, (*_BUILDERS, SINGLE_FORMAT, PAIR_FORMAT)))
        raise BundleError(
            f"{folder / CONFIG_NAME}: format {description.get('format')!r}, expected one of {known}"
        )
    try:
        network = builder(description["network"])
        network.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} is not a usable bundle: {error}") from error
    return network.eval()


def provenance_of(folder: Path) -> dict[str, Any] | None:
    """Publisher, files with their SHA-256, and keys; None where weights were not imported.

    Raises:
        BundleError: the folder's description is missing or damaged.
    """
    found = _description(folder).get("provenance")
    return found if isinstance(found, dict) else None


def _origin(provenance: KeyReport | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if isinstance(provenance, KeyReport):
        return provenance.as_json()
    return None if provenance is None else dict(provenance)


def _description(folder: Path) -> dict[str, Any]:
    for path in (folder / CONFIG_NAME, folder / WEIGHTS_NAME):
        if not path.is_file():
            raise BundleError(
                f"{path} is missing: expected a bundle folder with {CONFIG_NAME} and {WEIGHTS_NAME}"
            )
    try:
        description = json.loads((folder / CONFIG_NAME).read_text())
    except ValueError as error:
        raise BundleError(f"{folder} is not a usable bundle: {error}") from error
    if not isinstance(description, dict):
        raise BundleError(f"{folder / CONFIG_NAME}: expected an object, found a list or a value")
    return description


def _plain(tensors: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
