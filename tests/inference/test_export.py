from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.networks import random_encoder, random_usage
from ssl_kedro.encoders.bundle import BundleError, load_bundle, save_bundle
from ssl_kedro.encoders.gated_resnet import Stem
from ssl_kedro.inference import export
from ssl_kedro.inference.compact import compact, dense_network
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.export import (
    ExportError,
    export_compact_onnx,
    export_int8_compact,
)
from ssl_kedro.inference.int8 import Int8Network, int8_network
from ssl_kedro.inference.native.kernel import NativeNetwork
from ssl_kedro.inference.network import CompactNetwork


def networks():
    encoder = random_encoder()
    return [compact(encoder, random_usage(encoder)), dense_network(encoder)]


@pytest.mark.parametrize("kind", [0, 1])
def test_folder_gives_the_same_network_back(tmp_path: Path, kind: int) -> None:
    network = networks()[kind]
    save_bundle(network, tmp_path / "a")
    again = load_bundle(tmp_path / "a", CompactNetwork)
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    assert again.plan == network.plan
    assert torch.equal(again(images), network(images))
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    save_bundle(networks()[0], folder)
    config, weights = folder / "config.json", folder / "weights.safetensors"
    description = json.loads(config.read_text())
    tensors = load_file(weights)
    with pytest.raises(BundleError, match="is missing"):
        load_bundle(tmp_path, CompactNetwork)
    # A size that would take all memory is only compared with the file.
    blocks = description["blocks"]
    huge = [block | {"channels": 10**12, "hidden": 10**9} for block in blocks]
    for broken in (
        {},
        description | {"stem": "none"},
        description | {"width": 7},
        description | {"blocks": blocks[1:]},
        description | {"blocks": "x"},
        description | {"blocks": huge},
        [],
    ):
        config.write_text(json.dumps(broken))
        with pytest.raises(BundleError):
            load_bundle(folder, CompactNetwork)
    config.write_text(json.dumps(description))
    load_bundle(folder, CompactNetwork)
    save_file({k: v for k, v in tensors.items() if k != "stem.bias"}, weights)
    with pytest.raises(BundleError, match=r"stem\.bias"):
        load_bundle(folder, CompactNetwork)
    weights.write_bytes(b"nothing")
    with pytest.raises(BundleError, match="not a usable"):
        load_bundle(folder, CompactNetwork)


@pytest.mark.parametrize(("stem", "size"), [("cifar", 16), ("imagenet", 32)])
def test_onnx_file_gives_the_features_at_any_batch(tmp_path: Path, stem: Stem, size: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder = random_encoder(stem, size=size)
    usage = random_usage(encoder)
    network = compact(encoder, usage)
    seen = np.random.default_rng(0).integers(0, 256, (3, 3, size, size), dtype=np.uint8)
    report = export_compact_onnx(network, tmp_path / "n.onnx", images=seen)
    assert report.images == 7
    assert report.difference < 1e-4 < report.largest
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    images = torch.from_numpy(seen).float() / 255
    masks = network.plan.encoder_masks(network.decide(images)[1])
    expected = encoder(images, "gated", masks=masks).features.detach().numpy()
    for count in (1, 3):
        found = session.run(["features"], {"images": images[:count].numpy()})[0]
        assert np.abs(found - expected[:count]).max() < 1e-4


def test_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    network = networks()[1]
    path = tmp_path / "n.onnx"
    path.write_text("older")
    run = export.run_onnx
    monkeypatch.setattr(export, "run_onnx", lambda *given: run(*given) + 1e-3)
    with pytest.raises(ExportError, match=r"differs from the network by 0\.001"):
        export_compact_onnx(network, path)
    assert path.read_text() == "older"
    with pytest.raises(ValueError, match="at least 18"):
        export_compact_onnx(network, path, opset=11)
    with pytest.raises(ValueError, match="uint8"):
        export_compact_onnx(network, path, images=np.zeros((1, 3, 16, 16), np.float32))


def test_images_with_a_gate_at_its_threshold_do_not_count() -> None:
    encoder = random_encoder()
    network = compact(encoder, random_usage(encoder))
    images = torch.rand(3, 3, 16, 16)
    assert export._decided(network, images).all()
    gate = network.compact_blocks()[0].gate
    assert gate is not None
    gate.expand.weight[0] = 0
    assert not export._decided(network, images).any()


@pytest.mark.parametrize("kind", [0, 1])
@torch.no_grad()
def test_int8_file_is_its_content_and_near_the_network(tmp_path: Path, kind: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network, path = networks()[kind], tmp_path / "n.onnx"
    seen = np.random.default_rng(0).integers(0, 256, (30, 3, 16, 16), dtype=np.uint8)
    report = export_compact_onnx(network, path, images=seen[:4], precision="int8", calibration=seen)
    assert (report.precision, report.bytes) == ("int8", path.stat().st_size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.from_numpy(seen[:4]).float() / 255
    found = torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])
    own = network(images)
    assert 0 < float((found - own).abs().max()) <= report.difference + 1e-6
    assert torch.linalg.norm(found - own) < 0.1 * torch.linalg.norm(own)
    whole = export_compact_onnx(network, tmp_path / "f32.onnx", images=seen[:4])
    assert report.difference > whole.difference
    assert report.largest == whole.largest


def test_int8_file_that_differs_or_cannot_be_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    network, path = networks()[1], tmp_path / "n.onnx"
    seen = np.zeros((2, 3, 16, 16), np.uint8)
    path.write_text("older")
    for precision, calibration in (("int8", None), ("bf16", seen)):
        with pytest.raises(ValueError, match="expected f32, or int8"):
            export_compact_onnx(network, path, precision=precision, calibration=calibration)
    run = export.run_onnx
    monkeypatch.setattr(
        export, "run_onnx", lambda file, x: run(file, x) + 1e-3 * isinstance(file, Path)
    )
    with pytest.raises(ExportError, match="differs"):
        export_compact_onnx(network, path, precision="int8", calibration=seen)
    assert path.read_text() == "older"


@torch.no_grad()
def test_int8_folder_needs_no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = networks()[0]
    seen = np.random.default_rng(0).integers(0, 256, (30, 3, 16, 16), dtype=np.uint8)
    try:
        report = export_int8_compact(network, tmp_path / "int8", seen[:4], seen)
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    found = NativeNetwork(load_bundle(tmp_path / "int8", Int8Network), 16)(
        torch.from_numpy(seen[:4]).float() / 255
    )
    direct = NativeNetwork(network, 16, precision="int8", calibration=seen)
    assert torch.equal(found, direct(torch.from_numpy(seen[:4]).float() / 255))
    own = network(torch.from_numpy(seen[:4]))
    assert 0 < float((found - own).abs().max()) <= report.difference
    assert report.images == 8
    save_bundle(network, tmp_path / "f32")
    assert report.bytes < 0.5 * sum(f.stat().st_size for f in (tmp_path / "f32").iterdir())
    # A folder with other weights is found out.
    other = int8_network(networks()[0], 255 - seen)
    monkeypatch.setattr(export, "load_bundle", lambda *_: other)
    with pytest.raises(ExportError, match="differs from the network"):
        export_int8_compact(network, tmp_path / "int8", seen[:4], seen)
