"""Ends a build whose pages would load anything from elsewhere: fonts, scripts, styles, pictures."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# What a browser fetches by itself; links that a reader follows may lead anywhere.
_LOADS = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*\b(?:src|srcset|data)\s*=\s*"
    r"[\"']?(?:https?:)?//[^\s\"'>]+"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon|dns-prefetch))"
    r"[^>]*\bhref=[\"']?(?:https?:)?//[^\s\"'>]+",
    re.IGNORECASE,
)
_STYLE_LOADS = re.compile(r"(?:@import\s+|url\()\s*[\"']?(?:https?:)?//[^\s\"')]+", re.IGNORECASE)


def loads_from_elsewhere(site: Path) -> list[str]:
    """What pages and styles of a built site would fetch from other hosts, with the file."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css"):
            text = path.read_text("utf-8")
            hits = _STYLE_LOADS.findall(text) + _LOADS.findall(text)
            found += [f"{path.relative_to(site)}: {hit}" for hit in hits]
    return found


def _check(app: "Sphinx", exception: Exception | None) -> None:
    from sphinx.errors import ExtensionError  # noqa: PLC0415  tests need no Sphinx

    if exception is not None or app.builder.format != "html":
        return
    if found := loads_from_elsewhere(Path(app.outdir)):
        raise ExtensionError("pages load from elsewhere:\n" + "\n".join(found))


def setup(app: "Sphinx") -> dict[str, Any]:
    """Run the check when the site is built."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
