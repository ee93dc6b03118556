"""``--tags evaluate``: an encoder that is there already, evaluated without training."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest
import torch

from conftest import Project
from oracles.norms import with_used_norms
from pipelines.page_text import text_of
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.bundle import save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.nested_resnet18 import NestedConfig, NestedResNet18
from ssl_kedro.evaluation.linear_probe import linear_probe_right
from ssl_kedro.images.by_name import load_images
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.given_encoder import _budgets, evaluate_budgets, few_labels
from ssl_kedro.pipelines.gated.preparation import summarise_data

BOTH = pytest.mark.parametrize("pipeline", [dual_gating, dynamic_channels])


@BOTH
def test_the_graph_holds_that_and_nothing_else(pipeline: ModuleType) -> None:
    name = pipeline.__name__.rpartition(".")[2]
    made = pipeline.create_pipeline({"encoder": {"init": "some/folder"}}, ("evaluate",))
    assert all(node.tags == {"evaluate"} for node in made.nodes)
    assert not any("pretrain" in node.name for node in made.nodes)
    assert f"{name}.start" in made.inputs()
    assert {
        f"{name}.given.{what}" for what in ("evaluation", "few_labels", "inference", "report")
    } < (made.all_outputs())
    untimed = {"encoder": {"init": "a.encoder"}, "inference": {"models": []}}
    made = pipeline.create_pipeline(untimed, ("evaluate",))
    assert f"{name}.given.inference" not in made.all_outputs()
    assert "a.encoder" in made.inputs()


@BOTH
def test_without_an_encoder_the_parameter_is_named(pipeline: ModuleType) -> None:
    with pytest.raises(
        ConfigError, match=r"encoder\.init = None: expected the encoder to evaluate"
    ):
        pipeline.create_pipeline({}, ("evaluate",))


@pytest.mark.parametrize(("share", "kept"), [(0.1, 20), (0.04, 8), (0.0001, 4)])
def test_few_labels_are_as_many_of_each_class_and_one_at_least(
    monkeypatch: pytest.MonkeyPatch, share: float, kept: int
) -> None:
    """Classes are directions: one image of each tells them apart."""
    parameters = DualGatingParameters.model_validate({"probe": {"epochs": 30, "runs": 2}})
    labels = np.arange(200, dtype=np.int64) % 4
    features = 10 * np.eye(4, dtype=np.float32)[labels]
    features += np.arange(200, dtype=np.float32)[:, None] * 1e-4
    seen = []

    def probe(*sides: np.ndarray, **options: object) -> np.ndarray:
        seen.append(sides[:2])
        return linear_probe_right(*sides, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("ssl_kedro.pipelines.gated.given_encoder.linear_probe_right", probe)
    found = few_labels(parameters, (features, labels), (features[:20], labels[:20]), share)
    assert found == [1.0, 1.0]
    [(used, of)] = seen
    assert np.bincount(of).tolist() == [kept // 4] * 4
    places = np.rint((used.sum(axis=1) - 10) / 4e-4).astype(int)
    assert np.array_equal(labels[places], of)
    assert len(set(places)) == kept


@BOTH
def test_other_tags_beside_it_are_refused(pipeline: ModuleType) -> None:
    with pytest.raises(
        ConfigError, match="--tags = 'evaluate,export': expected evaluate without other tags"
    ):
        pipeline.create_pipeline({"encoder": {"init": "a/b"}}, ("evaluate", "export"))


def test_a_nested_encoder_is_evaluated_at_budgets_as_well() -> None:
    torch.manual_seed(0)
    sets = [
        load_images("textures", split, size=16, generated=60, generated_eval=30)
        for split in ("train", "eval")
    ]
    values = {"probe": {"epochs": 2, "runs": 1}, "data": {"size": 16}, "budgets": [0.1, 0.3, 0.6]}
    parameters = DualGatingParameters.model_validate(values)
    data = summarise_data(sets[0], *sets)
    made = NestedResNet18(NestedConfig("cifar_pad1", 4), branches=("dense",), image_size=16)
    with_used_norms(made)
    assert evaluate_budgets(parameters, data, made, *sets) == {}  # not calibrated
    made.calibrate(sets[0].images)
    found = evaluate_budgets(parameters, data, made, *sets)
    assert set(found) == {"0.3", "0.6"}  # one channel a block costs more than a tenth
    assert made.smallest_budget > 0.1
    for budget, one in found.items():
        light = made.at_budget(float(budget))
        assert one["macs"] == light.cost(16).dense
        known, asked = (light.dense(torch.from_numpy(part.images)) for part in sets)
        nearest = torch.cdist(asked, known).argmin(dim=1).numpy()
        expected = float((sets[0].labels[nearest] == sets[1].labels).mean())
        assert one["knn_top1"] == pytest.approx(expected, abs=1 / 30)
        assert 0 <= one["linear_top1_mean"] <= 1
    [section] = _budgets(found)
    assert [row[0] for row in section.tables[0].rows] == ["30\xa0%", "60\xa0%"]
    plain = GatedResNet18(EncoderConfig("cifar_pad1", 4), branches=("dense",), image_size=16)
    assert evaluate_budgets(parameters, data, plain, *sets) == {}
    assert _budgets({}) == []


def test_a_run_evaluates_a_bundle_and_trains_nothing(project: Project) -> None:
    torch.manual_seed(0)
    shape = EncoderConfig("cifar_pad1", 6)
    encoder = with_used_norms(GatedResNet18(shape, image_size=16))
    save_encoder(encoder, project.path / "mine")
    changes = {"encoder.init": str(project.path / "mine"), "probe.epochs": 20}
    done = project.run(changes, "--tags", "evaluate")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project.path / "data/07_model_output/dual_gating.given"
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["macs"]["own"] == encoder.cost(16).dense
    assert found["training"]["epochs"] == 0
    assert not list((project.path / "data/06_models").glob("**/training.json"))
    sets = [
        load_images("textures", split, size=16, generated=200, generated_eval=60)
        for split in ("train", "eval")
    ]
    with torch.inference_mode():
        known, asked = (encoder.dense(torch.from_numpy(part.images)) for part in sets)
    nearest = torch.cdist(asked, known).argmin(dim=1).numpy()
    expected = float((sets[0].labels[nearest] == sets[1].labels).mean())
    assert found["branches"]["dense"]["knn_top1"] == pytest.approx(expected, abs=1 / 60)
    few = json.loads((folder / "few_labels.json").read_text())
    assert set(few) == {"dense", "gated"}
    assert all(len(few[branch][share]) == 2 for branch in few for share in ("0.01", "0.1"))
    page = text_of((project.results.parent / "dual_gating.given/report.html").read_text())
    assert "Linear, 10 labels" in page and "Linear, 20 labels" in page
    assert f"{found['parameters']:,}" in page
