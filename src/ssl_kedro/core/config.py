"""Configuration objects that check themselves.

A configuration is a frozen dataclass derived from :class:`Config`. Ranges stand beside the
field they limit (``lr: Annotated[float, Range(above=0)]``), so that a value built in Python
and a value read from a parameter file meet the same check and the same message. The module
needs nothing but the standard library: parameter files are parsed by pydantic one layer up,
which reads the same annotations.
"""

import builtins
import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from ssl_kedro.core.errors import UserError


class ConfigError(UserError, ValueError):
    """A configuration value outside its allowed set.

    Cause: a number out of range, a word that is no choice, or two settings that do not fit
    together.
    Remedy: set the field that the message names to what it says is allowed.

    Args:
        field: name of the field.
        value: what was found.
        expected: what is allowed, as the end of a sentence ("above 0").
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(f"{field} = {value!r}: expected {expected}")


_MOST = 2**31 - 1

_COMPARISONS = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
    "at_most": operator.le,
}


@dataclass(frozen=True)
class Range:
    """Allowed interval of a number; a bound of None is open to infinity."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def contains(self, value: object) -> bool:
        """Whether value is a number that lies inside; NaN lies in no range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return all(_COMPARISONS[name](value, bound) for name, bound in self._bounds())

    def __str__(self) -> str:
        words = [f"{name.replace('_', ' ')} {bound:g}" for name, bound in self._bounds()]
        return "a number " + " and ".join(words)

    def _bounds(self) -> list[tuple[str, float]]:
        return [(name, bound) for name, bound in vars(self).items() if bound is not None]


PROBABILITY = Range(at_least=0, at_most=1)
POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(at_least=0)
# Beyond these a computation in single precision can only overflow, or run for ever.
WEIGHT = Range(at_least=0, at_most=1e6)
RATE = Range(above=0, at_most=1000)
TEMPERATURE = Range(at_least=1e-3, at_most=1e3)
STRENGTH = Range(at_least=0, at_most=10)
EPOCHS = Range(at_least=1, at_most=100_000)


@dataclass(frozen=True)
class Config:
    """Base of every configuration dataclass: checks ranges and choices on construction.

    Numbers are finite, and whole ones fit into 32 bits, whatever else is said of them.

    Raises:
        ConfigError: a field lies outside its :class:`Range` or its ``Literal`` choices.
    """

    # Read by pydantic when a parameter file is parsed: an unknown key is an error.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, annotation in _annotations(kind):
            _check(name, getattr(self, name), annotation)


@functools.cache
def _annotations(kind: type) -> list[tuple[str, Any]]:
    """Fields and their types; evaluated once, which takes as long as a hundred checks."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]


C = TypeVar("C")


def restored(kind: type[C], values: Any) -> C:
    """A configuration from what ``dataclasses.asdict`` and JSON made of it.

    Args:
        kind: the configuration's type; dataclasses, tuples and optional values within are restored
            by their annotations.
        values: as read from JSON.

    Raises:
        ConfigError: a value outside its range.
        TypeError: keys that do not fit.
    """
    return _restored(kind, values)  # type: ignore[no-any-return]


def _restored(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        given = {name: _restored(hints.get(name), item) for name, item in value.items()}
        return kind(**given)  # type: ignore[operator]
    members = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        wanted = [member for member in members if member is not type(None)]
        return value if value is None else _restored(wanted[0], value)
    if typing.get_origin(kind) is tuple:
        elements = [member for member in members if member is not Ellipsis]
        last = len(elements) - 1
        return tuple(_restored(elements[min(i, last)], item) for i, item in enumerate(value))
    return value


def _check(name: str, value: Any, annotation: Any) -> None:
    """Raise ConfigError where value breaks a Range, a Literal or its kind of number."""
    if value is None:
        return
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation):
        case typing.Literal if value not in arguments:
            raise ConfigError(name, value, "one of " + ", ".join(map(str, arguments)))
        case typing.Annotated:
            for allowed in arguments[1:]:
                elements = value if isinstance(value, tuple) else (value,)
                if isinstance(allowed, Range) and not all(map(allowed.contains, elements)):
                    raise ConfigError(name, value, str(allowed))
            _check(name, value, arguments[0])
        case typing.Union | types.UnionType:
            for member in arguments:
                _check(name, value, member)
        case builtins.tuple if isinstance(value, tuple):
            of_each = [member for member in arguments if member is not Ellipsis]
            for index, element in enumerate(value):
                _check(name, element, of_each[min(index, len(of_each) - 1)])
        case None if annotation is int and isinstance(value, float):
            raise ConfigError(name, value, "a whole number")
        case None if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(name, value, "a finite number")
        case None if annotation is int and isinstance(value, int) and abs(value) > _MOST:
            raise ConfigError(name, value, f"a whole number of at most {_MOST}")


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested parameters with some replaced."""
    found = dict(values)
    for key, change in changes.items():
        nested = isinstance(change, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], change) if nested else change
    return found
