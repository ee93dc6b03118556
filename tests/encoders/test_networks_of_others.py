"""Networks in ONNX files and of timm, as frozen encoders; these libraries are the oracles."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from oracles.norms import with_used_norms
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.frozen import FrozenEncoderConfig, frozen_encoder
from ssl_kedro.encoders.onnx_maps import OnnxMaps
from ssl_kedro.encoders.timm_maps import TimmMaps

IMAGES = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(images: torch.Tensor, mean: Any = MEAN, std: Any = STD) -> torch.Tensor:
    return (images / 255.0 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def written(network: nn.Module, path: Path, shape: tuple[int, ...], *, free: bool = True) -> Path:
    axes = {0: "n", 2: "h", 3: "w"} if free else {0: "n"}
    example = torch.rand(shape)
    torch.onnx.export(
        network.eval(), (example,), path, dynamo=False, dynamic_axes={"images": axes},
        input_names=["images"], output_names=["out"],
    )  # fmt: skip
    return path


@pytest.mark.parametrize("pooled", [False, True])
def test_an_onnx_file_gives_maps_or_features_of_normalised_pixels(
    tmp_path: Path, *, pooled: bool
) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 3, 2), nn.ReLU()]
    network = nn.Sequential(*layers, *[nn.AdaptiveAvgPool2d(1), nn.Flatten()] * pooled)
    path = written(network, tmp_path / "network.onnx", (2, 3, 64, 64))
    config = FrozenEncoderConfig("onnx", str(path), pixel_mean=MEAN, pixel_std=STD)
    found = frozen_encoder(config, 0)
    assert found.map_channels == 5
    expected = network(normalised(IMAGES))
    expected = expected if expected.ndim == 4 else expected[:, :, None, None]
    torch.testing.assert_close(found(IMAGES), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found(IMAGES / 255.0), expected, rtol=1e-5, atol=1e-5)


def test_onnx_files_that_are_no_such_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match="expected a network in an ONNX file"):
        OnnxMaps(tmp_path / "text.onnx", MEAN, STD)
    grey = written(nn.Conv2d(1, 5, 3), tmp_path / "grey.onnx", (1, 1, 8, 8))
    with pytest.raises(InputError, match=r"expected one input of images \(N, 3, H, W\)"):
        OnnxMaps(grey, MEAN, STD)
    tokens = written(nn.Flatten(2), tmp_path / "tokens.onnx", (1, 3, 8, 8))
    with pytest.raises(InputError, match=r"output of shape \(1, 3, 4096\); expected maps"):
        OnnxMaps(tokens, MEAN, STD)
    fixed = written(nn.Conv2d(3, 5, 3), tmp_path / "fixed.onnx", (1, 3, 16, 16), free=False)
    network = OnnxMaps(fixed, MEAN, STD)
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, 5, 14, 14)
    with pytest.raises(InputError, match="set this encoder's image_size"):
        network(torch.rand(2, 3, 20, 20))


def test_a_network_of_timm_gives_the_maps_that_timm_pools(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = with_used_norms(timm.create_model("resnet18"))
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    config = FrozenEncoderConfig("timm", str(tmp_path / "resnet18.pth"), model="resnet18")
    network = frozen_encoder(config, 0)
    assert network.map_channels == 512
    maps = network(IMAGES)
    assert maps.shape == (3, 512, 2, 2)
    theirs.reset_classifier(0)
    cfg = theirs.pretrained_cfg
    expected = theirs(normalised(IMAGES, cfg["mean"], cfg["std"]))
    torch.testing.assert_close(maps.mean(dim=(2, 3)), expected, rtol=1e-4, atol=1e-4)


def test_patches_of_a_transformer_stand_where_they_were(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224"
    torch.manual_seed(0)
    theirs = timm.create_model(name).eval()
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    network = TimmMaps(name, tmp_path / "vit.pth")
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        maps = network(images)
        pixels = (images - network.pixel_mean) / network.pixel_std
        tokens = theirs.forward_features(pixels)
    assert maps.shape == (2, 192, 14, 14)
    assert torch.equal(maps[1, :, 3, 5], tokens[1, 1 + 3 * 14 + 5])


def test_maps_with_channels_last_are_turned(tmp_path: Path) -> None:
    name = "swin_tiny_patch4_window7_224"
    theirs = timm.create_model(name).eval()
    torch.save(theirs.state_dict(), tmp_path / "swin.pth")
    with torch.inference_mode():
        assert TimmMaps(name, tmp_path / "swin.pth")(torch.rand(1, 3, 224, 224)).shape == (
            1, 768, 7, 7,
        )  # fmt: skip


def test_what_timm_does_not_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        TimmMaps("resnet_18", tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=r"expected the weights of timm's resnet34"):
        TimmMaps("resnet34", tmp_path / "resnet18.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="expected weights"):
        TimmMaps("resnet18", tmp_path / "text.pth")
    with pytest.raises(ConfigError, match="model = '': expected a name that timm knows"):
        FrozenEncoderConfig("timm", "file.pth")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r'pip install "ssl_kedro\[timm\]"'):
        TimmMaps("resnet18", tmp_path / "resnet18.pth")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r'pip install "ssl_kedro\[export\]"'):
        OnnxMaps(tmp_path / "network.onnx", MEAN, STD)
