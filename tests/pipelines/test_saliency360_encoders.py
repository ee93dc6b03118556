"""Encoders of saliency360 that come from elsewhere: bundles of any pipeline, files of others."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from conftest import TINY_SALIENCY, Project
from oracles.norms import with_used_norms
from pipelines.test_saliency360 import KEY, check, merged, metrics, results
from ssl_kedro.core.config import ConfigError
from ssl_kedro.datasets.sources import GivenEncoderDataset
from ssl_kedro.encoders.bundle import load_bundle, save_bundle, save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.pipelines import saliency360
from ssl_kedro.pipelines.parameters import ParameterError
from ssl_kedro.pipelines.saliency360.nodes import given_encoder
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters


def trained(**options: Any) -> GatedResNet18:
    torch.manual_seed(0)
    return with_used_norms(
        GatedResNet18(EncoderConfig(stem="cifar_pad1", width=4), image_size=32, **options)
    )


def given(folder: Path | str, *, models: bool = True, **plan: object) -> dict[str, Any]:
    values = {"mine": {"kind": "bundle", "file": str(folder), **plan}}
    return merged(encoders=values, models={"mine": {"encoder": "mine"}} if models else {}) | {
        "deploy": "mine"
    }


def checked(values: dict[str, Any], network: MapNetwork | None = None) -> Saliency360Parameters:
    """Parameters, after the look at the network that is taken before a run starts."""
    parameters = check(values)
    if network is None:
        network = GivenEncoderDataset(name="mine", encoders=values["encoders"]).look()
    parameters.check_seen("given_encoder", {"encoder": "mine"}, {"file": network})
    return parameters


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            {"kind": "onnx"},
            r"mine\.kind = 'onnx': .*one of contrastive.*an ONNX file has no layers",
        ),
        ({"kind": "pixels"}, r"mine\.kind = 'pixels': expected one of contrastive, random, file"),
        ({"file": None}, r"mine\.file = None: expected a path"),
        ({"kind": "file", "file": None}, r"mine\.file = None: expected a path"),
        ({"kind": "random"}, r"mine\.file = 'f': expected none: kind \"random\" reads no weights"),
        ({"kind": "timm"}, r"mine\.model = '': expected a name that timm knows"),
        ({"branch": "gate"}, r"mine\.branch"),
        ({"kind": "moco_v2", "branch": "gated"}, r"mine\.branch = 'gated': expected \"dense\""),
        ({"file": "nowhere://f"}, r"mine\.file"),
    ],
)
def test_what_is_no_encoder_is_refused_by_its_key(plan: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check(given("f", **plan))


def test_an_onnx_file_is_not_fine_tuned_either() -> None:
    values = given("f", kind="onnx")
    values["models"]["mine"]["fine_tune"] = True
    with pytest.raises(ParameterError, match=r"mine\.kind = 'onnx'.*or to train"):
        check(values)


def test_a_missing_file_is_named_with_where_it_comes_from() -> None:
    parameters = check(given("gone"))
    with pytest.raises(ConfigError, match=r"encoders\.mine\.file = 'gone': .*bundle folder that"):
        parameters.check_missing(f"{KEY}.encoders.mine.file")
    parameters = check(given("gone.pth", kind="moco_v2"))
    with pytest.raises(ConfigError, match=r"gone\.pth': expected a file that exists, from https"):
        parameters.check_missing(f"{KEY}.encoders.mine.file")


def test_a_branch_or_a_size_that_there_is_not_is_refused_before_the_run(tmp_path: Path) -> None:
    save_encoder(trained(branches=("dense",)), tmp_path / "dense")
    values = given(tmp_path / "dense")
    checked(values)
    with pytest.raises(Exception, match="this encoder has no 'gated' branch"):
        checked(given(tmp_path / "dense", branch="gated"))
    save_bundle(PanoramaEncoder(PanoramaEncoderConfig(width=0.05)), tmp_path / "panorama")
    with pytest.raises(ConfigError, match=r"mine\.branch = 'gated': .*without branches"):
        checked(given(tmp_path / "panorama", branch="gated"))
    values["recipe"] = "raw_bgr"
    with pytest.raises(ConfigError, match=r"models\.mine\.recipe = 'raw_bgr': expected without"):
        checked(values)
    checked(given(tmp_path / "panorama") | {"recipe": "raw_bgr"})
    name = "vit_tiny_patch16_224"
    torch.save(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "vit.pth")
    with pytest.raises(ConfigError, match=r"image = '160 x 320': expected a size that encoders\.m"):
        checked(given(tmp_path / "vit.pth", kind="timm", model=name))


def test_a_budget_of_videos_asks_for_gates() -> None:
    """Where the deployed model has none, a run says so before it starts."""
    values = given("f", branch="gated")
    values["predict"]["budget"] = 0.3
    assert check(values).predict.budget == 0.3
    with pytest.raises(ParameterError, match=r"predict\.budget = 0\.3: expected null: .*of contr"):
        check(merged(predict__budget=0.3))


def test_old_parameters_still_name_an_earlier_runs_encoder(tmp_path: Path) -> None:
    network = PanoramaEncoder(PanoramaEncoderConfig(width=0.05, architecture="vgg16")).eval()
    save_bundle(network, tmp_path / "encoder")
    values = given(tmp_path / "encoder", kind="file")
    parameters = checked(values)
    node = next(n for n in saliency360.create_pipeline(values).nodes if n.short_name == "load_mine")
    assert f"{KEY}.encoders.mine.file" in node.inputs
    loaded = GivenEncoderDataset(name="mine", encoders=values["encoders"]).load()
    found = given_encoder(parameters, loaded, encoder="mine")["network"]
    images = torch.rand(1, 3, 32, 64)
    assert found.architecture == "vgg16"  # that of the bundle, whatever the parameters say
    with torch.no_grad():
        assert torch.equal(found(images), network(images))


def test_a_published_file_becomes_an_encoder_of_panoramas(tmp_path: Path) -> None:
    name = "resnet18"
    torch.manual_seed(0)
    published = with_used_norms(timm.create_model(name, num_classes=0))
    torch.save(published.state_dict(), tmp_path / "w.pth")
    values = given(tmp_path / "w.pth", kind="timm", model=name, longitude_padding="zeros")
    parameters = checked(values)
    loaded = GivenEncoderDataset(name="mine", encoders=values["encoders"]).load()
    network = given_encoder(parameters, loaded, encoder="mine")["network"]
    images = torch.rand(1, 3, 64, 128)
    mean, std = (
        torch.tensor(published.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std")
    )
    with torch.no_grad():
        maps = published.forward_features((images - mean) / std)
        expected = torch.nn.functional.interpolate(maps, (4, 8), mode="bilinear")
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)
    # The node leaves what it is given as it is: padding around the seam would change its layers.
    around = given(tmp_path / "w.pth", kind="timm", model=name)
    given_encoder(checked(around), loaded, encoder="mine")
    assert {type(m) for m in loaded.modules() if isinstance(m, torch.nn.Conv2d)} == {
        torch.nn.Conv2d
    }


def test_a_bundles_branches_serve_a_run_and_come_back(project: Project) -> None:
    """Both branches of one bundle, frozen and fine-tuned; prediction from what the run left."""
    save_encoder(trained(), project.path / "trained")
    plans = {
        "encoders.dense.kind": "bundle",
        "encoders.dense.file": "trained",
        "encoders.gated.kind": "bundle",
        "encoders.gated.file": "trained",
        "encoders.gated.branch": "gated",
        "models.contrastive.encoder": "dense",
        "models.random.encoder": "gated",
        "models.fine_tuned.encoder": "gated",
        "models.fine_tuned.part": "main",
        "models.fine_tuned.fine_tune": "true",
    }
    values = ",".join(f"{KEY}.{k}={v}" for k, v in {**TINY_SALIENCY, **plans}.items())
    done = project.kedro("run", "--pipeline", KEY, "--params", values)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((results(project) / "results.json").read_text())
    encoders = found["encoders"]
    assert {name: one["architecture"] for name, one in encoders.items()} == {
        "dense": "resnet18 of width 4, dense",
        "gated": "resnet18 of width 4, gated",
    }
    assert {one["kind"] for one in encoders.values()} == {"bundle"}
    assert (encoders["dense"]["masked"], encoders["gated"]["masked"]) == (False, True)
    whole = BranchMaps(trained(), "dense").encoder.cost(64).dense // 2  # 32 x 64 px
    assert encoders["dense"]["macs"] == whole
    assert encoders["gated"]["macs"] < whole
    scores = metrics(project)
    assert scores["generated.contrastive.sphere.kld"] != scores["generated.random.sphere.kld"]
    rows = list(csv.DictReader((results(project) / "table_4_1.csv").open()))
    named = {row["model"]: row["encoder"] for row in rows if row["source"] == "this run"}
    assert named["random"] == "resnet18 of width 4, gated, bundle"
    report = (results(project) / "report.html").read_text()
    assert "Not trained in this run: dense (resnet18 of width 4, dense; bundle) and gated" in report
    assert "those that the masks leave" in report
    # Both branches under decoders alike: what gates save, and what they lose.
    gating = encoders["gated"]["gating"]
    assert gating["dense_macs"] == whole and gating["gated_ms"] > 0
    assert encoders["dense"]["gating"] is None
    assert "What gating saves, and loses" in report
    differences = json.loads((results(project) / "differences.json").read_text())
    pairs = {(one["first"], one["second"]) for one in differences if one["about"] == "gating"}
    assert pairs == {("random", "contrastive")}
    bands = list(csv.DictReader((results(project) / "table_latitude.csv").open()))
    assert {row["model"] for row in bands} >= {"contrastive", "random", "equator", "mean"}
    assert sum(float(row["looks"]) for row in bands if row["model"] == "mean") == pytest.approx(1)
    assert (results(project) / "poles.png").stat().st_size > 1000

    models = project.path / "data/06_models/saliency360/models"
    images = torch.rand(2, 3, 32, 64)
    fresh = PanoramaMaps(BranchMaps(trained(), "gated"), "circular").eval()
    frozen = load_bundle(models / "random/given", SaliencyModel)
    tuned = load_bundle(models / "fine_tuned/given", SaliencyModel)
    with torch.no_grad():
        assert torch.equal(frozen.encoder(images), fresh(images))
        assert not torch.allclose(tuned.encoder(images), fresh(images), atol=1e-3)

    # Prediction asks the deployed model, of the dense branch.
    noise = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(project.path / "mine.png")
    values += f",{KEY}.predict.input=mine.png,{KEY}.predict.outputs=map"
    done = project.kedro("run", "--pipeline", KEY, "--params", values, "--tags", "predict")
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = (project.path / "data/07_model_output/saliency360/predictions").rglob("*.npy")
    deployed = load_bundle(models / "contrastive/given", SaliencyModel)
    with torch.no_grad():
        asked = deployed(torch.tensor(noise).permute(2, 0, 1)[None] / 255)[0, 0].numpy()
    # The same map, as a density.
    assert np.corrcoef(asked.ravel(), np.load(written).ravel())[0, 1] > 0.9999
    gates = [one.state_dict() for one in tuned.encoder.network.encoder.gates()]  # type: ignore[union-attr]
    for gate, before in zip(gates, trained().gates(), strict=True):
        weights = {k: v for k, v in before.state_dict().items() if v.is_floating_point()}
        assert all(torch.equal(gate[name], value) for name, value in weights.items())
