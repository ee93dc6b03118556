from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoders.test_recalibration import norm_inputs
from oracles.norms import with_used_norms
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import EncoderSetup, backbone, encoder_setup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18, Stem
from ssl_kedro.encoders.slimmable_resnet18 import SlimmableConfig, SlimmableResNet18, slimmable

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)


def whole(stem: Stem = "cifar_pad1", width: int = 8) -> SlimmableResNet18:
    torch.manual_seed(0)
    encoder = SlimmableResNet18(
        SlimmableConfig(stem=stem, width=width),
        branches=("dense",),
        image_size=16,
        pixel_mean=(0.4, 0.5, 0.6),
        pixel_std=(0.2, 0.25, 0.3),
    )
    return with_used_norms(encoder).train()


def cut_by_hand(encoder: SlimmableResNet18, width: int) -> GatedResNet18:
    """A plain network of that width with the first channels of every layer, index by index."""
    thin = GatedResNet18(
        EncoderConfig(stem=encoder.config.stem, width=width),
        branches=("dense",),
        image_size=16,
        pixel_mean=(0.4, 0.5, 0.6),
        pixel_std=(0.2, 0.25, 0.3),
    )
    state: dict[str, Tensor] = {}
    for name, value in thin.state_dict().items():
        source, cut = encoder.state_dict()[name], torch.zeros_like(value)
        if name.startswith("pixel") or value.ndim == 0:
            cut = source
        elif value.ndim == 1:
            for channel in range(len(value)):
                cut[channel] = source[channel]
        else:
            for out in range(value.shape[0]):
                for given in range(value.shape[1]):
                    cut[out, given] = source[out, given]
        state[name] = cut
    thin.load_state_dict(state)
    return thin


def test_at_its_own_width_it_is_the_plain_network() -> None:
    encoder = whole()
    plain = cut_by_hand(encoder, 8)
    pixels = torch.from_numpy(IMAGES)
    for module in (encoder, plain):
        module.train()
    trained = [module(pixels, "dense").features for module in (encoder, plain)]
    assert torch.equal(*trained)
    assert torch.equal(encoder.narrow_features(pixels, 8), trained[1])
    with torch.no_grad():
        assert torch.equal(encoder.eval().dense(pixels), plain.eval().dense(pixels))
    assert encoder.cost() == plain.cost() == encoder.cost_at(8)
    again = encoder.at_width(8, IMAGES)
    assert type(again) is GatedResNet18
    assert torch.equal(again.stem[0].weight, encoder.stem[0].weight)


@pytest.mark.parametrize(("stem", "width"), [("cifar_pad1", 3), ("imagenet", 5)])
def test_a_narrow_pass_is_the_network_cut_by_hand_with_its_gradients(
    stem: Stem, width: int
) -> None:
    encoder = whole(stem).train()
    thin = cut_by_hand(encoder, width).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    pixels = torch.rand(6, 3, 32, 32)
    pair = [encoder.narrow_features(pixels, width), thin(pixels, "dense").features]
    assert pair[0].shape == (6, 8 * width)
    assert torch.allclose(*pair, atol=1e-5)
    weights = torch.randn(6, 8 * width)
    for features in pair:
        (features * weights).sum().backward()
    for name, parameter in thin.named_parameters():
        gradient = encoder.get_parameter(name).grad
        assert gradient is not None
        inside = tuple(slice(n) for n in parameter.shape)
        assert torch.allclose(gradient[inside], parameter.grad, atol=1e-3, rtol=1e-3), name
        assert gradient[inside].any()
        outside = gradient.clone()
        outside[inside] = 0
        assert not outside.any(), name
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())


def test_at_a_width_it_is_plain_weights_with_norms_of_the_images() -> None:
    encoder = whole()
    found = encoder.at_width(5, IMAGES)
    thin = cut_by_hand(encoder, 5)
    with torch.no_grad():
        inputs = norm_inputs(thin.double(), IMAGES, None, "dense")
    thin.float()
    modules = dict(thin.named_modules())
    for name, x in inputs.items():
        norm = modules[name]
        assert isinstance(norm, nn.BatchNorm2d)
        flat = x.transpose(0, 1).flatten(1)
        norm.running_mean, norm.running_var = flat.mean(dim=1).float(), flat.var(dim=1).float()
    ones = [torch.ones(block.channels) for block in found.cost().blocks]
    image = torch.rand(3, 16, 16)
    with torch.no_grad():
        expected, counted = sliced_forward(thin.eval(), image, ones, "dense")
        assert torch.allclose(found.dense(image[None])[0], expected, atol=1e-4)
    assert found.cost() == encoder.cost_at(5)
    assert found.cost().dense == counted
    # By hand: 16 px, then 8, 4, 2; channels 5, 10, 20, 40, two convolutions in each of two blocks.
    stages = [(16, 5, 5), (8, 5, 10), (4, 10, 20), (2, 20, 40)]
    macs = 16 * 16 * 27 * 5
    for side, given, made in stages:
        macs += side**2 * (9 * given * made + 3 * 9 * made * made)
        macs += side**2 * given * made * (given != made)
    assert counted == macs
    assert not found.training
    assert all(p.requires_grad for p in found.parameters())
    found.stem[0].weight.data.zero_()
    assert encoder.stem[0].weight.any()


def test_bundles_of_it_and_of_its_cuts_are_read_again(tmp_path: Path) -> None:
    encoder = whole().eval()
    save_encoder(encoder, tmp_path / "whole")
    save_encoder(encoder.at_width(4, IMAGES), tmp_path / "cut")
    again, cut = load_encoder(tmp_path / "whole"), load_encoder(tmp_path / "cut")
    assert isinstance(again, SlimmableResNet18)
    assert again.cost() == encoder.cost()
    with torch.no_grad():
        assert torch.equal(again.dense(IMAGES), encoder.dense(IMAGES))
        assert torch.equal(again.at_width(4, IMAGES).dense(IMAGES), cut.dense(IMAGES))
    assert type(cut) is GatedResNet18
    assert cut.config == EncoderConfig(stem="cifar_pad1", width=4)
    assert cut.image_size == 16


def test_it_is_a_backbone_by_name_and_draws_nothing_when_it_is_cut() -> None:
    assert backbone("slimmable_resnet18") is SlimmableResNet18
    setup = encoder_setup("slimmable_resnet18", image_size=16, width=8)
    assert isinstance(setup, EncoderSetup)
    assert slimmable(EncoderConfig(stem="imagenet", width=6)) == SlimmableConfig("imagenet", 6)
    encoder = whole()
    state = torch.get_rng_state()
    encoder.at_width(3, IMAGES)
    encoder.narrow_features(torch.rand(2, 3, 16, 16, generator=torch.Generator()), 3)
    assert torch.equal(torch.get_rng_state(), state)
    thin = SlimmableConfig(width=8, inner_channels=(8, 4, 16, 2, 32, 6, 64, 10)).plain(4)
    assert thin.inner_channels == (4, 2, 8, 1, 16, 3, 32, 5)
    for width in (1, 9):
        with pytest.raises(ValueError, match=f"width = {width}: expected channels from 2 to 8"):
            encoder.at_width(width, IMAGES)
    with pytest.raises(ConfigError, match="width"):
        SlimmableConfig(width=1)
