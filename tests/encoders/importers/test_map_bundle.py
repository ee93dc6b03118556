from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from encoders.importers.resnet_oracle import random_state
from ssl_kedro.encoders.amdim import AmdimConfig, AmdimEncoder
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.bundle import BundleError, load_encoder, save_bundle, save_encoder
from ssl_kedro.encoders.descriptor_head import PROJECTION
from ssl_kedro.encoders.frozen import FrozenEncoderConfig, frozen_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.importers import import_weights
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork, load_map_network
from ssl_kedro.encoders.pair import EncoderPair


def resnet() -> BottleneckResNet:
    torch.manual_seed(0)
    config = BottleneckConfig(101, 2, "same")
    return BottleneckResNet(config, pixel_mean=(0.1, 0.2, 0.3), pixel_std=(1, 2, 3)).eval()


def amdim() -> AmdimEncoder:
    torch.manual_seed(0)
    return AmdimEncoder(AmdimConfig(ndf=2, n_rkhs=3, n_depth=1, encoder_size=64, map_side=2)).eval()


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("build", [resnet, amdim])
def test_round_trip_gives_the_same_maps(tmp_path: Path, build: Callable[[], MapNetwork]) -> None:
    network = build()
    save_bundle(network, tmp_path / "bundle")
    loaded = load_map_network(tmp_path / "bundle")
    images = torch.randint(0, 256, (2, 3, 80, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
    assert type(loaded) is type(network)
    assert not loaded.training
    assert "provenance" not in described(tmp_path / "bundle")
    assert {p.name for p in (tmp_path / "bundle").iterdir()} == {
        "config.json",
        "weights.safetensors",
    }


def test_provenance_and_extras_of_an_import_are_kept(tmp_path: Path) -> None:
    state = random_state(101, 4) | {
        "adpool.p": torch.tensor([2.5]),
        "fc.weight": torch.ones(2, 128),
        "fc.bias": torch.zeros(2),
    }
    torch.save({"state_dict": state}, tmp_path / "gem.pt")
    network, report = import_weights("gem_ap", tmp_path / "gem.pt")
    save_bundle(network, tmp_path / "bundle", report)
    found = described(tmp_path / "bundle")["provenance"]
    assert found["kind"] == "gem_ap"
    assert found["notes"] == {"gem_p": 2.5}
    assert found["files"] == dict(report.files)
    assert list(found["files"]) == ["gem.pt"]
    assert found["dropped"]["fc.weight"] == "the projection behind the pooling, kept apart"
    assert found["used"]["conv1.weight"] == "conv1.weight"
    extras = load_file(tmp_path / "bundle" / "extras.safetensors")
    assert torch.equal(extras["projection.weight"], torch.ones(2, 128))
    assert isinstance(load_map_network(tmp_path / "bundle"), BottleneckResNet)
    head = frozen_encoder(FrozenEncoderConfig("bundle", str(tmp_path / "bundle")), 0).head
    assert head is not None
    assert (head.power, head.whitens, set(head.arrays)) == (2.5, False, set(PROJECTION))


@pytest.mark.parametrize("branch", ["dense", "gated"])
def test_own_bundles_give_the_branchs_maps(tmp_path: Path, branch: str) -> None:
    torch.manual_seed(0)
    shape = EncoderConfig(width=4)
    both = GatedResNet18(shape, image_size=20).eval()
    pair = EncoderPair(
        GatedResNet18(shape, branches=("dense",)), GatedResNet18(shape, branches=("gated",))
    ).eval()
    images = torch.rand(2, 3, 20, 20)
    for name, encoder in (("both", both), ("pair", pair)):
        save_encoder(encoder, tmp_path / name)
        network = load_map_network(tmp_path / name, branch)  # type: ignore[arg-type]
        with torch.no_grad():
            expected = encoder(images, branch).features
            torch.testing.assert_close(network(images).mean(dim=(2, 3)), expected)
        save_bundle(network, tmp_path / "again")
        assert isinstance(network, BranchMaps)
        with torch.no_grad():
            again = load_encoder(tmp_path / "again")(images, branch).features
            assert torch.equal(again, load_encoder(tmp_path / name)(images, branch).features)


def test_absent_branches_and_unknown_networks_are_named(tmp_path: Path) -> None:
    save_encoder(GatedResNet18(EncoderConfig(width=4), branches=("dense",)), tmp_path / "dense")
    with pytest.raises(BundleError, match="no 'gated' branch"):
        load_map_network(tmp_path / "dense", "gated")

    class Other(MapNetwork):
        map_channels = 1

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images

    with pytest.raises(TypeError, match="no bundle format for a Other"):
        save_bundle(Other(), tmp_path / "other")


def edited(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"12"), "not a usable bundle"),
        (lambda f: (f / "config.json").write_text("{"), "not a usable bundle"),
        (lambda f: (f / "config.json").write_text("[]"), "expected an object"),
        (lambda f: edited(f, format="other"), "format 'other', expected one of"),
        (lambda f: edited(f, network={"depth": 50, "width": 2}), "not a usable bundle"),
        (lambda f: edited(f, network={"depth": 34}), "depth = 34"),
        (lambda f: edited(f, network={"layers": 3}), "not a usable bundle"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    save_bundle(resnet(), tmp_path / "bundle")
    damage(tmp_path / "bundle")
    with pytest.raises(BundleError, match=message):
        load_map_network(tmp_path / "bundle")
