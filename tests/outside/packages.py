"""Packages as pip would leave them in a folder: a module and an entry point that names it."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def installed(folder: Path, group: str, module: str, content: str) -> None:
    """A distribution with one entry point."""
    (folder / f"{module}.py").write_text(content)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{module} = {module}\n")


def installed_from_here(folder: Path, group: str, module: str) -> None:
    """A distribution whose module stands in this folder of the tests."""
    installed(folder, group, module, (HERE / f"{module}.py").read_text())
