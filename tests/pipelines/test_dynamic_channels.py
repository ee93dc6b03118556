"""The dynamic_channels pipeline: parameters, graph, and whole runs on tiny parameters."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import load_file
from sklearn.neighbors import KNeighborsClassifier

from conftest import Project, copied_project
from ssl_kedro.encoders.bundle import load_bundle, load_encoder
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.pipelines import dynamic_channels
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.gated.nodes import planned_method, run_training
from ssl_kedro.pipelines.gated.records import DataSummary, Training
from ssl_kedro.pipelines.parameters import ParameterError, parsed
from ssl_kedro.training.config import Execution

KEY = "dynamic_channels"
CONF = Path(__file__).parents[2] / "conf"
TINY = {
    "recipe": "authors",
    "data.generated": 200,
    "data.generated_eval": 60,
    "data.size": 16,
    "encoder.width": 4,
    "expander.hidden": 16,
    "expander.output": 16,
    "train.epochs": 2,
    "train.batch_size": 20,
    "train.precision": "fp32",
    "budgets": "0.3;0.5",
    # In moments: what it says of speed means nothing.
    "inference.batches": "2",
    "inference.engines": "eager",
    "inference.seconds": 0.02,
    "operating_point_within": 100,
}


def run(
    project: Project, changes: Mapping[str, object] | None = None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    values = {**TINY, **(changes or {})}
    parameters = ",".join(f"{KEY}.{key}={value}" for key, value in values.items())
    return project.kedro("run", "--pipeline", KEY, "--params", parameters, *arguments)


def results(project: Project) -> Path:
    return project.path / "data/08_reporting" / KEY


def base() -> dict[str, Any]:
    text = (CONF / "base" / f"parameters_{KEY}.yml").read_text()
    return yaml.safe_load(text)[KEY]  # type: ignore[no-any-return]


def check(values: dict[str, Any]) -> DynamicChannelsParameters:
    return parsed(DynamicChannelsParameters, KEY, values)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = copied_project(tmp_path_factory.mktemp(KEY))
    finished = run(made)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return made


def test_a_recipe_replaces_what_it_names() -> None:
    best, authors, text = (check(base() | {"recipe": n}) for n in ("best", "authors", "text"))
    assert (text.train.lr, text.train.weight_decay) == (0.01, 1e-5)
    assert text.train.epochs == best.train.epochs
    assert authors.train == best.train
    assert text.views == dataclasses.replace(best.views, blur=0.5)
    others = {"train", "views", "recipe"}
    assert text.model_dump(exclude=others) == best.model_dump(exclude=others)


@pytest.mark.parametrize("earlier", ["", None, "script"])
def test_earlier_words_name_the_same_recipe(earlier: str | None) -> None:
    assert check(base() | {"recipe": earlier}) == check(base() | {"recipe": "authors"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "paper"}, r"recipe = 'paper': input should be 'best', 'authors' or 'text'"),
        ({"recipes": {"a": {}}}, r"recipes\.a"),
        (
            {"recipes": {"text": {"train": {"lr": -1}}}},
            r"recipes\.text\.train\.lr = -1\.0: expected a number above 0",
        ),
        (
            {"recipes": {"text": {"budgets": [0.01]}}},
            r"recipes\.text\.budgets = 0\.01: expected more than",
        ),
        ({"frontier": {"budgets": [0.3, 1.5]}}, r"frontier\.budgets = 1\.5: expected more than"),
        (
            {"recipes": {"text": {"train": {"rate": 1}}}},
            r"recipes\.text\.train\.rate: there is no such key; .*known: .*lr",
        ),
        ({"budgets": [0]}, r"budgets = 0\.0: expected more than 0\.0\d+ and below 1: stem"),
        ({"budgets": [1.2]}, r"budgets = 1\.2: expected more than 0\.0\d+ and below 1: stem"),
        (
            {"budgets": [0.02]},
            r"budgets = 0\.02: expected more than 0\.0\d+ and below 1: stem, downsample",
        ),
        ({"vicreg": {}}, r"vicreg: there is no such key"),
        ({"operating_point_within": -1}, r"operating_point_within"),
    ],
)
def test_faulty_parameters_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check(base() | changes)


def test_each_budget_is_a_namespace_beside_the_baseline() -> None:
    graph = dynamic_channels.create_pipeline({"budgets": [0.2, 0.6]})
    spaces = {node.namespace for node in graph.nodes if node.namespace}
    assert spaces == {KEY, f"{KEY}.simsiam", f"{KEY}.budget_20", f"{KEY}.budget_60"}
    alone = graph.filter(tags=["budget_20"])
    assert f"{KEY}.budget_20.evaluation" in alone.all_outputs()
    assert f"{KEY}.simsiam.evaluation" in alone.all_outputs()
    assert not any("budget_60" in name for name in alone.datasets())


def test_metrics_have_the_promised_keys(done: Project) -> None:
    found = json.loads((results(done) / "metrics.json").read_text())
    wanted = {"dense_macs", "chance", "raw_pixels.knn_top1", "random_init.knn_top1"}
    wanted.add("simsiam.knn_top1")
    for name in ("budget_30", "budget_50"):
        wanted |= {f"{name}.knn_top1", f"{name}.flop_reduction"}
        wanted |= {f"{name}.channels.{use}" for use in ("always_on", "always_off", "dependent")}
    assert {key for key in found if ".inference." not in key} == (
        wanted | {"operating_point.budget", "deployment"}
    )
    for name in ("budget_30", "budget_50"):
        assert found[f"{name}.inference.batch_2.ratio"] >= 1
        assert 0 <= found[f"{name}.inference.static.knn_top1"] <= 1
    for name in ("budget_30", "budget_50"):
        uses = [found[f"{name}.channels.{u}"] for u in ("always_on", "always_off", "dependent")]
        assert sum(uses) == pytest.approx(1)
    names = {path.name for path in results(done).iterdir()}
    assert {"report.html", "table_5_1.csv", "accuracy_against_cost.png", "channel_usage.png"} <= (
        names
    )
    with (results(done) / "table_5_1.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3


def test_export_after_a_run_marks_the_operating_point(done: Project, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    project = Project(tmp_path / "project")
    shutil.copytree(done.path, project.path)
    before = json.loads((results(project) / "metrics.json").read_text())
    finished = run(project, {}, "--tags", "export")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    percent = round(100 * before["operating_point.budget"])
    exports = json.loads((results(project) / "exports.json").read_text())
    folder = Path(exports[f"simsiam_gating.budget_{percent}"]["files"]["compact"]["path"])
    encoder = load_encoder(project.path / f"data/06_models/{KEY}.budget_{percent}/encoder")
    network = load_bundle(folder, CompactNetwork)
    images = torch.from_numpy(
        load_images(DataConfig(source="textures", size=16, generated=200), "train", 0).images
    )
    with torch.no_grad():
        expected = encoder.gated(images)
        assert torch.allclose(network(images), expected, atol=1e-4)
    report = (results(project) / "report.html").read_text()
    assert f"SimSiam, gated, {percent} % (operating point)" in report
    after = json.loads((results(project) / "metrics.json").read_text())
    assert after[f"budget_{percent}.export.compact.difference"] < 1e-4
    assert {key: after[key] for key in before} == before


def test_metrics_agree_with_what_lies_on_disk(done: Project) -> None:
    """1-NN by scikit-learn, MACs from the gates' own counts."""
    found = json.loads((results(done) / "metrics.json").read_text())
    data = DataConfig(source="textures", size=16, generated=200, generated_eval=60)
    labels = [load_images(data, split, 0).labels for split in ("train", "eval")]
    space = f"{KEY}.budget_30"
    features = load_file(done.path / "data/07_model_output" / space / "features.safetensors")
    nearest = KNeighborsClassifier(1).fit(features["gated.train"], labels[0])
    assert found["budget_30.knn_top1"] == pytest.approx(
        nearest.score(features["gated.eval"], labels[1])
    )
    encoder = load_encoder(done.path / "data/06_models" / space / "encoder")
    assert encoder.branches == ("gated",)
    cost = encoder.cost(16)
    macs = cost.fixed + sum(
        b.macs_per_channel * features[f"open.eval.{b.name}"].sum() / 60 for b in cost.blocks
    )
    assert found["budget_30.flop_reduction"] == pytest.approx(1 - macs / cost.dense)
    assert found["dense_macs"] == cost.dense


@pytest.mark.slow
def test_budgets_can_be_changed_by_a_configuration_file(project: Project) -> None:
    values: dict[str, Any] = {}
    for key, value in (TINY | {"budgets": [0.4]}).items():
        target = values
        *parents, last = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    config = {"run": {"pipeline": KEY, "params": {KEY: values}}}
    (project.path / "my.yml").write_text(yaml.safe_dump(config))
    finished = project.kedro("run", "--config", "my.yml")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = json.loads((results(project) / "metrics.json").read_text())
    assert "budget_40.flop_reduction" in found
    assert "budget_30.flop_reduction" not in found


def test_unlabelled_images_train_and_the_report_says_what_was_skipped(project: Project) -> None:
    folder = project.path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(60):
        pixels = generator.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    finished = run(project, {"data.source": "folder", "data.root": folder, "budgets": 0.5})
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = json.loads((results(project) / "metrics.json").read_text())
    assert "budget_50.flop_reduction" in found
    assert not any("knn" in key or "operating" in key for key in found)
    assert "carry no labels" in (results(project) / "report.html").read_text()
    encoder = load_encoder(project.path / f"data/06_models/{KEY}.budget_50/encoder")
    assert encoder.gated(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).shape == (1, 32)


def test_collapse_is_reported_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    p = check(
        base()
        | {
            "data": {"source": "textures", "generated": 40, "size": 16},
            "encoder": {"width": 4},
            "expander": {"hidden": 8, "output": 8},
            "train": {"epochs": 1, "batch_size": 20, "warmup_epochs": 0, "precision": "fp32"},
        }
    )
    images = load_images(p.data, "train", 0)
    data = DataSummary("textures", True, (), 16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), {}, {})
    training = Training("simsiam", None, 0)
    for weight, expected in ((None, False), (0.0, True)):
        planned = planned_method(p, data, training)
        method = planned.build()
        if weight is not None:
            # A projector whose last layer puts out a constant: every embedding is one point.
            monkeypatch.setattr(method, "projector", torch.nn.Linear(32, 8))
            torch.nn.init.constant_(method.projector.weight, weight)
            torch.nn.init.ones_(method.projector.bias)
            method.projector.requires_grad_(False)
        caplog.clear()
        plan = SimpleNamespace(setup=planned.setup, build=lambda method=method: method)
        with caplog.at_level(logging.WARNING):
            _, found = run_training(
                p, Execution("cpu", "fp32", {}), images, None, None, training, plan, {}
            )
        assert found.collapsed is expected
        assert ("simsiam, seed 0 has collapsed" in caplog.text) is expected
