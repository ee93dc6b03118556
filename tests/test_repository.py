"""What may stand in the repository."""

from __future__ import annotations

import json
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import ssl_kedro

ROOT = Path(__file__).parents[1]


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_no_large_file_is_tracked() -> None:
    assert [path for path in tracked() if path.stat().st_size > 500_000] == []


def test_no_data_weights_or_outputs_are_tracked() -> None:
    endings = {".safetensors", ".pt", ".pth", ".db", ".pyc", ".npy", ".npz", ".jpg", ".png"}
    assert [path for path in tracked() if path.suffix in endings] == []


def test_notebook_is_stored_without_output() -> None:
    for path in tracked():
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text())["cells"]:
                assert not cell.get("outputs")
                assert cell.get("execution_count") is None


def test_changelog_and_metadata_are_in_place() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in text
    assert "### Changes numbers" in text
    assert version("ssl_kedro") == ssl_kedro.__version__
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pyproject["project"]["license"] == "MIT"
