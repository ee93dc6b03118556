"""Whole runs of `--tags frontier`: what peers cost and reach, counted and searched anew."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from conftest import TINY, Project, copied_project
from pipelines.test_dynamic_channels import TINY as TINY_DYNAMIC
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.images.load import DataConfig, load_images

pytestmark = pytest.mark.slow
# Of width 4: 2 and 3 channels.
FEW = {"frontier.widths": "0.5;0.75", "budgets": "0.5"}
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
    if key.startswith("pruned"):
        assert share <= 50
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
        whole = rows["slim", "dense"]
        for key in ("slim.width_2", "slim.width_3"):
            narrow = rows[key, "dense"]
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
