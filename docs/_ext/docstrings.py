"""Docstrings and signatures are written for readers of the code; what the site makes of them.

Signs of formulas are none of reStructuredText's, and limits of parameters, which ``Annotated``
holds, stand on their own pages.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Literals, and the mark that begins an entry of a list.
_MEANT = re.compile(r"(``.*?``|^\s*\* )")


def escaped(line: str) -> str:
    """A line in which ``|x|`` and ``2 * w`` outside of literals mean themselves."""
    parts = _MEANT.split(line)
    return "".join(
        part if _MEANT.fullmatch(part) else re.sub(r"([|*])", r"\\\1", part) for part in parts
    )


def _escape(*given: Any) -> None:
    lines: list[str] = given[-1]
    lines[:] = [escaped(line) for line in lines]


def without_limits(signature: str) -> str:
    """A signature in which ``Annotated[float, Range(above=0)]`` is ``float``."""
    while (start := signature.find("Annotated[")) >= 0:
        inner = start + len("Annotated[")
        depth, kind_ends, end = 0, 0, inner
        for end in range(inner, len(signature)):
            sign = signature[end]
            if sign == "]" and depth == 0:
                break
            if sign == "," and depth == 0:
                kind_ends = kind_ends or end
            depth += (sign in "[({") - (sign in "])}")
        signature = signature[:start] + signature[inner : kind_ends or end] + signature[end + 1 :]
    return signature


def _shorten(*given: Any) -> tuple[str, str] | None:
    signature, returned = given[-2], given[-1]
    if not signature or "Annotated[" not in f"{signature}{returned}":
        return None
    return without_limits(signature), without_limits(returned or "")


def setup(app: "Sphinx") -> dict[str, Any]:
    """Escape before napoleon reads sections, whose marks are no signs of formulas."""
    app.connect("autodoc-process-docstring", _escape, priority=400)
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
