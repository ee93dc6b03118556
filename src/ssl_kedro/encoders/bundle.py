"""A network on disk: a folder with a JSON description and safetensors weights.

Each class that can be saved says how; see :class:`~ssl_kedro.encoders.bundled.Bundled`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from ssl_kedro.core.errors import UserError
from ssl_kedro.core.files import replaced_folder
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundled import B, Bundled, kinds_of
from ssl_kedro.encoders.classifier import kept_classifier

if TYPE_CHECKING:
    from ssl_kedro.encoders.importers.kind import KeyReport

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "weights.safetensors"
EXTRAS_NAME = "extras.safetensors"


class BundleError(UserError, ValueError):
    """A folder that is not a complete, readable bundle.

    Cause: ``config.json`` or ``weights.safetensors`` is missing, damaged, or of another kind of
    network.
    Remedy: give the folder that ``save_encoder`` or a run has written, or write it again.
    """


def save_bundle(network: Bundled, folder: str | Path, provenance: KeyReport | None = None) -> None:
    """Write a network, replacing an older bundle only when complete.

    Args:
        network: to save.
        folder: to write.
        provenance: where imported weights come from; its extras become a file beside them.

    Raises:
        TypeError: a network of a kind that has no bundle format.
        BundleError: what was written is not what is in memory.
    """
    network = network.bundled
    described = network.description()
    description = {"format": network.bundle_format} | described
    if provenance is not None:
        description["provenance"] = provenance.as_json()
    tensors = _plain(network.state_dict())
    needed = sum(value.nbytes for value in tensors.values())
    with replaced_folder(Path(folder), needed) as temporary:
        (temporary / CONFIG_NAME).write_text(json.dumps(description, indent=2) + "\n")
        save_file(tensors, temporary / WEIGHTS_NAME)
        for name, value in load_file(temporary / WEIGHTS_NAME).items():
            if not torch.equal(value.nan_to_num(), tensors[name].nan_to_num()):
                raise BundleError(f"{folder}: {name} was not written as it is; is the disk faulty?")
        if provenance is not None and provenance.extras:
            save_file(_plain(provenance.extras), temporary / EXTRAS_NAME)
        if isinstance(network, Encoder) and network.classifier is not None:
            network.classifier.save(temporary, network)


def load_bundle(folder: str | Path, *bases: type[B], device: torch.device | str = "cpu") -> B:
    """A network in evaluation mode.

    Args:
        folder: written by :func:`save_bundle`.
        bases: what it may be, such as ``Encoder``.
        device: where to put it.

    Raises:
        BundleError: files are missing, damaged, of another format, or do not fit together.
    """
    folder, what = Path(folder), bases[0].bundle_name
    description = _description(folder, what)
    found = str(description.get("format"))
    known = kinds_of(*bases, found=found)
    if found not in known:
        expected = "one of " * (len(known) > 1) + ", ".join(map(repr, known))
        raise BundleError(f"{folder / CONFIG_NAME}: format {found!r}, expected {expected}")
    try:
        weights = load_file(folder / WEIGHTS_NAME)
        # First without memory: what a damaged description asks for need not be what is there.
        with torch.device("meta"):
            sketch = known[found].from_description(description)
        sketch.make_room(weights)
        sketch.load_state_dict(weights, assign=True)
        network = known[found].from_description(description)
        network.make_room(weights)
        without_memory = any(tensor.is_meta for tensor in network.state_dict().values())
        network.load_state_dict(weights, assign=without_memory)
    except Exception as error:  # damaged descriptions make constructors raise any kind
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{folder} is not a usable {what}: {reason}") from error
    _check_values(weights, folder / WEIGHTS_NAME)
    if isinstance(network, Encoder) and isinstance(sketch, Encoder):
        # The sketch has the weights as the file does, in whatever precision.
        network.classifier = kept_classifier(folder, sketch)
    return network.to(device).eval()


def save_encoder(encoder: Encoder, folder: str | Path) -> None:
    """Write an encoder; see :func:`save_bundle`."""
    save_bundle(encoder, folder)


def load_encoder(folder: str | Path, device: torch.device | str = "cpu") -> Encoder:
    """A ready encoder in evaluation mode, with ``.dense(x)`` and ``.gated(x)``.

    Where it was saved with a trained linear layer, ``.classify(x)`` names classes.

    Args:
        folder: written by :func:`save_encoder`, as the pretrain nodes do.
        device: where to put it.

    Raises:
        BundleError: files are missing, damaged, of another format, or do not fit together.
        InputError: the same of its linear layer.
    """
    return load_bundle(folder, Encoder, device=device)  # type: ignore[type-abstract]


def provenance_of(folder: Path) -> dict[str, Any]:
    """What an import has said of a bundle's weights; empty where they were trained here."""
    found = _description(folder, Bundled.bundle_name).get("provenance", {})
    return found if isinstance(found, dict) else {}


def _description(folder: Path, what: str) -> dict[str, Any]:
    for path in (folder / CONFIG_NAME, folder / WEIGHTS_NAME):
        if not path.is_file():
            raise BundleError(
                f"{path} is missing: expected a bundle folder with {CONFIG_NAME} and {WEIGHTS_NAME}"
            )
    try:
        description = json.loads((folder / CONFIG_NAME).read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise BundleError(f"{folder} is not a usable {what}: {error}") from error
    if not isinstance(description, dict):
        raise BundleError(f"{folder / CONFIG_NAME}: expected an object, found a list or a value")
    return description


def _check_values(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse values that no training leaves; they would make every feature NaN."""
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise BundleError(
                f"{path}: found values that are not finite in {name}, expected numbers as a "
                "training leaves them; fetch the bundle again, or train the network again"
            )


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
