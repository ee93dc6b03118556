"""ResNet-34: torchvision's weights and figures, and all that cuts a ResNet-18 or makes it fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from oracles.norms import M, with_used_norms
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import encoder_setup, new_backbone, shape_values
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.pruning import pruned
from ssl_kedro.encoders.resnet34 import GatedResNet34, ResNet34Config
from ssl_kedro.encoders.torchvision_names import encoder_name
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.inference.compact import GateUsage, compact
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.nested import Nested
from ssl_kedro.methods.slim import Slim


def randomised(module: M) -> M:
    """The same weights in all tests, norms as after a training."""
    torch.manual_seed(0)
    return with_used_norms(module)


def test_it_equals_torchvision_in_outputs_macs_and_parameters() -> None:
    theirs = randomised(torchvision.models.resnet34())
    shape = ResNet34Config(stem="imagenet")
    ours = new_backbone(shape, branches=("dense",), image_size=224).eval()
    state, known = theirs.state_dict(), ours.state_dict()
    copied = {encoder_name(name): value for name, value in state.items() if "fc." not in name}
    assert copied.keys() == {name for name in known if "pixel" not in name}
    ours.load_state_dict(copied, strict=False)
    images = torch.rand(2, 3, 96, 96)
    body = nn.Sequential(*list(theirs.children())[:-1])
    with torch.no_grad():
        expected = body((images - 0.5) / 0.25).flatten(1)
        found = ours(images, "dense").features
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert sum(p.numel() for p in ours.parameters()) == 21_797_672 - 513_000
    # 3.66 G, as published, of which the classifier takes 512,000.
    assert ours.cost().dense == 3_663_761_408 - 512_000


def test_masked_equals_sliced_in_outputs_and_macs() -> None:
    encoder = randomised(GatedResNet34(ResNet34Config(stem="cifar_pad1", width=16), image_size=16))
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        features, masks, _ = encoder(images, "gated")
        macs = encoder.cost().masked(masks)
        assert len(masks) == 16
        for sample in range(2):
            kept = [mask[sample] for mask in masks]
            expected, counted = sliced_forward(encoder, images[sample], kept, "gated")
            torch.testing.assert_close(features[sample], expected, atol=1e-4, rtol=1e-4)
            assert float(macs[sample]) == counted


def test_it_is_made_compact_with_channels_left_out() -> None:
    encoder = randomised(GatedResNet34(ResNet34Config(stem="cifar_pad1", width=8), image_size=16))
    images = torch.rand(6, 3, 16, 16)
    with torch.no_grad():
        expected, masks, _ = encoder(images, "gated")
    names = tuple(name for name, _ in encoder.residual_blocks())
    counts = tuple(mask.sum(0).numpy().astype(np.int64) for mask in masks)
    network = compact(encoder, GateUsage("drawn", 6, names, counts))
    assert sum(int((count == 0).sum()) for count in counts) > 0
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)


def drawn_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


@pytest.mark.parametrize("method", [Nested, Slim])
def test_methods_that_cut_it_train_it_and_cut_its_blocks(method: type[Nested | Slim]) -> None:
    torch.manual_seed(0)
    setup = encoder_setup("resnet34", image_size=16, stem="cifar_pad1", width=8)
    trained = method(setup, MethodConfig(ExpanderConfig(16, 16)))
    count = trained.view_count
    views: tuple[Tensor, ...] = tuple(torch.rand(4, 3, 16, 16) for _ in range(count))
    trained(views, 0.5, torch.Generator().manual_seed(0)).loss.backward()
    encoder = trained.encoder
    assert [name for name, _ in encoder.residual_blocks()][-1] == "layer4.2"
    missing = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert not missing
    images = drawn_images(12)
    cut = encoder.at_budget(0.4, images) if method is Nested else encoder.at_width(5, images)
    assert len(cut.residual_blocks()) == 16
    assert cut.cost().dense < encoder.cost().dense


def test_pruning_keeps_its_blocks() -> None:
    encoder = randomised(GatedResNet34(ResNet34Config(stem="cifar_pad1", width=8), image_size=16))
    found = pruned(encoder, 0.4, drawn_images(12))
    assert len(found.residual_blocks()) == 16
    assert 0.37 < found.cost().dense / encoder.cost().dense <= 0.4
    assert found.config_type is type(found.config)


def test_bundles_and_runs_name_it(tmp_path: Path) -> None:
    made = GatedResNet34(ResNet34Config(stem="cifar_pad1", width=4), image_size=16).eval()
    save_encoder(made, tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert isinstance(loaded, GatedResNet34)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(loaded.dense(images), made.dense(images))
    assert shape_values(made.config)["architecture"] == "resnet34"


def test_runs_from_before_stages_could_be_chosen_are_described_as_they_were() -> None:
    assert "stages" not in shape_values(EncoderConfig())
    assert shape_values(EncoderConfig(stages=(1, 1, 1, 1)))["stages"] == (1, 1, 1, 1)
    small = GatedResNet18(EncoderConfig(width=4, stages=(1, 1, 1, 1)))
    assert [name for name, _ in small.residual_blocks()] == [f"layer{n}.0" for n in (1, 2, 3, 4)]
    with pytest.raises(ConfigError, match="one number a block, 16 in all"):
        ResNet34Config(inner_channels=(4,) * 8)


def test_a_setup_builds_both_branches() -> None:
    encoder = encoder_setup("resnet34", width=4).build(("dense", "gated"), GateConfig())
    assert len(encoder.gates()) == 16
