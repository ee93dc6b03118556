"""What tracking reads from Kedro's catalog: parameters, marks and paths of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_kedro.hooks.tracking_names import flattened

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline


def parameters_read(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> dict[str, str]:
    """Parameters that nodes of this run read, from the catalog, flattened.

    What a pipeline reads is what its free inputs name ("params:dual_gating"): exact for a
    part of a pipeline too, and independent of how pipelines are called. The catalog holds
    the values after Kedro has applied environment, command line and type annotations.
    """
    found: dict[str, str] = {}
    for name in sorted(pipeline.inputs()):
        if name == "parameters":
            found |= flattened(catalog.load(name))
        elif name.startswith("params:"):
            found |= flattened(catalog.load(name), name.removeprefix("params:"))
    return found


def tracking_kind(dataset: Any) -> Any:
    """Value of ``metadata: {mlflow: ...}``; a wrapper's own metadata come first."""
    while dataset is not None:
        metadata = getattr(dataset, "metadata", None)
        if isinstance(metadata, Mapping) and "mlflow" in metadata:
            return metadata["mlflow"]
        dataset = getattr(dataset, "_dataset", None)
    return None


def local_path(dataset: Any) -> Path | None:
    """Where a dataset keeps its file, None for one that has no file on this machine."""
    while getattr(dataset, "_dataset", None) is not None:
        dataset = dataset._dataset
    if getattr(dataset, "_protocol", "file") not in {"file", "local"}:
        return None
    versioned = getattr(dataset, "_get_load_path", None)
    found = versioned() if callable(versioned) else getattr(dataset, "_filepath", None)
    return Path(found) if found and Path(found).exists() else None
