"""AMDIM's checkpoints: ``{"model": ..., "hyperparams": ..., "cursor": ...}``."""

from pathlib import Path

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.amdim import AmdimConfig, AmdimEncoder
from ssl_kedro.encoders.importers.kind import (
    CHECK_KIND,
    IMAGENET,
    Kind,
    Selection,
    WeightsError,
    selected,
)
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of
from ssl_kedro.encoders.maps import MapNetwork

_WRAPPERS = r"(?:(?:encoder|module)\.)*"
_NEEDED = ("ndf", "n_rkhs", "n_depth", "encoder_size")
_REASONS = {
    rf"{_WRAPPERS}evaluator\.": "the classifiers, which are no part of the encoder",
    rf"{_WRAPPERS}rkhs_block_": "a head of the training",
    rf"{_WRAPPERS}g2l_loss\.": "the loss",
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
        found = f"no number for {', '.join(absent)}"
        raise WeightsError(path, found, "hyperparams with all of them", CHECK_KIND)
    selection = selected(tensors, _WRAPPERS, _REASONS, path)
    selection.notes.update({name: parameters[name] for name in _NEEDED})
    selection.notes["use_bn"] = bool(parameters.get("use_bn", False))
    return selection


def amdim_network(selection: Selection, path: Path) -> MapNetwork:
    """An encoder of the shape that the file states, without its weights.

    Raises:
        WeightsError: there is no such shape.
    """
    try:
        return AmdimEncoder(AmdimConfig(**selection.notes))
    except ConfigError as error:
        expected = "the hyperparams of an AMDIM encoder"
        raise WeightsError(path, str(error), expected, CHECK_KIND) from error


KINDS = {
    "amdim": Kind(
        publisher="Bachman et al. 2019 (Microsoft Research)",
        file="amdim_ndf320_rkhs2560_rd10.pth (large) or amdim_ndf256_rkhs2048_rd10.pth",
        hosted="https://github.com/Philip-Bachman/amdim-public (README, Pre-trained Models)",
        normalisation=f"{IMAGENET}, for its encoders of 128 px",
        row="AMDIM",
        read=read_amdim,
        network=amdim_network,
    ),
}
