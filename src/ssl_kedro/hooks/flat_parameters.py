"""Parameters of a run as flat names and texts, for those who compare and those who record them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from numbers import Real
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from ssl_kedro.pipelines.effective_parameters import as_written

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

KEY_LIMIT = 250
PARAMETER_VALUE_LIMIT = 6000
# MLflow refuses every other character in the name of a parameter or a metric.
_REFUSED = re.compile(r"[^\w\-./ :]", re.ASCII)


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and plain values of nested mappings, dataclasses and pydantic models."""
    plain = to_jsonable_python(
        value,
        by_alias=False,
        serialize_as_any=True,
        fallback=lambda other: float(other) if isinstance(other, Real) else str(other),
    )
    if not (plain and isinstance(plain, dict)):
        yield prefix, plain
        return
    for name, item in plain.items():
        yield from leaves(item, f"{prefix}.{name}".strip("."))


def flattened(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested parameters as dotted keys and text, within MLflow's limits, without secrets.

    Text stays as it is, every other value is written as JSON ("null", "true", "0.1", "[1, 2]").
    """
    told = {key: as_written(plain) for key, plain in leaves(value, prefix) if key}
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in told.items()}
    return {key_of(key): text[:PARAMETER_VALUE_LIMIT] for key, text in texts.items()}


def key_of(name: str) -> str:
    """A name with the characters and the length that MLflow takes."""
    return _REFUSED.sub("_", name)[:KEY_LIMIT]


def parameters_read(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> dict[str, str]:
    """Parameters that nodes of this run read, from the catalog, flattened.

    What a pipeline reads is what its free inputs name ("params:dual_gating"): exact for a part of a
    pipeline too. The catalog holds the values that count.
    """
    found: dict[str, str] = {}
    for name in sorted(pipeline.inputs()):
        if name == "parameters":
            found |= flattened(catalog.load(name))
        elif name.startswith("params:"):
            found |= flattened(catalog.load(name), name.removeprefix("params:"))
    return found
