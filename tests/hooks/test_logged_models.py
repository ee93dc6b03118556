"""Trained networks as MLflow models: loaded anywhere, they give what the network gives."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import mlflow
import numpy as np
import pytest
import torch
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from mlflow import MlflowClient

from ssl_kedro.datasets.files import EncoderBundleDataset, SaliencyModelDataset
from ssl_kedro.encoders.classifier import Classifier, Head, with_classifier
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.encoders.saliency_model import DecoderConfig, SaliencyModel, build_decoder
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.hooks.mlflow_models import _signature
from ssl_kedro.hooks.tracking import TrackingHook

METADATA = {"mlflow": "model"}
ENCODER, SALIENCY = "dual_gating.budget_30.encoder", "saliency360.models.random.given.model"


class Logged:
    """A store with an encoder and a saliency model, each of a run of its own."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        setup = EncoderSetup(EncoderConfig(width=4), 16)
        self.encoder = setup.build(("dense", "gated"), GateConfig()).eval()
        panoramas = PanoramaEncoder(PanoramaEncoderConfig(width=0.05))
        decoder = build_decoder(DecoderConfig(kind="light"), panoramas.map_channels)
        self.saliency = SaliencyModel(panoramas, decoder).eval()
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        hook, catalog = (
            TrackingHook(),
            DataCatalog(
                {
                    ENCODER: EncoderBundleDataset(filepath=str(folder / "e"), metadata=METADATA),
                    SALIENCY: SaliencyModelDataset(filepath=str(folder / "s"), metadata=METADATA),
                }
            ),
        )
        values = {"tracking_uri": self.uri, "experiment": "tests", "register_as": "mine"}
        context: Any = SimpleNamespace(config_loader={"mlflow": values}, project_path=folder)
        hook.after_context_created(context)
        trained = {ENCODER: self.encoder, SALIENCY: self.saliency}
        for _ in range(2):
            made = [node(lambda: None, None, name, name=name.split(".")[0]) for name in trained]
            hook.before_pipeline_run({"pipeline_names": ["all"]}, Pipeline(made), catalog)
            for one, (name, network) in zip(made, trained.items(), strict=True):
                catalog.save(name, network)
                hook.after_dataset_saved(name, network, one)
            hook.after_pipeline_run()
        self.client = MlflowClient(self.uri)
        experiment = self.client.get_experiment_by_name("tests").experiment_id
        self.models = {m.name: m for m in self.client.search_logged_models([experiment])}


@pytest.fixture(scope="module")
def logged(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("logged")
    shutil.copy(tables, folder / "mlflow.db")
    return Logged(folder)


def loaded(logged: Logged, name: str) -> Any:
    return mlflow.pyfunc.load_model(logged.models[name].artifact_location)


def test_an_encoder_predicts_what_it_gives_here(logged: Logged) -> None:
    model = loaded(logged, "budget_30")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), np.uint8)
    expected = {branch: logged.encoder.features(images, branch) for branch in ("dense", "gated")}
    np.testing.assert_array_equal(model.predict(images), expected["gated"])
    dense = model.predict(images, params={"branch": "dense"})
    np.testing.assert_array_equal(dense, expected["dense"])


def test_a_saliency_model_takes_panoramas_of_any_size(logged: Logged) -> None:
    model = loaded(logged, "models-random-given")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 96), np.uint8)
    with torch.no_grad():
        expected = logged.saliency(torch.from_numpy(images))
    np.testing.assert_array_equal(model.predict(images), expected)


def test_a_model_has_a_signature_and_an_example_that_it_takes(logged: Logged) -> None:
    for name, shape in (
        ("budget_30", (1, logged.encoder.feature_dimensions)),
        ("models-random-given", (1, 1, 32, 64)),
    ):
        model = loaded(logged, name)
        assert model.metadata.signature is not None
        assert model.predict(model.input_example).shape == shape


def test_nothing_in_a_model_is_a_pickle(logged: Logged) -> None:
    for model in logged.models.values():
        folder = Path(url2pathname(urlparse(model.artifact_location).path))
        files = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert files <= {"", ".json", ".safetensors", ".txt", ".yaml"}
        requirements = (folder / "requirements.txt").read_text()
        assert "ssl_kedro" in requirements


def test_models_belong_to_the_run_that_trained_them_and_to_the_registry(logged: Logged) -> None:
    for name, model in logged.models.items():
        run = logged.client.get_run(model.source_run_id)
        assert run.data.tags["model"] == name.replace("-", ".")
        assert run.outputs.model_outputs[0].model_id == model.model_id
        assert model.status == "READY"
        pipeline = run.data.tags["pipeline"]
        versions = logged.client.search_model_versions(f"name = 'mine-{pipeline}-{name}'")
        assert {version.version for version in versions} == {1, 2}
        assert model.artifact_location in {version.source for version in versions}


def test_no_run_is_left_active(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    assert mlflow.active_run() is None
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_one_that_names_classes_says_that_its_output_can_be_chosen(logged: Logged) -> None:
    heads: Any = {"gated": Head(torch.zeros(logged.encoder.feature_dimensions, 2), torch.zeros(2))}
    named = with_classifier(logged.encoder, Classifier(("cat", "dog"), heads))
    for network, expected in ((named, ["branch", "output"]), (logged.encoder, ["branch"])):
        assert [one.name for one in _signature(network).params] == expected
