"""A whole run with a backbone that an installed package adds."""

from __future__ import annotations

import json
import os

import pytest
import torch

from conftest import TIMED, Project
from outside.packages import installed_from_here
from ssl_kedro.encoders.bundle import load_bundle, load_encoder
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.inference.network import CompactNetwork

NAME = "three_convolutions"
RUN = {
    **TIMED,
    "parts": "table_6_1;table_6_5;figure_6_1",
    "encoder.architecture": NAME,
    "encoder.channels": 4,
}


@pytest.mark.slow
def test_it_is_trained_saved_evaluated_timed_and_exported(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    packages = tmp_path_factory.mktemp("packages")
    installed_from_here(packages, "ssl_kedro.encoders", NAME)
    found = os.environ.get("PYTHONPATH", "")
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(packages), found]))}
    monkeypatch.syspath_prepend(packages)
    for arguments in ((), ("--tags", "export")):
        done = project.run(RUN, *arguments, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((project.results / "metrics.json").read_text())
    assert metrics["dense_macs"] == 232_448  # counted by hand in test_outside_backbone
    assert metrics["dual.budget_50.inference.batch_8.ratio"] >= 1
    for name in ("compact", "gated", "static"):
        assert metrics[f"dual.budget_50.export.{name}.difference"] < 1e-4
    folder = project.path / "data/06_models/dual_gating.budget_50"
    assert type(load_encoder(folder / "encoder")).__name__ == "ThreeConvolutions"
    pair = load_encoder(folder.with_name(f"{folder.name}.two_encoders") / "encoder")
    assert isinstance(pair, EncoderPair)
    network = load_bundle(folder / "export/compact", CompactNetwork)
    images = torch.rand(4, 3, 16, 16)
    features, masks = network.decide(images)
    forced = network.plan.encoder_masks(masks)
    expected = load_encoder(folder / "encoder")(images, "gated", masks=forced).features
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"encoder.architecture": "four"},
            "dual_gating.encoder.architecture = 'four': expected one of nested_resnet18, "
            "resnet18, resnet34",
        ),
        (
            {"encoder.stages": "1;2"},
            "dual_gating.encoder.stages = '1;2': expected a list, as [1, 2] in a parameter file",
        ),
        (
            {"encoder.wdth": 4},
            "dual_gating.encoder.wdth: there is no such key; did you mean 'width'? known: "
            "architecture, block, init, inner_channels, separate_norms, stages, stem, width, "
            "zero_init_residual",
        ),
    ],
)
def test_what_is_no_backbone_and_no_key_is_refused(
    project: Project, changes: dict[str, object], words: str
) -> None:
    done = project.run(changes)
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split("Error: ")[-1].split())
