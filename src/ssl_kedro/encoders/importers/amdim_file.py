"""AMDIM's checkpoints: ``{"model": ..., "hyperparams": ..., "cursor": ...}``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.amdim import UNUSED_PREFIXES, AmdimConfig, AmdimEncoder
from ssl_kedro.encoders.importers.report import Selection, fault
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of
from ssl_kedro.encoders.maps import MapNetwork

_WRAPPERS = re.compile(r"(?:(?:encoder|module)\.)*")
_NEEDED = ("ndf", "n_rkhs", "n_depth", "encoder_size")
_REASONS = {
    "evaluator.": "the classifiers, which are no part of the encoder",
    **dict.fromkeys(UNUSED_PREFIXES, "a head of the training"),
    "g2l_loss.": "the loss",
}


def read_amdim(path: Path) -> Selection:
    """The encoder's tensors; its ``hyperparams`` become notes.

    Raises:
        WeightsError: the file is damaged, or says nothing of its shape.
    """
    content = read_torch(path)
    tensors = tensors_of(entry(content, "model", path), path)
    parameters = entry(content, "hyperparams", path)
    absent = [name for name in _NEEDED if not isinstance(parameters.get(name), int)]
    if absent:
        raise fault(
            path, f"no number for {', '.join(absent)}", "hyperparams with all of them", _REMEDY
        )
    notes: dict[str, Any] = {name: parameters[name] for name in _NEEDED}
    notes["use_bn"] = bool(parameters.get("use_bn", False))
    chosen: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for key, value in tensors.items():
        name = key[_WRAPPERS.match(key).end() :]  # type: ignore[union-attr]
        reason = next((why for start, why in _REASONS.items() if name.startswith(start)), None)
        if reason is not None:
            dropped[key] = reason
        elif name in chosen:
            raise fault(path, f"{name} twice, as {sources[name]} and {key}", "once", _REMEDY)
        else:
            chosen[name], sources[name] = value, key
    return Selection(chosen, sources, dropped, notes)


def amdim_network(selection: Selection, path: Path) -> MapNetwork:
    """An encoder of the shape that the file states, without its weights.

    Raises:
        WeightsError: there is no such shape.
    """
    try:
        return AmdimEncoder(AmdimConfig(**selection.notes))
    except ConfigError as error:
        raise fault(path, str(error), "the hyperparams of an AMDIM encoder", _REMEDY) from (error)


_REMEDY = "check the kind of the file"
