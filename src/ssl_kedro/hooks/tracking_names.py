"""What tracking reads from Kedro's catalog, and the names and values it has in MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

KEY_LIMIT = 250
PARAMETER_VALUE_LIMIT = 6000
TAG_VALUE_LIMIT = 5000

_BUDGET = re.compile(r"^budget_(\d+)$")
# MLflow refuses every other character in the name of a parameter or a metric.
_REFUSED = re.compile(r"[^\w\-./ :]", re.ASCII)


@dataclass(frozen=True)
class Place:
    """What a dotted name says about where its values belong.

    Args:
        pipeline: first component, "" for a name without a namespace.
        budget: percent of the first ``budget_NN`` component, None without one.
        rest: components between pipeline, budget and the last one.
    """

    pipeline: str
    budget: int | None
    rest: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> Place:
        """Place of a dataset such as "dual_gating.budget_30.vicreg_gating.epoch_log"."""
        *namespace, _ = name.split(".")
        return cls("".join(namespace[:1]), *without_budget(namespace[1:]))


def without_budget(components: Iterable[str]) -> tuple[int | None, tuple[str, ...]]:
    """Percent of the first ``budget_NN`` among the components of a name, and the others."""
    matches = [(part, _BUDGET.match(part)) for part in components]
    budgets = [int(match[1]) for _, match in matches if match]
    return next(iter(budgets), None), tuple(part for part, match in matches if not match)


def pipeline_keys(dataset_names: Iterable[str]) -> frozenset[str]:
    """Namespaces at the top, one for each pipeline in the run."""
    return frozenset(
        name.split(".")[0]
        for name in dataset_names
        if "." in name and not name.startswith("params:")
    )


def flattened(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested parameters as dotted keys and text, within MLflow's limits.

    Mappings, dataclasses and pydantic models are descended into; a list becomes one JSON
    text. Text stays as it is, every other value is written as JSON ("null", "true", "0.1").

    Args:
        value: parameters of any nesting.
        prefix: of all keys, without a dot at the end.
    """
    plain = to_jsonable_python(value, by_alias=False, serialize_as_any=True, fallback=str)
    if plain and isinstance(plain, dict):
        return {
            key: text
            for name, item in plain.items()
            for key, text in flattened(item, f"{prefix}.{name}" if prefix else name).items()
        }
    if not prefix:
        return {}  # no parameters at all
    text = plain if isinstance(plain, str) else json.dumps(plain)
    return {_mlflow_key(prefix): text[:PARAMETER_VALUE_LIMIT]}


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among values under MLflow's kind of keys; everything else is left out."""
    return {
        _mlflow_key(f"{prefix}{key}"): float(value)
        for key, value in values.items()
        if isinstance(value, Real)
    }


def _mlflow_key(name: str) -> str:
    return _REFUSED.sub("_", name)[:KEY_LIMIT]


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
