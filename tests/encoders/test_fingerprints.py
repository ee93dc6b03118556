"""Fingerprints of networks, and bundles of those that other processes get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_kedro.encoders.bundle import BundleError, load_bundle, save_bundle
from ssl_kedro.encoders.frozen import PixelMaps
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.maps import (
    BranchMaps,
    MapNetwork,
    load_map_network,
    network_fingerprint,
)
from ssl_kedro.encoders.onnx_maps import OnnxMaps

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
IMAGES = torch.randint(0, 256, (3, 3, 24, 24), dtype=torch.uint8)


class Own(MapNetwork):
    """Of a kind without a format."""

    map_channels = 3

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride)
        nn.init.ones_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images / 255)


def test_whatever_decides_the_maps_is_in_the_fingerprint() -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(stem="cifar_pad1", width=4), image_size=16).eval()
    networks = [
        BranchMaps(encoder, "dense"),
        BranchMaps(encoder, "gated"),
        PixelMaps(4),
        PixelMaps(8),
        Own(1),
        Own(2),
    ]
    marks = [network_fingerprint(network) for network in networks]
    assert len({*marks}) == len(networks)
    assert [network_fingerprint(network) for network in networks] == marks
    assert network_fingerprint(Own(2)) == marks[-1]


def onnx_maps(folder: Path) -> OnnxMaps:
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    path = folder / "network.onnx"
    torch.onnx.export(
        nn.Conv2d(3, 5, 3).eval(), (torch.rand(1, 3, 24, 24),), path, dynamo=False,
        dynamic_axes={"images": {0: "n"}}, input_names=["images"], output_names=["out"],
    )  # fmt: skip
    return OnnxMaps(path, MEAN, STD)


def networks(folder: Path) -> dict[str, MapNetwork]:
    return {"pixels": PixelMaps(5), "onnx": onnx_maps(folder)}


@pytest.mark.parametrize("name", ["pixels", "onnx"])
def test_bundles_give_back_the_maps_to_the_bit(tmp_path: Path, name: str) -> None:
    given = networks(tmp_path)[name]
    save_bundle(given, tmp_path / "bundle")
    found = load_map_network(tmp_path / "bundle")
    assert type(found) is type(given)
    assert found.map_channels == given.map_channels
    assert torch.equal(found(IMAGES), given(IMAGES))
    assert network_fingerprint(found) == network_fingerprint(given)


@pytest.mark.parametrize("name", ["pixels", "onnx"])
def test_damaged_bundles_are_refused_with_their_path(tmp_path: Path, name: str) -> None:
    bundle = tmp_path / "bundle"
    save_bundle(networks(tmp_path)[name], bundle)
    described, weights = bundle / "config.json", bundle / "weights.safetensors"
    whole = json.loads(described.read_text())
    for lost in set(whole) - {"format"}:
        described.write_text(json.dumps({k: v for k, v in whole.items() if k != lost}))
        with pytest.raises(BundleError, match=rf"bundle.*'{lost}' is missing"):
            load_bundle(bundle, MapNetwork)
    described.write_text(json.dumps(whole))
    content = weights.read_bytes()
    for damaged in (content[: len(content) // 2], b""):
        weights.write_bytes(damaged)
        with pytest.raises(BundleError, match="bundle"):
            load_bundle(bundle, MapNetwork)


@pytest.mark.parametrize("side", [0, -3, 1.5, "8", None, True, 10**9])
def test_a_side_that_no_image_has_is_refused(tmp_path: Path, side: object) -> None:
    save_bundle(PixelMaps(5), tmp_path / "bundle")
    described = tmp_path / "bundle" / "config.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"side": side}))
    with pytest.raises(BundleError, match=r"bundle.*side"):
        load_bundle(tmp_path / "bundle", MapNetwork)


def test_an_onnx_file_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    given = onnx_maps(tmp_path)
    save_bundle(given, tmp_path / "bundle")
    weights = tmp_path / "bundle" / "weights.safetensors"
    kept = load_file(weights)
    save_file(kept | {"file_digest": kept["file_digest"][:5].clone()}, weights)
    with pytest.raises(BundleError, match="another file"):
        load_bundle(tmp_path / "bundle", MapNetwork)
    save_file(kept, weights)
    (tmp_path / "network.onnx").unlink()
    with pytest.raises(BundleError, match=r"network\.onnx"):
        load_bundle(tmp_path / "bundle", MapNetwork)


def test_a_file_at_another_place_is_the_same_network(tmp_path: Path) -> None:
    marks = {network_fingerprint(onnx_maps(tmp_path / name)) for name in "ab"}
    assert len(marks) == 1
