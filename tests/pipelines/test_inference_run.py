"""Timing and export through Kedro's command line, and exported files without this project."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from conftest import ROOT, TIMED, Project
from pipelines.page_text import text_of
from ssl_kedro.encoders.bundle import load_bundle, load_encoder
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.inference.network import CompactNetwork

MODEL = "dual.budget_50.inference"


def test_metrics_table_and_report_tell_what_gating_gains(finished: Project) -> None:
    metrics = json.loads((finished.results / "metrics.json").read_text())
    found = {key.removeprefix(f"{MODEL}.") for key in metrics if key.startswith(MODEL)}
    expected = {"removed_channels"}
    for batch in (1, 8):
        names = ["ratio", "fallback", "gated_ratio", "static_ratio"]
        for network in ("dense", "gated", "static"):
            names += [f"{network}_ms", f"{network}_images_per_second"]
        expected |= {f"batch_{batch}.{name}" for name in names}
        assert metrics[f"{MODEL}.batch_{batch}.ratio"] >= 1
    for network in ("gated", "static"):
        expected |= {
            f"{network}.{name}" for name in ("flop_reduction", "knn_top1", "linear_top1_mean")
        }
    expected |= {
        f"forced.{name}"
        for name in ("changed_images", "opened_share", "changed_gates", "feature_change")
    }
    assert found == expected
    with (finished.results / "inference.csv").open() as file:
        rows = [row["model"] for row in csv.DictReader(file)]
    assert sorted(rows) == ["dual.budget_50"] * 6 + ["vicreg"] * 2
    report = text_of((finished.results / "report.html").read_text())
    assert "Inference: FLOPs and time" in report
    assert "times as fast as the best dense engine at batch 8" in report
    client = MlflowClient(f"sqlite:///{finished.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ssl_kedro")
    assert experiment is not None
    (parent,) = [
        run
        for run in client.search_runs([experiment.experiment_id], order_by=["start_time"])
        if "mlflow.parentRunId" not in run.data.tags
    ][-1:]
    table = Path(client.download_artifacts(parent.info.run_id, "metrics.csv")).read_text()
    assert f"{MODEL}.batch_8.ratio," in table


@pytest.fixture(scope="module")
def exported(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished project in which `--tags export` has run."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported") / "project"
    shutil.copytree(finished.path, folder)
    project = Project(folder)
    done = project.run({"parts": "table_6_1;figure_6_1;figure_6_2", **TIMED}, "--tags", "export")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_an_export_of_nothing_or_before_a_run_is_refused_before_it_starts(
    project: Project,
) -> None:
    pytest.importorskip("onnxruntime")
    for changes, words in (
        ({}, "dual_gating.inference.models = []: expected the models to export"),
        (TIMED, "dual_gating.budget_50.encoder"),
    ):
        done = project.run(changes, "--tags", "export")
        assert done.returncode != 0
        assert words in done.stderr.split("Error: ")[-1]
        assert "Traceback" not in done.stderr
        assert not list((project.path / "data").rglob("*.json"))


def test_export_trains_nothing_and_stands_in_metrics_and_report(
    finished: Project, exported: Project
) -> None:
    for path in (finished.path / "data/06_models").rglob("*.safetensors"):
        other = exported.path / path.relative_to(finished.path)
        assert other.stat().st_mtime_ns == path.stat().st_mtime_ns  # copied, not written
    metrics = json.loads((exported.results / "metrics.json").read_text())
    for name in ("compact", "gated", "static"):
        assert metrics[f"dual.budget_50.export.{name}.difference"] < 1e-4
    before = json.loads((finished.results / "metrics.json").read_text())
    assert {k: v for k, v in metrics.items() if ".export." not in k} == before
    report = (exported.results / "report.html").read_text()
    assert "Exported files" in report
    assert "dual_gating.budget_50/export/static.onnx" in report
    hub = json.loads((exported.results / "hub.json").read_text())
    assert (hub["file"] is None) == bool(hub["why"])


@pytest.mark.parametrize("name", ["compact", "gated", "static"])
def test_files_are_loaded_without_this_project(
    exported: Project, name: str, tmp_path: Path
) -> None:
    images = load_images(
        DataConfig(source="textures", size=16, generated=20, generated_eval=40), "eval", 1
    ).images
    np.save(tmp_path / "images.npy", images)
    folder = exported.path / "data/06_models/dual_gating.budget_50"
    example, file = "features_from_onnx.py", folder / "export" / f"{name}.onnx"
    if name == "compact":
        example, file = "features_from_safetensors.py", folder / "export/compact"
    # A package of the same name that fails stands in front of this project.
    blocked = tmp_path / "blocked" / "ssl_kedro"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('blocked')\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/examples" / example), file, "images.npy", "found.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(blocked.parent), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npy")
    encoder, network = (
        load_encoder(folder / "encoder"),
        load_bundle(folder / "export/compact", CompactNetwork),
    )
    batch = torch.from_numpy(images)
    if name == "static":
        assert found.shape == (40, encoder.feature_dimensions)
        assert f"40 features of length {found.shape[1]}" in done.stdout
        return
    with torch.no_grad():
        masks = network.plan.encoder_masks(network.decide(batch)[1])
        expected = encoder(batch, "gated", masks=masks).features.numpy()
    # A gate at its threshold may fall on either side when sums are rounded otherwise.
    close = np.abs(found - expected).max(axis=1) < 1e-3
    assert close.mean() >= 0.9
