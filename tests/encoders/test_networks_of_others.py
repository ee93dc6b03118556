"""Networks in ONNX files and of timm, as frozen encoders; these libraries are the oracles."""

from __future__ import annotations

import copy
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
from ssl_kedro.core.extras import NotInstalledError
from ssl_kedro.encoders.frozen import FrozenEncoderConfig, frozen_encoder
from ssl_kedro.encoders.maps import adapt_batch_norm, network_fingerprint
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
    assert found.weights == 5 * 3 * 9 + 5
    expected = network(normalised(IMAGES))
    expected = expected if expected.ndim == 4 else expected[:, :, None, None]
    torch.testing.assert_close(found(IMAGES), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found(IMAGES / 255.0), expected, rtol=1e-5, atol=1e-5)


def test_only_an_onnx_file_is_told_how_pixels_are_normalised() -> None:
    for kind, more in (("timm", {"model": "resnet18"}), ("bundle", {}), ("moco_v2", {})):
        with pytest.raises(ConfigError, match=f"none with kind {kind}"):
            FrozenEncoderConfig(kind, "file", pixel_mean=MEAN, **more)


def test_onnx_files_that_are_no_such_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match="expected a network in an ONNX file"):
        OnnxMaps(tmp_path / "text.onnx", MEAN, STD)
    grey = written(nn.Conv2d(1, 5, 3), tmp_path / "grey.onnx", (1, 1, 8, 8))
    with pytest.raises(InputError, match=r"expected one input of images \(N, 3, H, W\)"):
        OnnxMaps(grey, MEAN, STD)
    tokens = written(nn.Flatten(2), tmp_path / "tokens.onnx", (1, 3, 8, 8))
    with pytest.raises(InputError, match=r"output of shape \(1, 3, 50176\); expected maps"):
        OnnxMaps(tokens, MEAN, STD)
    fixed = written(nn.Conv2d(3, 5, 3), tmp_path / "fixed.onnx", (1, 3, 16, 16), free=False)
    network = OnnxMaps(fixed, MEAN, STD)
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, 5, 14, 14)
    wide = nn.Sequential(nn.Conv2d(3, 5, 300), nn.Flatten(2))
    large = written(wide, tmp_path / "large.onnx", (1, 3, 310, 310))
    with pytest.raises(InputError, match="export it with free sides"):
        OnnxMaps(large, MEAN, STD)
    with pytest.raises(InputError, match="set this encoder's image_size"):
        network(torch.rand(2, 3, 20, 20))


def test_a_file_that_fixes_the_number_of_images_is_run_so_often(tmp_path: Path) -> None:
    network = nn.Conv2d(3, 5, 3)
    torch.onnx.export(
        network, (torch.rand(2, 3, 16, 16),), tmp_path / "two.onnx", dynamo=False,
        input_names=["images"], output_names=["out"],
    )  # fmt: skip
    images = torch.rand(5, 3, 16, 16)
    found = OnnxMaps(tmp_path / "two.onnx", (0, 0, 0), (1, 1, 1))(images)
    torch.testing.assert_close(found, network(images), rtol=1e-5, atol=1e-5)


def test_two_files_are_two_networks_and_copies_are_one(tmp_path: Path) -> None:
    marks = []
    for name in ("a", "b"):
        torch.manual_seed(len(marks))
        path = written(nn.Conv2d(3, 5, 3), tmp_path / f"{name}.onnx", (1, 3, 16, 16))
        network = OnnxMaps(path, MEAN, STD)
        adapt_batch_norm(network, [torch.rand(2, 3, 16, 16)])
        assert copy.deepcopy(network) is network
        marks.append(network_fingerprint(network))
    assert marks[0] != marks[1]
    assert network_fingerprint(OnnxMaps(tmp_path / "a.onnx", MEAN, STD)) == marks[0]


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
    with pytest.raises(InputError, match="set this encoder's image_size"):
        network(torch.rand(1, 3, 48, 48))


def test_a_tag_says_how_pixels_are_normalised_and_heads_of_any_name_are_left_out(
    tmp_path: Path,
) -> None:
    torch.save(timm.create_model("levit_128s").state_dict(), tmp_path / "levit.pth")
    assert TimmMaps("levit_128s", tmp_path / "levit.pth").map_channels == 384
    name = "vit_tiny_patch16_224"
    torch.save(timm.create_model(name).state_dict(), tmp_path / "vit.pth")
    network = TimmMaps(f"{name}.augreg_in21k", tmp_path / "vit.pth")
    assert network.pixel_mean.flatten().tolist() == pytest.approx([0.5, 0.5, 0.5])


def test_features_that_are_no_grid_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("xcit_nano_12_p16_224").state_dict(), tmp_path / "xcit.pth")
    network = TimmMaps("xcit_nano_12_p16_224", tmp_path / "xcit.pth")
    with pytest.raises(InputError, match="use kind: onnx"):
        network(torch.rand(1, 3, 224, 224))


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
    with pytest.raises(NotInstalledError, match=r"pip install 'ssl_kedro\[timm\]'"):
        TimmMaps("resnet18", tmp_path / "resnet18.pth")
    with pytest.raises(NotInstalledError, match="kind: timm needs timm, which is not installed"):
        FrozenEncoderConfig("timm", "file.pth", model="resnet18")
    assert FrozenEncoderConfig("timm", "file.pth", model="resnet18", optional=True).needs_file
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NotInstalledError, match=r"pip install 'ssl_kedro\[export\]'"):
        OnnxMaps(tmp_path / "network.onnx", MEAN, STD)
