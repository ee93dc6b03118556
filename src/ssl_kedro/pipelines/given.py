"""Arguments of nodes: constants that are bound, and values that are gathered by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from typing import Any


def given(function: Callable[..., Any], **constants: Any) -> Callable[..., Any]:
    """Function with constants bound, under its own name."""
    return update_wrapper(partial(function, **constants), function)


def nested(found: Mapping[str, Any]) -> dict[str, Any]:
    """Values that a node gathers under names such as "evaluations.facades.pixels", part by part."""
    made: dict[str, Any] = {}
    for name, value in found.items():
        *parts, last = name.split(".")
        place = made
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    return made
