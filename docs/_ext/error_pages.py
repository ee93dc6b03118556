"""The list of errors that a user can mend, from the docstrings of their classes."""

import importlib
import inspect
import pkgutil
import re
from typing import NamedTuple

import ssl_kedro
from ssl_kedro.core.errors import UserError

_PARTS = re.compile(
    r"(?P<what>.*?)\n\nCause: (?P<cause>.*?)\nRemedy: (?P<remedy>.*?)(?:\n\n|\Z)", re.DOTALL
)


class Told(NamedTuple):
    """What a class says of its error."""

    name: str
    what: str
    cause: str
    remedy: str


def error_classes() -> list[type[UserError]]:
    """Every kind of :class:`UserError` that the package defines, by name."""
    for module in pkgutil.walk_packages(ssl_kedro.__path__, "ssl_kedro."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, more = set(), [UserError]
    while more:
        below = more.pop().__subclasses__()
        found.update(below)
        more += below
    own = [one for one in found if one.__module__.startswith("ssl_kedro.")]
    return sorted(own, key=lambda one: one.__name__)


def told(kind: type[UserError]) -> Told:
    """What an error means, where it comes from and what helps.

    Raises:
        ValueError: its docstring lacks "Cause:" or "Remedy:".
    """
    found = _PARTS.match(inspect.cleandoc(kind.__doc__ or ""))
    if found is None:
        raise ValueError(
            f"{kind.__module__}.{kind.__name__}: its docstring lacks Cause: or Remedy:"
        )
    what, cause, remedy = (" ".join(part.split()).replace("``", "`") for part in found.groups())
    return Told(kind.__name__, what, cause, remedy)


def error_pages() -> dict[str, str]:
    """File name -> Markdown, to be included."""
    lines: list[str] = []
    for one in map(told, error_classes()):
        cause, remedy = (f"{text[0].upper()}{text[1:]}" for text in (one.cause, one.remedy))
        lines += [
            f"### {one.name}",
            "",
            one.what,
            "",
            f"- **Cause.** {cause}",
            f"- **Remedy.** {remedy}",
            "",
        ]
    return {"errors.md": "\n".join(lines)}
