"""Vision transformers under the names of timm, with timm as oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from oracles.drawn import with_drawn_values
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.factory import new_backbone
from ssl_kedro.encoders.gated_vit import GatedViT, ViTConfig, ViTSmallConfig
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.encoders.timm_names import ARCHITECTURES, timm_architecture, timm_weights
from ssl_kedro.inference.export import export_timm

STATISTICS: dict[str, Any] = {"pixel_mean": (0.4, 0.5, 0.6), "pixel_std": (0.2, 0.25, 0.3)}


def encoder(shape: ViTConfig, side: int, **options: Any) -> GatedViT:
    made = new_backbone(shape, image_size=side, **STATISTICS, **options)
    return with_drawn_values(made)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vit_tiny_patch16_224", ViTConfig(patch=16)),
        ("vit_small_patch16_224", ViTSmallConfig(patch=16)),
        ("vit_small_patch14_dinov2", ViTSmallConfig(patch=14, layer_scale=True)),
    ],
)
@torch.no_grad()
def test_timm_computes_the_same_features(name: str, shape: ViTConfig, tmp_path: Path) -> None:
    side = 518 if "dino" in name else 224
    source = encoder(shape, side)
    assert timm_architecture(source) == name
    seen = np.zeros((0, 3, side, side), np.uint8)
    if side == 224:
        report = export_timm(source, tmp_path / f"{name}.safetensors", seen)
        assert report.difference == 0 < report.largest
        assert (report.images, report.bytes) == (4, report.path.stat().st_size)
    else:
        save_file(timm_weights(source), tmp_path / f"{name}.safetensors")
    theirs = timm.create_model(
        name, checkpoint_path=tmp_path / f"{name}.safetensors", num_classes=0
    )
    images = torch.rand(1, 3, side, side)
    pixels = (images - source.pixel_mean) / source.pixel_std
    assert torch.equal(theirs.eval()(pixels), source.dense(images))


def test_all_names_are_timms_and_of_these_shapes() -> None:
    for (width, patch, side, scaled), name in ARCHITECTURES.items():
        with torch.device("meta"):
            source: Any = new_backbone(
                ViTConfig(width=width, patch=patch, layer_scale=scaled), image_size=side
            )
            theirs = timm.create_model(name, num_classes=0).state_dict()
        assert timm_architecture(source) == name
        own = {
            n.replace(".dense.", "."): v.shape
            for n, v in source.state_dict().items()
            if ".gate" not in n and "pixel" not in n
        }
        assert own == {n: v.shape for n, v in theirs.items()}


def test_of_a_pair_it_is_the_dense_one() -> None:
    shape = ViTConfig(patch=16)
    pair = EncoderPair(
        encoder(shape, 224, branches=("dense",)), encoder(shape, 224, branches=("gated",))
    )
    weights = timm_weights(pair)
    assert torch.equal(weights["pos_embed"], pair.member("dense").pos_embed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "side"),
    [
        (ViTConfig(patch=16), 32),
        (ViTConfig(patch=16, depth=2), 224),
        (ViTConfig(patch=16, pooling="mean"), 224),
        (ViTConfig(patch=16, layer_scale=True), 224),
        (ViTConfig(patch=16).thinned((1, 9) * 12), 224),
    ],
)
def test_other_shapes_are_refused_with_what_to_write_instead(shape: ViTConfig, side: int) -> None:
    made = new_backbone(shape, image_size=side, branches=("dense",))
    assert timm_architecture(made) == ""
    with pytest.raises(
        InputError, match=r"width 192 with patches of 16 px at 224 px.*export_bundle"
    ):
        timm_weights(made)
    gated = new_backbone(ViTConfig(patch=16), image_size=224, branches=("gated",))
    assert timm_architecture(gated) == ""
    with pytest.raises(ValueError, match="dense"):
        timm_weights(gated)
