"""Writes the pages that are made from the code, into ``docs/_generated``, for a build to read."""

from pathlib import Path
from typing import Any

from api_pages import api_pages
from error_pages import error_pages
from parameter_pages import parameter_pages
from sphinx.application import Sphinx
from thesis_pages import thesis_pages


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "_generated"
    pages = {**api_pages(), **parameter_pages(), **error_pages(), **thesis_pages()}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Sphinx reads again what is newer than its last build.
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in folder.rglob("*.*"):
        if str(path.relative_to(folder)) not in pages:
            path.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages when a build begins."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
