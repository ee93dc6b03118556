"""Docstrings are written to be read in the code: signs of formulas are none of reStructuredText's."""

import re
from typing import Any

from sphinx.application import Sphinx

_LITERAL = re.compile(r"(``.*?``)")


def escaped(line: str) -> str:
    """A line in which ``|x|`` and ``2 * w`` outside of literals mean themselves."""
    parts = _LITERAL.split(line)
    return "".join(
        part if part.startswith("``") else re.sub(r"([|*])", r"\\\1", part) for part in parts
    )


def _escape(*given: Any) -> None:
    lines: list[str] = given[-1]
    lines[:] = [escaped(line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Escape before napoleon reads sections, whose marks are no signs of formulas."""
    app.connect("autodoc-process-docstring", _escape, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
