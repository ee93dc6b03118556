"""Files that ``torch.save`` wrote, read without running anything that they contain."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_kedro.core.errors import first_line
from ssl_kedro.encoders.importers.inert import DAMAGE, InertObject, read_inert
from ssl_kedro.encoders.importers.report import WeightsError, fault

_REFETCH = "fetch the file from its publisher again"


def read_torch(path: Path, *, foreign_objects: bool = False) -> Any:
    """Content of a file of ``torch.save``, on the CPU.

    Args:
        path: in PyTorch's zip format or the older one.
        foreign_objects: where the publisher stored objects of other libraries among the
            weights, put inert stand-ins in their place instead of refusing the file.
            Nothing is imported or called for them either.

    Raises:
        WeightsError: not such a file, damaged, or with objects that are not allowed.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if foreign_objects:
            return _with_stand_ins(path)
        raise fault(
            path,
            f"a pickle that needs more than tensors and plain values ({first_line(error)[:200]})",
            "tensors, numbers, strings, lists and dictionaries only",
            "do not load it with another tool unless you trust who made it; take the file "
            "that the publisher gives out, or save its state dict alone",
        ) from error
    except (*DAMAGE, RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _with_stand_ins(path: Path) -> Any:
    try:
        return read_inert(path)
    except (*DAMAGE, RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> WeightsError:
    return fault(
        path, f"a damaged file ({first_line(error)[:200]})", "one that torch.save wrote", _REFETCH
    )


def entry(content: Any, name: str, path: Path) -> dict[str, Any]:
    """A dictionary inside a file's dictionary.

    Raises:
        WeightsError: there is none of this name.
    """
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        keys = list(content)[:10] if isinstance(content, dict) else type(content).__name__
        raise fault(
            path, f"{keys}", f"a dictionary with the entry {name!r}", "check the kind of the file"
        )
    return found


def tensors_of(state: Any, path: Path) -> dict[str, Tensor]:
    """A state dict's tensors by name; inert stand-ins and plain values are left out.

    Raises:
        WeightsError: no dictionary with tensors.
    """
    tensors = {}
    if isinstance(state, dict) and not isinstance(state, InertObject):
        tensors = {str(k): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        raise fault(
            path,
            f"no tensors ({type(state).__name__})",
            "a dictionary of tensors by name",
            "check the kind of the file",
        )
    return tensors
