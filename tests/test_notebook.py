from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import TIMED, Project


def test_quickstart_runs_on_the_results_of_a_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "recipe": "best",
        "parts": "",
        "train.epochs": 1,
        "frontier.budgets": "0.3;0.5",
        **TIMED,
    }
    done = project.run(changes)
    assert done.returncode == 0, done.stdout + done.stderr
    path = project.path / "notebooks" / "quickstart.ipynb"
    notebook = nbformat.read(path, as_version=4)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    read = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    outputs = [output for cell in read.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "image/png" in kinds
    shown = " ".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert "nested.budget_50.dense.flop_reduction" in shown
    assert "cosine to dense" in shown
