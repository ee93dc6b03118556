from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ssl_kedro.encoders import bundle
from ssl_kedro.encoders.bundle import BundleError, load_encoder, save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.pair import EncoderPair


def encoder() -> GatedResNet18:
    torch.manual_seed(0)
    return GatedResNet18(
        EncoderConfig(stem="cifar_pad1", width=4),
        image_size=20,
        pixel_mean=(0.1, 0.2, 0.3),
        pixel_std=(0.4, 0.5, 0.6),
        gate_reduction=2,
    ).eval()


def test_round_trip_gives_the_same_features_dense_and_gated(tmp_path: Path) -> None:
    original = encoder()
    save_encoder(original, tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    images = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(original.dense(images), loaded.dense(images))
        assert torch.equal(original.gated(images), loaded.gated(images))
    assert loaded.image_size == 20
    assert loaded.cost().dense == original.cost().dense
    assert not loaded.training


def test_files_are_json_and_safetensors_only(tmp_path: Path) -> None:
    save_encoder(encoder(), tmp_path / "encoder")
    assert {p.name for p in (tmp_path / "encoder").iterdir()} == {
        "config.json",
        "weights.safetensors",
    }
    described = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert described["encoder"] == {
        "stem": "cifar_pad1",
        "width": 4,
        "inner_channels": None,
        "zero_init_residual": False,
        "separate_norms": "blocks",
        "stages": [2, 2, 2, 2],
        "block": "basic",
    }


def test_failed_save_leaves_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "encoder"
    save_encoder(encoder(), folder)
    before = (folder / "weights.safetensors").read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_encoder(encoder(), folder)
    assert (folder / "weights.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["encoder"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"12"), "not a usable encoder"),
        (lambda f: (f / "config.json").write_text("{"), "not a usable encoder"),
        (lambda f: (f / "config.json").write_text('{"format": "other"}'), "format 'other'"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, message: str) -> None:
    save_encoder(encoder(), tmp_path / "encoder")
    damage(tmp_path / "encoder")  # type: ignore[operator]
    with pytest.raises(BundleError, match=message):
        load_encoder(tmp_path / "encoder")


def test_pair_and_thin_encoders_survive_the_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = EncoderConfig(stem="cifar_pad1", width=4)
    pair = EncoderPair(
        dense=GatedResNet18(shape, branches=("dense",), image_size=20),
        gated=GatedResNet18(shape, branches=("gated",), image_size=20),
    ).eval()
    thin = GatedResNet18(
        EncoderConfig(width=4, inner_channels=(1, 2, 3, 4, 5, 6, 7, 8)), branches=("dense",)
    ).eval()
    images = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8)
    for name, original in (("pair", pair), ("thin", thin)):
        save_encoder(original, tmp_path / name)
        loaded = load_encoder(tmp_path / name)
        assert loaded.branches == original.branches
        assert loaded.cost().dense == original.cost().dense
        with torch.no_grad():
            for branch in original.branches:
                before, after = (e(images, branch).features for e in (original, loaded))
                assert torch.equal(before, after)


def test_pair_answers_each_branch_with_its_own_encoder() -> None:
    torch.manual_seed(0)
    shape = EncoderConfig(width=4)
    dense = GatedResNet18(shape, branches=("dense",), image_size=20).eval()
    gated = GatedResNet18(shape, branches=("gated",), image_size=20).eval()
    pair = EncoderPair(dense, gated)
    images = torch.rand(2, 3, 20, 20)
    with torch.no_grad():
        assert torch.equal(pair.dense(images), dense.dense(images))
        assert torch.equal(pair.gated(images), gated.gated(images))
    assert pair.gates() == gated.gates()
    assert pair.cost() == gated.cost()
    with pytest.raises(ValueError, match="dense and a gated branch"):
        EncoderPair(gated, dense)
    with pytest.raises(ValueError, match="one shape"):
        EncoderPair(dense, GatedResNet18(EncoderConfig(width=8), image_size=20))
