"""Networks of a vision transformer are timed, judged and exported, node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from oracles.drawn import with_drawn_values
from ssl_kedro.core.precision import processor_lacks
from ssl_kedro.encoders import timm_names
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_bundle
from ssl_kedro.encoders.factory import new_backbone
from ssl_kedro.encoders.gated_vit import ViTConfig
from ssl_kedro.encoders.tokens import Pooling
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.inference.planned import PlannedNetwork
from ssl_kedro.inference.vit import CompactViT
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.inference.export import export
from ssl_kedro.pipelines.gated.inference.nodes import measure_inference, race_dense_engines
from ssl_kedro.pipelines.gated.nodes import extract
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.parameters import parsed

DATA = DataConfig(source="textures", size=16, generated=80, generated_eval=40)
TRAINED = Training("dual_gating", 0.5, 0)
TIMING = {"batches": "1;4", "seconds": 0.01, "rounds": 1, "calibration": 40}


def given(pooling: Pooling, **inference: object) -> DualGatingParameters:
    values = {
        "data": {"source": "textures", "size": 16},
        "encoder": {"architecture": "vit_tiny", "width": 64, "pooling": pooling},
        "probe": {"epochs": 2, "runs": 2, "features": "cached"},
        "train": {"device": "cpu"},
        "budgets": [0.5],
        "inference": {**TIMING, **inference},
    }
    return parsed(DualGatingParameters, "dual_gating", values)


def encoder_of(pooling: Pooling) -> Encoder:
    made: Any = with_drawn_values(new_backbone(ViTConfig(width=64, pooling=pooling), image_size=16))
    with torch.no_grad():  # logits of both signs, that depend on the image
        for gate in made.gates():
            gate.expand.weight.mul_(20)
    return made  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def images() -> tuple[ImageSet, ImageSet]:
    return load_images(DATA, "train", 0), load_images(DATA, "eval", 0)


@pytest.mark.parametrize("pooling", [pytest.param("class", marks=pytest.mark.slow), "mean"])
def test_networks_are_timed_judged_and_written(
    pooling: Pooling,
    images: tuple[ImageSet, ImageSet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime")
    if lacking := processor_lacks("int8"):
        pytest.skip(lacking)
    parameters = given(pooling, engines="native;onnxruntime", precisions="f32;int8", max_loss=100)
    encoder = encoder_of(pooling)
    features = extract(parameters, encoder, *images)
    dense = race_dense_engines(parameters, images[1])
    found, _ = measure_inference(parameters, dense, encoder, features, *images, trained=TRAINED)
    for compared in found.batches.values():
        assert set(compared.networks) == {
            f"{name}{suffix}" for name in ("dense", "gated", "static") for suffix in ("", " int8")
        }
        assert {of.engine for of in compared.networks.values()} == {"onnxruntime"}
    assert {(f.network, f.precision) for f in found.forms} == {
        (name, precision) for name in ("dense", "gated", "static") for precision in ("f32", "int8")
    }
    # The static network is the encoder under one mask; by that its accuracy is counted here.
    assert found.static is not None and found.static.threshold is not None
    counts = [features[f"open.train.{block.name}"] for block in encoder.cost().blocks]
    static = [torch.from_numpy(of >= 80 * found.static.threshold).float()[None] for of in counts]
    gates = sum(block.gate for block in encoder.cost().blocks)
    assert found.macs["static"] == float(encoder.cost().masked(static)) - gates
    with torch.no_grad():
        known, asked = (
            encoder(torch.from_numpy(part.images), "gated", masks=static).features
            for part in images
        )
    nearest = torch.cdist(asked, known).argmin(dim=1).numpy()
    right = np.asarray(images[0].labels)[nearest] == np.asarray(images[1].labels)
    assert found.accuracies["static"].knn_top1 == pytest.approx(right.mean())

    monkeypatch.setitem(timm_names.ARCHITECTURES, (64, 4, 16, False), "vit_small_one")
    written = export(parameters, encoder, features, found, *images, tmp_path)
    names = {"compact", "gated", "dense", "static", "dense_kernel", "static_kernel"}
    names |= {f"{form.network}_int8" for form in found.forms if found.offered(form.network, "int8")}
    assert written.files.keys() - {"timm"} == names
    assert ("timm" in written.files) == (pooling == "class")
    if pooling == "class":
        weights = load_file(tmp_path / "vit_small_one.safetensors")
        assert torch.equal(weights["norm.weight"], encoder.norm["dense"].weight)  # type: ignore[index,union-attr]
    folder = tmp_path / "static_kernel"
    network = load_bundle(folder, PlannedNetwork)  # type: ignore[type-abstract]
    assert isinstance(network, CompactViT)
    batch = torch.from_numpy(images[1].images[:4])
    with torch.no_grad():
        expected = encoder(batch, "gated", masks=static).features
    torch.testing.assert_close(network(batch), expected, rtol=0, atol=1e-5)
