"""The whole pipeline with trainings that two processes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from conftest import Project, copied_project
from ssl_kedro.encoders.bundle import load_encoder


def trained(project: Project, model: str) -> dict[str, Any]:
    path = project.path / "data" / "06_models" / f"dual_gating.{model}" / "training.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


@pytest.mark.slow
def test_two_workers_make_the_run_of_one(project: Project, tmp_path: Path) -> None:
    """Of one step an epoch: in ten of so small batches rounding alone moves a loss by 2 %."""
    alone = copied_project(tmp_path / "alone")
    for each, workers in ((alone, 1), (project, 2)):
        done = each.run({"data.generated": 20, "train.workers": workers})
        assert done.returncode == 0, done.stdout + done.stderr
    metrics = [json.loads((each.results / "metrics.json").read_text()) for each in (alone, project)]
    assert metrics[0].keys() == metrics[1].keys()
    for key in ("dense_macs", "raw_pixels.knn_top1", "random_init.knn_top1"):
        assert metrics[0][key] == metrics[1][key]
    for model in ("vicreg", "budget_50", "budget_50.vicreg_gating"):
        one, two = trained(alone, model), trained(project, model)
        assert (one["epochs"], one["macs"]) == (two["epochs"], two["macs"])
        for row, wanted in zip(two["history"], one["history"], strict=True):
            assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
        place = Path("data") / "06_models" / f"dual_gating.{model}"
        rows = (project.path / place / "epochs.jsonl").read_text().splitlines()
        assert [json.loads(row) for row in rows] == two["history"]
        encoders = [load_encoder(each.path / place / "encoder") for each in (alone, project)]
        assert encoders[0].branches == encoders[1].branches
    # Rows reached the tracker as they came.
    client = MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    curves = [client.get_metric_history(run.info.run_id, "epochs/loss") for run in runs]
    assert [[row.step for row in curve] for curve in curves if curve] == [[1, 2, 3]] * 3
