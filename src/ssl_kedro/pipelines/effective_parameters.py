"""The parameters of the run at hand, for the two readers that Kedro does not hand them to.

The graph follows the parameters (budgets are namespaces) and the image sources in the
catalog follow them too. Kedro builds its registry and its catalog from code and files, not
from parameters; the hook that runs once the configuration is known leaves them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_current: dict[str, Any] = {}


def set_current(parameters: Mapping[str, Any]) -> None:
    """Keep the effective parameters: files of the environment plus the command line's."""
    _current.clear()
    _current.update(parameters)


def current() -> dict[str, Any]:
    """The effective parameters, empty before the configuration was read."""
    return dict(_current)


def lookup(path: str) -> Any:
    """Value at a dotted path, for ``${parameter:dual_gating.data}`` in the catalog.

    Raises:
        KeyError: there is no such parameter.
    """
    value: Any = _current
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise KeyError(f"the catalog refers to the parameter {path!r}, which is not set")
        value = value[part]
    return value
