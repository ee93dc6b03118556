"""Vision transformers as others publish them, with timm's networks as oracle."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from oracles.drawn import with_drawn_values
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_encoder, save_bundle
from ssl_kedro.encoders.factory import encoder_setup
from ssl_kedro.encoders.frozen import (
    FrozenEncoderConfig,
    InitialWeights,
    frozen_encoder,
    trained_encoder,
)
from ssl_kedro.encoders.gated_vit import GatedViT
from ssl_kedro.encoders.importers import WeightsError, import_weights
from ssl_kedro.encoders.maps import BranchMaps
from ssl_kedro.encoders.starting import start_from
from ssl_kedro.gating.budget import GateConfig

State = dict[str, Tensor]


def tiny(**options: Any) -> nn.Module:
    """Of two blocks."""
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, **options)
    return with_drawn_values(network)  # type: ignore[no-any-return]


def dino_checkpoint(state: State) -> Any:
    head = {"mlp.0.weight": torch.zeros(2, 2), "last_layer.weight_g": torch.zeros(2, 1)}
    teacher = {f"backbone.{n}": v for n, v in state.items()}
    teacher |= {f"head.{n}": v for n, v in head.items()}
    student = {f"module.{n}": v + 1 for n, v in teacher.items()}
    args = argparse.Namespace(arch="vit_small")
    return {"student": student, "teacher": teacher, "optimizer": {}, "epoch": 3, "args": args}


def dinov2(state: State) -> State:
    return state | {"mask_token": torch.zeros(1, state["pos_embed"].shape[2])}


# Kind, timm's name with the tag that says how pixels are normalised, its options, the file's
# layout, side in px.
LAYOUTS: dict[str, tuple[str, str, dict[str, Any], Callable[[State], Any], int]] = {
    "timm tiny": ("timm_vit", "vit_tiny_patch16_224.augreg_in21k_ft_in1k", {}, dict, 224),
    "timm small": ("timm_vit", "vit_small_patch16_224.augreg_in21k_ft_in1k", {}, dict, 224),
    "DINO": ("dino", "vit_small_patch16_224.dino", {"num_classes": 0}, dict, 224),
    "DINO, checkpoint": (
        "dino", "vit_small_patch16_224.dino", {"num_classes": 0}, dino_checkpoint, 224,
    ),
    "DINOv2": ("dinov2", "vit_small_patch14_dinov2.lvd142m", {"num_classes": 0}, dinov2, 518),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_those_of_the_publishers_network(tmp_path: Path, layout: str) -> None:
    kind, name, options, content, side = LAYOUTS[layout]
    theirs: Any = with_drawn_values(timm.create_model(name, **options))
    torch.save(content(theirs.state_dict()), tmp_path / "w.pth")
    network, report = import_weights(kind, tmp_path / "w.pth")
    assert isinstance(network, BranchMaps)
    encoder: Any = network.encoder
    assert isinstance(encoder, GatedViT)
    assert encoder.image_size == side
    assert encoder.branches == ("dense",)
    images = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    mean, std = (torch.tensor(theirs.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        tokens = theirs.forward_features((images / 255 - mean) / std)
        maps, features = network(images), encoder(images, "dense").features
    scale = float(tokens.abs().max())
    torch.testing.assert_close(features, tokens[:, 0], rtol=0, atol=1e-5 * scale)
    patches = tokens[:, 1:].transpose(1, 2).view_as(maps)
    torch.testing.assert_close(maps, patches, rtol=0, atol=1e-5 * scale)
    used = {key.removeprefix("backbone.") for key in report.used}
    assert used == {key for key in theirs.state_dict() if not key.startswith("head.")}
    expected = {
        "timm tiny": {"head.weight", "head.bias"},
        "timm small": {"head.weight", "head.bias"},
        "DINO": set(),
        "DINO, checkpoint": {"head.mlp.0.weight", "head.last_layer.weight_g", "student",
                             "optimizer", "epoch", "args"},
        "DINOv2": {"mask_token"},
    }  # fmt: skip
    assert report.dropped.keys() == expected[layout]
    assert all(report.dropped.values())


def test_safetensors_and_bundles_hold_the_same(tmp_path: Path) -> None:
    state = {name: value.contiguous() for name, value in tiny().state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "w.pth")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    network, report = import_weights("timm_vit", tmp_path / "model.safetensors")
    expected = network(images)
    assert torch.equal(import_weights("timm_vit", tmp_path / "w.pth")[0](images), expected)
    save_bundle(network, tmp_path / "encoder", report)
    assert torch.equal(load_encoder(tmp_path / "encoder").maps(images, "dense")[0], expected)


def test_retrieval_and_trainings_take_it_by_its_kind(tmp_path: Path) -> None:
    """Retrieval compares it with timm's own, trainings begin with it at another size."""
    state = tiny(num_classes=0).state_dict()
    torch.save(dinov2(state), tmp_path / "w.pth")
    config = FrozenEncoderConfig("dinov2", str(tmp_path / "w.pth"))
    maps = frozen_encoder(config, 0)
    assert maps.map_channels == 192
    assert maps(torch.rand(2, 3, 48, 32)).shape == (2, 192, 3, 2)
    start = trained_encoder(InitialWeights(str(tmp_path / "w.pth"), "dinov2"))
    assert isinstance(start, Encoder)
    setup = encoder_setup("vit_tiny", image_size=32, depth=2, patch=16, start=start)
    encoder: Any = setup.build(("dense", "gated"), GateConfig()).eval()
    start_from(encoder, start)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(encoder.dense(images), start.dense(images))
    opened = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
    assert torch.equal(encoder(images, "gated", masks=opened).features, start.dense(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("blocks.1.mlp.fc2.bias"), r"1 missing: blocks\.1\.mlp\.fc2\.bias"),
        (lambda s: s.update(register_tokens=torch.zeros(1, 4, 192)), "unexpected: register_tokens"),
        (lambda s: s.update({"blocks.1.attn.q_norm.weight": torch.ones(64)}), "unexpected: blocks"),
        (
            lambda s: s.update({"blocks.0.mlp.fc1.weight": torch.zeros(700, 192)}),
            r"wrong shape: blocks\.0\.mlp\.fc1\.weight \(700, 192\) for \(768, 192\)",
        ),
        (
            lambda s: s.update({"blocks.0.norm1.weight": torch.zeros(7)}),
            r"wrong shape: blocks\.0\.norm1\.dense\.weight \(7,\) for \(192,\)",
        ),
        (lambda s: s.update({"norm.bias": torch.full((192,), torch.nan)}), "not finite in norm"),
        (lambda s: s.pop("patch_embed.proj.weight"), r"without patch_embed\.proj\.weight"),
        (
            lambda s: s.update({"patch_embed.proj.weight": torch.zeros(192, 3, 16, 8)}),
            "of square patches",
        ),
        (
            lambda s: s.update({"patch_embed.proj.weight": torch.zeros(100, 3, 16, 16)}),
            "found width = 100; expected a multiple of 64",
        ),
        (
            lambda s: s.update({"patch_embed.proj.weight": torch.zeros(1280, 3, 14, 14)}),
            "found 1280 channels a token, whose heads have another size than 64",
        ),
        (lambda s: s.pop("pos_embed"), "positions pos_embed missing"),
        (lambda s: s.update(pos_embed=torch.zeros(1, 4, 192)), r"pos_embed \(1, 4, 192\); expec"),
        (lambda s: [s.pop(n) for n in [*s] if "blocks" in n], "found depth = 0"),
        (
            lambda s: s.update({"norm.dense.bias": torch.zeros(192)}),
            r"one tensor under two names: norm\.bias",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["timm_vit", "dino", "dinov2"])
def test_faults_are_named(
    tmp_path: Path, kind: str, change: Callable[[State], Any], message: str
) -> None:
    state = dict(tiny(num_classes=0).state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        import_weights(kind, tmp_path / "w.pth")


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match=r"found a damaged file .* expected safetensors"):
        import_weights("dino", tmp_path / "w.safetensors")


def test_tokens_of_masks_are_unknown_to_supervised_networks(tmp_path: Path) -> None:
    torch.save(dinov2(tiny(num_classes=0).state_dict()), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="1 unexpected: mask_token"):
        import_weights("timm_vit", tmp_path / "w.pth")
