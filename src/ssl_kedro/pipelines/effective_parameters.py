"""The parameters of the run at hand, for the two readers that Kedro does not hand them to.

The graph follows the parameters (budgets are namespaces) and the image sources in the
catalog follow them too. Kedro builds its registry and its catalog from code and files, not
from parameters; whoever reads the configuration leaves a way to them here.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_source: list[Callable[[], Mapping[str, Any]]] = []
_tags: list[str] = []
_resolved: dict[str, str] = {}
# A shorter value is told from other text only where it is all there is.
_TELLING = 6


def bind(source: Callable[[], Mapping[str, Any]]) -> None:
    """Take the effective parameters (environment and command line merged) from here on.

    They are read once, when they are first asked for: thirty entries of the catalog do.
    """
    _source[:] = [functools.cache(source)]


def keep_secret(value: str, written: str) -> None:
    """Take a value that the configuration names but does not hold, such as a password.

    Args:
        value: of an environment variable.
        written: how the configuration names it, "${oc.env:NAME}".
    """
    _resolved[value] = written


def as_written(plain: Any) -> Any:
    """Plain values, nested or not, with text from environment variables as it was written."""
    if isinstance(plain, dict):
        return {key: as_written(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [as_written(value) for value in plain]
    if not isinstance(plain, str) or plain in _resolved:
        return _resolved.get(plain, plain) if isinstance(plain, str) else plain
    for value in sorted(_resolved, key=len, reverse=True):
        if len(value) >= _TELLING:
            plain = plain.replace(value, _resolved[value])
    return plain


def bound() -> bool:
    """Whether any configuration was opened."""
    return bool(_source)


def current() -> Mapping[str, Any]:
    """The effective parameters, empty before any configuration was opened."""
    return _source[0]() if _source else {}


def ask_for(tags: Iterable[str]) -> None:
    """Take the tags that the run at hand selects nodes by; a part of a chapter is one."""
    _tags[:] = list(tags)


def asked_tags() -> tuple[str, ...]:
    """Tags of the run at hand; empty where it selects none."""
    return tuple(_tags)


def lookup(path: str) -> Any:
    """Value at a dotted path, for ``${parameter:dual_gating.data}`` in the catalog.

    Raises:
        KeyError: there is no such parameter.
    """
    value: Any = current()
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise KeyError(f"the catalog refers to the parameter {path!r}, which is not set")
        value = value[part]
    return value
