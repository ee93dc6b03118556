from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import Project


def test_quickstart_runs_on_the_results_of_a_run(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = finished.path / "notebooks" / "quickstart.ipynb"
    notebook = nbformat.read(path, as_version=4)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "image/png" in kinds
    shown = " ".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert "dual.budget_50.gated.flop_reduction" in shown
    assert "MACs gated" in shown
