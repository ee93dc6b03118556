"""The whole pipeline with trainings that two processes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from conftest import Project
from ssl_kedro.encoders.bundle import load_encoder


def trained(project: Project, model: str) -> dict[str, Any]:
    path = project.path / "data" / "06_models" / f"dual_gating.{model}" / "training.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


@pytest.mark.slow
def test_two_workers_make_the_run_of_one(finished: Project, project: Project) -> None:
    done = project.run({"train.workers": 2})
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = [
        json.loads((one.results / "metrics.json").read_text()) for one in (finished, project)
    ]
    # The finished run has timed its encoders as well.
    untimed = {key for key in metrics[0] if ".inference." not in key} - {"deployment"}
    assert untimed == metrics[1].keys()
    for key in ("dense_macs", "raw_pixels.knn_top1", "random_init.knn_top1"):
        assert metrics[0][key] == metrics[1][key]
    for model in ("vicreg", "budget_50", "budget_50.vicreg_gating"):
        one, two = trained(finished, model), trained(project, model)
        assert (one["epochs"], one["macs"]) == (two["epochs"], two["macs"])
        # Later epochs follow from rounding at gates and with so small batches from little else.
        assert two["history"][0]["loss"] == pytest.approx(one["history"][0]["loss"], rel=0.02)
        folder = project.path / "data" / "06_models" / f"dual_gating.{model}"
        rows = (folder / "epochs.jsonl").read_text().splitlines()
        assert [json.loads(row) for row in rows] == two["history"]
        assert (
            load_encoder(folder / "encoder").branches
            == load_encoder(
                Path(str(folder).replace(str(project.path), str(finished.path))) / "encoder"
            ).branches
        )
    # Rows reached the tracker as they came.
    client = MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    curves = [client.get_metric_history(run.info.run_id, "epochs/loss") for run in runs]
    assert [[row.step for row in curve] for curve in curves if curve] == [[1, 2, 3]] * 3
