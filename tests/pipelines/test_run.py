"""The whole pipeline through Kedro's command line, on tiny parameters."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from safetensors.numpy import load_file
from sklearn.neighbors import KNeighborsClassifier

from conftest import TINY, Project
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.images.load import DataConfig, load_images


def metrics_of(project: Project) -> dict[str, float]:
    return json.loads((project.results / "metrics.json").read_text())  # type: ignore[no-any-return]


def expected_keys(budgets: list[int]) -> set[str]:
    accuracies = ("linear_top1_mean", "linear_top1_std", "knn_top1", "knn_normalised_top1")
    shares = ("always_on", "always_off", "dependent")
    keys = {"dense_macs", "chance", "raw_pixels.knn_top1", "random_init.knn_top1"}
    keys |= {f"vicreg.dense.{a}" for a in accuracies}
    for b in budgets:
        keys |= {f"vicreg_gating.budget_{b}.gated.{a}" for a in accuracies}
        keys |= {
            f"dual.budget_{b}.{branch}.{a}" for branch in ("dense", "gated") for a in accuracies
        }
        for model in ("vicreg_gating", "dual"):
            keys.add(f"{model}.budget_{b}.gated.flop_reduction")
            keys |= {f"{model}.budget_{b}.channels.{share}" for share in shares}
    return keys


def without_inference(metrics: dict[str, float]) -> dict[str, float]:
    """Times differ from run to run."""
    timed = {key for key in metrics if ".inference." in key or key == "deployment"}
    return {key: value for key, value in metrics.items() if key not in timed}


def test_metrics_have_the_promised_flat_keys(finished: Project) -> None:
    metrics = without_inference(metrics_of(finished))
    assert metrics.keys() == expected_keys([50])
    assert all(isinstance(value, int | float) for value in metrics.values())
    fractions = {k: v for k, v in metrics.items() if k != "dense_macs"}
    assert all(0 <= value <= 1 for value in fractions.values())
    assert metrics["chance"] == pytest.approx(0.1)


def test_results_stand_beside_each_other(finished: Project) -> None:
    names = {path.name for path in finished.results.iterdir()}
    assert {"metrics.json", "table_6_1.csv", "report.html", "run_manifest.json"} <= names
    assert len([name for name in names if name.endswith(".png")]) >= 4
    report = (finished.results / "report.html").read_text()
    assert "http://" not in report.replace("http://www.w3.org", "")
    assert "https://" not in report
    rows = list(csv.DictReader((finished.results / "table_6_1.csv").open()))
    assert len(rows) == 4  # dense baseline, gated baseline, dual dense and gated


def test_manifest_tells_what_ran(finished: Project) -> None:
    manifest = json.loads((finished.results / "run_manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["execution"]["precision"] == "fp32"
    assert manifest["execution"]["trial_ms"] == {}  # a given precision is not tried out
    assert manifest["data"]["images"] == {"pretrain": 200, "train": 200, "eval": 60}
    assert len(manifest["data"]["fingerprints"]["eval"]) == 16
    assert manifest["versions"]["torch"]
    assert manifest["parameters"]["encoder"]["width"] == 4


def test_metrics_agree_with_the_stored_features(finished: Project) -> None:
    """MACs and 1-NN again from what lies on disk, by other means."""
    metrics = metrics_of(finished)
    data = DataConfig(source="textures", size=16, generated=200, generated_eval=60)
    labels = [load_images(data, split, 0).labels for split in ("train", "eval")]  # type: ignore[arg-type]
    folder = finished.path / "data" / "07_model_output" / "dual_gating.budget_50"
    features = load_file(folder / "features.safetensors")
    for branch in ("dense", "gated"):
        oracle = KNeighborsClassifier(1, algorithm="brute")
        oracle.fit(features[f"{branch}.train"].astype(float), labels[0])
        score = oracle.score(features[f"{branch}.eval"].astype(float), labels[1])
        assert metrics[f"dual.budget_50.{branch}.knn_top1"] == pytest.approx(score, abs=1e-9)
    encoder = load_encoder(finished.path / "data/06_models/dual_gating.budget_50/encoder")
    cost = encoder.cost(16)
    macs = float(cost.fixed) + sum(
        block.macs_per_channel * features[f"open.eval.{block.name}"].sum() / 60
        for block in cost.blocks
    )
    assert metrics["dense_macs"] == cost.dense
    assert metrics["dual.budget_50.gated.flop_reduction"] == pytest.approx(1 - macs / cost.dense)


def test_tracking_has_parent_child_and_epochs(finished: Project) -> None:
    client = MlflowClient(f"sqlite:///{finished.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ssl_kedro")
    assert experiment is not None
    runs = {
        run.data.tags.get("model"): run for run in client.search_runs([experiment.experiment_id])
    }
    child = runs["budget_50"]
    parent = client.get_run(child.data.tags["mlflow.parentRunId"])
    assert {parent.info.status, child.info.status} == {"FINISHED"}
    assert parent.data.params["dual_gating.train.epochs"] == "3"
    reduction = metrics_of(finished)["dual.budget_50.gated.flop_reduction"]
    assert parent.data.metrics["flop_reduction/dual.budget_50.gated"] == pytest.approx(reduction)
    assert child.data.metrics["macs/flop_reduction"] == pytest.approx(reduction)
    assert child.data.params == {
        "method": "dual_gating",
        "budget": "0.5",
        "seed": "0",
        "gates": "{}",
        "options": "{}",
        "width": "null",  # the run's own
        "train": "{}",
        "derived": "",
    }
    assert {one.dataset.name for one in parent.inputs.dataset_inputs} == {"textures"}
    assert len(client.search_logged_models([experiment.experiment_id])) == 3
    history = client.get_metric_history(child.info.run_id, "epochs/loss")
    assert [metric.step for metric in history] == [1, 2, 3]
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "table_6_1.csv", "run_manifest.json"} <= names


def test_the_latest_results_are_a_link_away(finished: Project) -> None:
    link = finished.path / "data/latest/dual_gating"
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == finished.results.resolve()


def test_budgets_are_added_on_the_command_line_and_run_alone(project: Project) -> None:
    done = project.run({"budgets": "0.4;0.6"}, "--tags", "budget_60")
    assert done.returncode == 0, done.stderr
    models = {p.name for p in (project.path / "data/06_models").iterdir()}
    assert models == {
        "dual_gating.vicreg",
        "dual_gating.budget_60",
        "dual_gating.budget_60.vicreg_gating",
    }
    assert not project.results.exists()


@pytest.mark.slow
def test_killed_run_resumes_to_the_numbers_of_an_uninterrupted_one(
    project: Project, finished: Project
) -> None:
    """SIGKILL in the middle of a training, as a lost machine would."""
    log = project.path / "data/06_models/dual_gating.budget_50/epochs.jsonl"
    parameters = ",".join(f"dual_gating.{k}={v}" for k, v in TINY.items())
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--pipeline", "dual_gating", "--params", parameters],
        cwd=project.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (project.results / "metrics.json").exists()
    done = project.run({"train.resume": "true"})
    assert done.returncode == 0, done.stderr
    assert metrics_of(project) == without_inference(metrics_of(finished))


def write_folder(root: Path, *, classes: int = 2, images: int = 30) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", images), ("test", images // 2)):
        for index in range(classes):
            folder = root / part / f"class_{index}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) // (index + 1)
                Image.fromarray(pixels).save(folder / f"{number:03d}.jpg", quality=95)


def folder_changes(root: Path, **more: Any) -> dict[str, object]:
    return {"data.source": "folder", "data.root": root, **more}


@pytest.mark.slow
def test_unusable_folders_are_named_before_any_training(project: Project, tmp_path: Path) -> None:
    one_class = tmp_path / "one"
    write_folder(one_class, classes=1)
    empty = tmp_path / "empty"
    empty.mkdir()
    for root, words in (
        (tmp_path / "nowhere", ["data.root", "nowhere", "To solve it"]),
        (one_class, ["data.root", "class_0"]),
        (empty, ["data.root", "empty"]),
    ):
        done = project.run(folder_changes(root))
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        for word in words:
            assert word in done.stderr, done.stderr
        assert not (project.path / "data" / "06_models").exists()


def test_typed_parameter_errors_are_short(bare_project: Project) -> None:
    done = bare_project.run({"train.lr": -1, "trian.epochs": 3}, cold=True)
    assert done.returncode != 0
    assert "dual_gating.train.lr = -1.0: expected a number above 0" in done.stderr
    assert "dual_gating.trian: there is no such key; did you mean 'train'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bare_project.path / "data").exists()
    assert not (bare_project.path / "mlflow.db").exists()


@pytest.mark.slow
def test_truncated_image_is_skipped_listed_and_limited(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_folder(root, images=60)
    victim = root / "train" / "class_1" / "007.jpg"
    victim.write_bytes(victim.read_bytes()[:300])
    done = project.run(folder_changes(root, **{"data.max_skipped": 0.02}))
    assert done.returncode == 0, done.stderr
    summary = json.loads(
        (project.path / "data/03_primary/dual_gating/data_summary.json").read_text()
    )
    assert [path for path, _ in summary["skipped"]] == ["train/class_1/007.jpg"]
    assert "train/class_1/007.jpg" in (project.results / "report.html").read_text()
    before = metrics_of(project)
    limited = project.run(folder_changes(root, **{"data.max_skipped": 0.001}))
    assert limited.returncode != 0
    for word in ("train/class_1/007.jpg", "max_skipped"):
        assert word in limited.stderr
    assert metrics_of(project) == before


@pytest.mark.slow
def test_unlabelled_images_train_and_say_that_evaluation_was_skipped(
    project: Project, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    done = project.run(folder_changes(root))
    assert done.returncode == 0, done.stderr
    metrics = metrics_of(project)
    assert "dual.budget_50.gated.flop_reduction" in metrics
    assert not any("top1" in key for key in metrics)
    assert "label" in (project.results / "report.html").read_text()


@pytest.mark.slow
def test_viz_shows_budgets_side_by_side(project: Project) -> None:
    """Kedro-Viz reads the project with all hooks switched off."""
    done = project.kedro("viz", "build")
    assert done.returncode == 0, done.stdout + done.stderr
    graph = json.loads((project.path / "build" / "api" / "main").read_text())
    children = {child["id"] for child in graph["modular_pipelines"]["dual_gating"]["children"]}
    assert {f"dual_gating.budget_{percent}" for percent in (14, 32, 65)} <= children


def test_any_config_file_and_the_catalog_see_the_same_parameters(project: Project) -> None:
    config = project.path / "mine.yml"
    config.write_text(
        "run:\n  pipeline: dual_gating\n  tags: budget_70\n  params:\n"
        "    dual_gating: {recipe: authors, budgets: [0.7],"
        " data: {size: 16, generated: 40, generated_eval: 20},"
        " encoder: {width: 4}, expander: {hidden: 8, output: 8},"
        " train: {epochs: 2, batch_size: 10, precision: fp32}, probe: {epochs: 2, runs: 1}}\n"
    )
    done = project.kedro("run", "--config", str(config))
    assert done.returncode == 0, done.stderr
    evaluation = project.path / "data/07_model_output/dual_gating.budget_70/evaluation.json"
    assert json.loads(evaluation.read_text())["budget"] == 0.7
    summary = json.loads(
        (project.path / "data/03_primary/dual_gating/data_summary.json").read_text()
    )
    assert summary["images"] == {"pretrain": 40, "train": 40, "eval": 20}
