"""Plain values, such as what a recipe replaces, into checked configurations."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ssl_kedro.core.config import Config, ConfigError
from ssl_kedro.core.errors import nearest
from ssl_kedro.pipelines.parameters import field_names

C = TypeVar("C", bound=Config)


def validated_config(kind: type[C], values: Mapping[str, Any], location: str) -> C:
    """A configuration of some kind from plain values.

    Raises:
        ConfigError: a value cannot be used; the error names the whole key.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([location, *map(str, first["loc"])])
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ConfigError):
            raise ConfigError(f"{location}.{cause.field}", cause.value, cause.expected) from None
        expected = first["msg"].lower()
        if first["type"] == "unexpected_keyword_argument":
            known = field_names(kind, first["loc"][:-1])
            expected = f"one of the keys there; {nearest(str(first['loc'][-1]), known)}"
        raise ConfigError(name, first["input"], expected) from None
