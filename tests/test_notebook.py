"""The notebooks run as they are, and show what they promise, without noise."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import Project
from pipelines.test_own_run import photographs, run

__all__ = ["photographs"]
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def executed(path: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> list[dict]:
    """Outputs of a notebook, run in its folder with some of its text changed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for old, new in changes.items():
            cell.source = cell.source.replace(old, new)
    where = {"metadata": {"path": str(path.parent)}}
    read = NotebookClient(notebook, timeout=300, resources=where).execute()
    return [output for cell in read.cells for output in cell.get("outputs", [])]


def texts(outputs: list[dict]) -> str:
    kinds = ("text/plain", "text/html", "text/markdown")
    said = " ".join(str(o.get("data", {}).get(kind, "")) for o in outputs for kind in kinds)
    return re.sub(r"\x1b\[[\d;]*m", "", said)  # colours of Kedro's kernel


def test_quickstart_trains_compares_and_deploys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(NOTEBOOKS / "quickstart.ipynb", tmp_path)
    fewer = {"split=split": "split=split, generated=300, generated_eval=100"}
    outputs = executed(Path(path), monkeypatch, **{"epochs=5": "epochs=1", **fewer})
    assert [o for o in outputs if o["output_type"] == "stream" and o["text"].strip()] == []
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 2
    said = texts(outputs)
    assert "raw pixels" in said
    assert "20% of the cost" in said
    assert "the same features once loaded: True" in said
    assert (tmp_path / "encoder_30" / "config.json").exists()


@pytest.mark.slow
def test_own_images_reads_what_a_run_has_left(
    bare_project: Project, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(bare_project, photographs)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.delenv("PYTHONPATH", raising=False)
    outputs = executed(bare_project.path / "notebooks" / "own_images.ipynb", monkeypatch)
    said = texts(outputs)
    assert "kedro run --config" in said
    assert "nested, 40 %" in said
    assert "gives (4, 64)" in said
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 3
