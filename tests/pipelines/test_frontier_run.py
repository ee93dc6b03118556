"""Whole runs of `--tags frontier`: what peers cost and reach, counted and searched anew."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from conftest import TINY, Project, copied_project
from pipelines.page_text import text_of
from pipelines.test_dynamic_channels import TINY as TINY_DYNAMIC
from ssl_kedro.core.precision import processor_lacks
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.images.load import DataConfig, load_images

pytestmark = pytest.mark.slow
# Of width 4: 2 and 3 channels.
FEW = {"frontier.widths": "0.5;0.75", "frontier.budgets": "0.3;0.5", "budgets": "0.5"}
RUNS = {
    "dual_gating": {**TINY, **FEW},
    "dynamic_channels": {**TINY_DYNAMIC, **FEW, "repeats": 2},
}
QUICK = {"inference.batches": "2", "inference.engines": "eager", "inference.seconds": 0.02}


@dataclass(frozen=True)
class Done:
    """A run that has ended."""

    project: Project
    pipeline: str

    @property
    def results(self) -> Path:
        return self.project.path / "data/08_reporting" / self.pipeline

    def folder(self, kind: str, space: str) -> Path:
        return self.project.path / "data" / kind / f"{self.pipeline}.{space}"

    def encoder(self, space: str) -> Encoder:
        return load_encoder(self.folder("06_models", space) / "encoder")

    def rows(self) -> dict[tuple[str, str], dict[str, str]]:
        with (self.results / "peers.csv").open() as file:
            return {(row["model"], row["network"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module", params=RUNS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    pipeline = request.param
    made = copied_project(tmp_path_factory.mktemp(pipeline))
    values = {**RUNS[pipeline], **QUICK}
    parameters = ",".join(f"{pipeline}.{key}={value}" for key, value in values.items())
    arguments = ("run", "--pipeline", pipeline, "--tags", "frontier", "--params", parameters)
    ended = made.kedro(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Done(made, pipeline)


def counted_macs(encoder: Encoder, side: int) -> int:
    """Multiply-accumulates of every convolution that an image passes through, one by one."""
    found = []

    def count(conv: nn.Module, _: Any, out: torch.Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        found.append(out[0].numel() * conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1])

    hooks = [
        module.register_forward_hook(count)
        for module in encoder.modules()
        if isinstance(module, nn.Conv2d)
    ]
    encoder(torch.zeros(1, 3, side, side), "dense")
    for hook in hooks:
        hook.remove()
    return sum(found)


@pytest.mark.parametrize(
    ("key", "space"),
    [
        ("thin.width_2", "width_2.thin"),
        ("thin.width_3", "width_3.thin"),
        ("distilled.width_3", "width_3.distilled"),
        ("slim.width_3", "width_3.slim"),
        ("pruned.budget_50", "budget_50.pruned"),
        ("nested.budget_30", "budget_30.nested"),
    ],
)
def test_costs_are_those_of_the_saved_encoders(done: Done, key: str, space: str) -> None:
    row = done.rows()[key, "dense"]
    encoders = [done.encoder(f"{space}{end}") for end in ("", ".seed_1")[: int(row["seeds"])]]
    macs = [counted_macs(encoder, 16) for encoder in encoders]
    assert float(row["macs"]) == pytest.approx(sum(macs) / len(macs))
    assert int(row["parameters"]) == sum(p.numel() for p in encoders[0].parameters())
    whole = "vicreg" if done.pipeline == "dual_gating" else "simsiam"
    share = 100 * float(row["macs"]) / counted_macs(done.encoder(whole), 16)
    assert float(row["cost_share"]) == pytest.approx(share)
    if ".budget_" in key:
        assert share <= int(key[-2:])
    if key.startswith("slim"):
        assert row["macs"] == done.rows()["thin.width_3", "dense"]["macs"]


def test_accuracies_are_those_of_a_plain_search(done: Done) -> None:
    config = DataConfig(generated=200, generated_eval=60, size=16)
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    rows, seeds = done.rows(), RUNS[done.pipeline].get("repeats", 1)
    for key, space in (("thin.width_3", "width_3.thin"), ("pruned.budget_50", "budget_50.pruned")):
        found = []
        for seed in range(int(seeds)):
            end = f".seed_{seed}" if seed else ""
            features = load_file(
                done.folder("07_model_output", space + end) / "features.safetensors"
            )
            search = KNeighborsClassifier(1).fit(features["dense.train"], train.labels)
            found.append(100 * search.score(features["dense.eval"], held.labels))
        assert float(rows[key, "dense"]["knn_top1"]) == pytest.approx(sum(found) / len(found))
        assert int(rows[key, "dense"]["seeds"]) == seeds


def test_all_that_a_peer_needs_is_counted_once(done: Done) -> None:
    rows = done.rows()
    baseline = "vicreg" if done.pipeline == "dual_gating" else "simsiam"
    dense = rows[baseline, "dense"]
    for measure in ("seconds", "macs"):
        own, everything = f"training_{measure}", f"total_training_{measure}"
        taught = rows["distilled.width_2", "dense"]
        expected = float(taught[own]) + float(dense[own])
        assert float(taught[everything]) == pytest.approx(expected)
        cut = rows["pruned.budget_50", "dense"]
        assert (float(cut[own]), cut[everything]) == (0, dense[own])
        for name, cuts in (
            ("slim", ("width_2", "width_3")),
            ("nested", ("budget_30", "budget_50")),
        ):
            whole = rows[name, "dense"]
            for cut in cuts:
                narrow = rows[f"{name}.{cut}", "dense"]
                assert (float(narrow[own]), narrow[everything]) == (0, whole[own])
    manifest = json.loads((done.results / "run_manifest.json").read_text())
    trained = [
        json.loads(path.read_text())["seconds"]
        for path in done.project.path.glob("data/06_models/*/training.json")
    ]
    assert manifest["training_seconds"] == pytest.approx(sum(trained), abs=0.06)  # one decimal


def test_metrics_and_report_tell_of_them(done: Done) -> None:
    metrics = json.loads((done.results / "metrics.json").read_text())
    spaces = {
        "thin.width_2": "width_2.thin",
        "distilled.width_3": "width_3.distilled",
        "slim.width_2": "width_2.slim",
        "pruned.budget_50": "budget_50.pruned",
        "nested.budget_50": "budget_50.nested",
    }
    for key, space in spaces.items():  # of the first seed, which is the only one in chapter 6 here
        file = done.folder("07_model_output", space) / "evaluation.json"
        evaluation = json.loads(file.read_text())
        nearest = evaluation["branches"]["dense"]["knn_top1"]
        assert metrics[f"{key}.dense.knn_top1"] == nearest
        macs = evaluation["macs"]
        saved = 1 - macs["own"] / macs["dense"]
        assert metrics[f"{key}.dense.flop_reduction"] == pytest.approx(saved)
    report = (done.results / "report.html").read_text()
    assert "thin, width 3" in report
    assert "learned static, 50 %" in report


def beaten(row: dict[str, str], others: list[dict[str, str]], measure: str) -> bool:
    """By one that is no slower and no less accurate, and better in one of the two."""
    at = float(row["ms_per_image"]), -float(row[measure])
    points = [(float(other["ms_per_image"]), -float(other[measure])) for other in others]
    return any(x <= at[0] and y <= at[1] and (x, y) != at for x, y in points)


def test_the_front_is_what_no_other_network_beats(done: Done) -> None:
    with (done.results / "frontier.csv").open() as file:
        rows = list(csv.DictReader(file))
    measure = "linear" if done.pipeline == "dual_gating" else "knn"
    offered = [row for row in rows if row["offered"] == "True"]
    for row in rows:
        on_front = row["offered"] == "True" and not beaten(row, offered, measure)
        assert row["on_front"] == str(on_front), row
    # PyTorch alone raced, in the precisions that the processor has; every peer is there.
    computed = [one for one in ("f32", "bf16") if not processor_lacks(one)]
    assert {(row["engine"], row["precision"]) for row in rows} == {("eager", p) for p in computed}
    assert {row["model"] for row in rows} == {model for model, _ in done.rows()}
    seeds = {row["seeds"] for row in rows}
    assert seeds == ({"1"} if done.pipeline == "dual_gating" else {"2"})
    # The dense baseline in f32 is what the evaluation found, and is compared with nothing.
    baseline = "vicreg" if done.pipeline == "dual_gating" else "simsiam"
    (dense,) = [r for r in rows if r["model"] == baseline and r["precision"] == "f32"]
    peers = done.rows()[baseline, "dense"]
    assert float(dense["knn"]) == pytest.approx(float(peers["knn_top1"]), abs=0.01)
    assert dense[f"{measure}_low"] == ""
    chosen = json.loads((done.results / "metrics.json").read_text())["deployment"]
    best = max(float(row[measure]) for row in offered)
    close = [row for row in offered if float(row[measure]) >= best - 1 - 1e-9]
    fastest = min(close, key=lambda row: float(row["ms_per_image"]))
    assert (chosen["model"], chosen["network"]) == (fastest["model"], fastest["network"])
    assert chosen["precision"] == fastest["precision"] and fastest["deployed"] == "True"
    assert chosen["why"][:60] in text_of((done.results / "report.html").read_text())


def test_what_is_deployed_runs_without_this_project(done: Done, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    models = done.project.path / "data/06_models"
    written = {path: path.stat().st_mtime_ns for path in models.rglob("encoder/*")}
    values = ",".join(
        f"{done.pipeline}.{key}={value}" for key, value in {**RUNS[done.pipeline], **QUICK}.items()
    )
    asked = ("--pipeline", done.pipeline, "--tags", "frontier,export", "--params", values)
    ended = done.project.kedro("run", *asked)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {path: path.stat().st_mtime_ns for path in models.rglob("encoder/*")} == written
    folder = models / done.pipeline / "deployment"
    chosen = json.loads((folder / "deployment.json").read_text())
    # A package of the same name that fails stands in front of this project.
    blocked = tmp_path / "blocked" / "ssl_kedro"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('blocked')\n")
    images = load_images(DataConfig(source="textures", size=16, generated=20), "train", 1).images
    np.save(tmp_path / "images.npy", images)
    environment = {**os.environ, "PYTHONPATH": str(blocked.parent), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, str(folder / "features.py"), "images.npy", "features.npy"]
    run = subprocess.run(
        program, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "features.npy")
    assert f"features {found.shape}" in run.stdout
    assert len(found) == 20 and np.isfinite(found).all() and found.std() > 0
    # Whose file it is, and without gates what that encoder computes.
    content = (folder / chosen["files"]["onnx"]).read_bytes()
    whose = [path for path in models.glob("*/export/*.onnx") if path.read_bytes() == content]
    assert whose
    encoder = load_encoder(whose[0].parent.parent / "encoder")
    if encoder.branches == ("dense",):
        with torch.no_grad():
            expected = encoder(torch.from_numpy(images), "dense").features.numpy()
        assert np.allclose(found, expected, atol=1e-4)
