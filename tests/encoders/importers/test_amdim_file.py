from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from encoders.amdim_oracle import layers, random_state
from ssl_kedro.encoders.amdim import AmdimEncoder
from ssl_kedro.encoders.bundle import save_bundle
from ssl_kedro.encoders.frozen import FrozenEncoderConfig, frozen_encoder
from ssl_kedro.encoders.importers import WeightsError, import_weights
from ssl_kedro.encoders.maps import load_map_network

SHAPE = {"ndf": 3, "n_rkhs": 5, "n_depth": 2, "encoder_size": 128}


def content(state: dict[str, torch.Tensor], prefix: str = "encoder.module.") -> dict[str, Any]:
    heads = {
        "rkhs_block_5.conv1.weight": torch.zeros(5, 24, 1, 1),
        "rkhs_block_7.shortcut.bias": torch.zeros(5),
    }
    model = {prefix + name: value for name, value in {**state, **heads}.items()}
    model |= {
        "g2l_loss.masks_r5": torch.zeros(25, 1, 5, 5),
        "evaluator.block_glb_mlp.block_forward.2.weight": torch.zeros(1024, 5),
        "evaluator.block_glb_lin.block_forward.2.bias": torch.zeros(1000),
    }
    hyper = {**SHAPE, "n_classes": 1000, "tclip": 20.0}
    return {"model": model, "hyperparams": hyper, "cursor": {"info_epoch": 150, "info_step": 7}}


@pytest.mark.parametrize("prefix", ["encoder.module.", "module.encoder.", "encoder.", ""])
def test_maps_equal_an_independent_network(tmp_path: Path, prefix: str) -> None:
    state = random_state(**SHAPE, use_bn=False)
    torch.save(content(state, prefix), tmp_path / "amdim.pth")
    network, report = import_weights("amdim", tmp_path / "amdim.pth")
    images = torch.rand(2, 3, 150, 166)
    with torch.no_grad():
        found = network(images)
    expected = layers(state, images, 128, use_bn=False)[7]
    assert found.shape == expected.shape == (2, 24, 4, 5)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5
    assert isinstance(network, AmdimEncoder)
    assert network.config.map_side == 23
    assert report.notes == {**SHAPE, "use_bn": False}
    assert sorted(report.used.values()) == sorted(state)
    assert len(report.dropped) == 5
    save_bundle(network, tmp_path / "bundle", report)
    again = load_map_network(tmp_path / "bundle")
    with torch.no_grad():
        assert torch.equal(again(images), found)


@pytest.mark.parametrize(
    ("side", "resize", "expected"),
    [
        (0, "average", lambda maps: maps),
        (3, "average", lambda maps: torch.nn.functional.adaptive_avg_pool2d(maps, (2, 3))),
        (
            3,
            "bilinear",
            lambda maps: torch.nn.functional.interpolate(maps, (2, 3), mode="bilinear"),
        ),
    ],
)
@torch.no_grad()
def test_parameters_say_what_maps_are_brought_to(
    tmp_path: Path, side: int, resize: Any, expected: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    torch.save(content(random_state(**SHAPE, use_bn=False)), tmp_path / "amdim.pth")
    path, images = str(tmp_path / "amdim.pth"), torch.rand(1, 3, 150, 166)  # maps of 4 x 5
    whole = frozen_encoder(FrozenEncoderConfig("amdim", path), 0)(images)
    config = FrozenEncoderConfig("amdim", path, map_side=side, map_resize=resize)
    torch.testing.assert_close(frozen_encoder(config, 0)(images), expected(whole))


@pytest.mark.parametrize("fault", ["missing", "shape", "extra", "use_bn", "hyper", "size", "twice"])
def test_faults_are_named(tmp_path: Path, fault: str) -> None:
    state = random_state(**SHAPE, use_bn=False)
    saved = content(state)
    model, hyper = saved["model"], saved["hyperparams"]
    start = "encoder.module.layer_list"
    if fault == "missing":
        del model[f"{start}.2.layer_list.1.conv2.weight"]
        message = r"1 missing: layer_list\.2\.layer_list\.1\.conv2\.weight"
    elif fault == "shape":
        model[f"{start}.0.conv.weight"] = torch.zeros(3, 3, 3, 3)
        message = r"1 of a wrong shape: layer_list\.0\.conv\.weight"
    elif fault == "extra":
        model[f"{start}.2.layer_list.2.conv1.weight"] = torch.zeros(6, 6, 1, 1)
        message = r"1 unexpected: .*layer_list\.2\.layer_list\.2"
    elif fault == "use_bn":
        hyper["encoder_size"] = 64
        message = "missing|wrong shape"
    elif fault == "hyper":
        del hyper["ndf"]
        message = "no number for ndf"
    elif fault == "size":
        hyper["encoder_size"] = 96
        message = "encoder_size = 96: expected one of 32, 64, 128"
    else:
        model["layer_list.0.conv.bias"] = torch.zeros(3)
        message = r"layer_list\.0\.conv\.bias twice"
    torch.save(saved, tmp_path / "amdim.pth")
    with pytest.raises(WeightsError, match=message):
        import_weights("amdim", tmp_path / "amdim.pth")
