from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoders.test_recalibration import norm_inputs
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import backbone
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18, Stem
from ssl_kedro.encoders.nested_resnet18 import NestedConfig, NestedResNet18, nested
from ssl_kedro.encoders.recalibration import recalibrated

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)


def whole(stem: Stem = "cifar_pad1", width: int = 8) -> NestedResNet18:
    torch.manual_seed(0)
    encoder = NestedResNet18(
        NestedConfig(stem=stem, width=width),
        branches=("dense",),
        image_size=16,
        pixel_mean=(0.4, 0.5, 0.6),
        pixel_std=(0.2, 0.25, 0.3),
    )
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return encoder


def cut_by_hand(encoder: NestedResNet18, counts: tuple[int, ...]) -> GatedResNet18:
    """A plain network that has so many inner channels, copied one after the other."""
    thin = GatedResNet18(
        EncoderConfig(encoder.config.stem, encoder.config.width, counts),
        branches=("dense",),
        image_size=16,
        pixel_mean=(0.4, 0.5, 0.6),
        pixel_std=(0.2, 0.25, 0.3),
    )
    state = dict(encoder.state_dict())
    for name in [name for name in state if ".gated." in name]:
        state[name.replace(".gated.", ".dense.")] = state[name]
    for (name, _), count in zip(encoder.blocks.items(), counts, strict=True):
        at = f"blocks.{name}"
        rows = [f"{at}.conv1.weight", *(n for n in state if n.startswith(f"{at}.bn1"))]
        for row in rows:
            if state[row].ndim:
                state[row] = torch.stack([state[row][k] for k in range(count)])
        second = state[f"{at}.conv2.weight"]
        state[f"{at}.conv2.weight"] = torch.stack([second[:, k] for k in range(count)], dim=1)
    thin.load_state_dict({name: state[name] for name in thin.state_dict()})
    return thin


def counts_by_hand(encoder: NestedResNet18, budget: float) -> tuple[int, ...]:
    """One channel a block, then one after the other by rank for as long as they are paid for."""
    cost = encoder.cost()
    counts = [1] * len(cost.blocks)
    prices = [block.macs_per_channel for block in cost.blocks]
    spent = cost.stem + sum(block.shortcut for block in cost.blocks) + sum(prices)
    places = [
        ((k + 0.5) / block.channels, index)
        for index, block in enumerate(cost.blocks)
        for k in range(1, block.channels)
    ]
    for _, index in sorted(places):
        spent += prices[index]
        if spent > budget * cost.dense:
            break
        counts[index] += 1
    return tuple(counts)


@pytest.mark.parametrize("stem", ["cifar_pad1", "imagenet"])
def test_a_budget_opens_channels_by_rank_as_long_as_they_are_paid_for(stem: Stem) -> None:
    encoder = whole(stem)
    dense = encoder.cost().dense
    dearest = max(block.macs_per_channel for block in encoder.cost().blocks)
    previous = (0,) * 8
    for share in (0, 0.05, 0.1, 0.2, 0.33, 0.5, 0.8, 1):
        budget = encoder.smallest_budget + share * (1 - encoder.smallest_budget)
        shape = encoder.shape_at(budget)
        assert shape.inner_channels == counts_by_hand(encoder, budget)
        spent = cut_by_hand(encoder, shape.inner_channels).cost().dense
        assert spent <= budget * dense * (1 + 1e-9)
        assert budget == 1 or spent > budget * dense - dearest
        assert all(a >= b for a, b in zip(shape.inner_channels, previous, strict=True))
        previous = shape.inner_channels
    assert previous == (8, 8, 16, 16, 32, 32, 64, 64)
    for budget in (0, 0.9 * encoder.smallest_budget, 1.1):
        with pytest.raises(ValueError, match=r"budget = .*expected a share of the dense MACs from"):
            encoder.shape_at(budget)


def test_at_a_size_of_images_macs_are_counted_there() -> None:
    encoder = whole("imagenet")
    shape = encoder.shape_at(0.5, image_size=64)
    plain = cut_by_hand(encoder, shape.inner_channels)
    assert plain.cost(64).dense <= 0.5 * encoder.cost(64).dense < 1.1 * plain.cost(64).dense


@pytest.mark.parametrize(("stem", "budget"), [("cifar_pad1", 0.2), ("imagenet", 0.45)])
def test_a_narrow_pass_is_the_network_cut_by_hand_with_its_gradients(
    stem: Stem, budget: float
) -> None:
    encoder = whole(stem).train()
    thin = cut_by_hand(encoder, counts_by_hand(encoder, budget)).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    pixels = torch.rand(6, 3, 32, 32)
    pair = [encoder.narrow_features(pixels, budget), thin(pixels, "dense").features]
    assert pair[0].shape == (6, 64)
    assert torch.allclose(*pair, atol=1e-5)
    weights = torch.randn(6, 64)
    for features in pair:
        (features * weights).sum().backward()
    for name, parameter in thin.named_parameters():
        gradient = encoder.get_parameter(name.replace(".dense.", ".gated.")).grad
        assert gradient is not None
        inside = tuple(slice(n) for n in parameter.shape)
        assert torch.allclose(gradient[inside], parameter.grad, atol=1e-3, rtol=1e-3), name
        assert gradient[inside].any()
        outside = gradient.clone()
        outside[inside] = 0
        assert not outside.any(), name
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())


def test_at_a_budget_it_is_plain_weights_with_norms_of_the_images() -> None:
    encoder = whole()
    found = encoder.at_budget(0.3, IMAGES)
    thin = cut_by_hand(encoder, counts_by_hand(encoder, 0.3))
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
    assert found.cost().dense == counted <= 0.3 * encoder.cost().dense
    assert type(found) is GatedResNet18
    assert not found.training
    found.stem[0].weight.data.zero_()
    assert encoder.stem[0].weight.any()


def statistics(encoder: GatedResNet18) -> dict[str, Tensor]:
    state = encoder.state_dict()
    return {name: value for name, value in state.items() if ".running_" in name}


def test_calibrated_budgets_are_those_of_the_images_and_others_lie_between() -> None:
    encoder = whole()
    with pytest.raises(ValueError, match="was not calibrated: call calibrate"):
        encoder.gated(IMAGES, budget=0.3)
    encoder.calibrate(IMAGES, (0.01, 0.2, 0.4))
    assert encoder.budgets.tolist() == pytest.approx([encoder.smallest_budget, 0.2, 0.4, 1.0])
    for budget in (encoder.smallest_budget, 0.2, 0.4, 1.0):
        known, asked = encoder.at_budget(budget, IMAGES), encoder.at_budget(budget)
        assert torch.allclose(known.dense(IMAGES), asked.dense(IMAGES), atol=1e-5)
        assert torch.equal(encoder.gated(IMAGES, budget=budget), asked.dense(IMAGES))
    every = cut_by_hand(encoder, (8, 8, 16, 16, 32, 32, 64, 64))
    assert torch.allclose(
        encoder.gated(IMAGES, budget=1.0), recalibrated(every, IMAGES).dense(IMAGES), atol=1e-4
    )
    low, high = statistics(encoder.at_budget(0.2)), statistics(encoder.at_budget(0.4))
    for name, found in statistics(encoder.at_budget(0.25)).items():
        ends = len(low[name])
        expected = low[name] + 0.25 * (high[name][:ends] - low[name])
        assert torch.allclose(found[:ends], expected, atol=1e-5, rtol=1e-4), name
        # Channels that the smaller budget closes have what they have at the larger one.
        assert torch.allclose(found[ends:], high[name][ends : len(found)]), name


def test_without_a_budget_or_beyond_them_it_says_what_it_serves() -> None:
    encoder = whole()
    encoder.calibrate(IMAGES)
    least = rf"{encoder.smallest_budget:.3f}"
    with pytest.raises(ValueError, match=rf"from {least} to 1: encoder.gated\(images, budget=0.3"):
        encoder.gated(IMAGES)
    with pytest.raises(ValueError, match=rf"from {least}, which one channel a block costs, to 1"):
        encoder.gated(IMAGES, budget=0.01)
    with pytest.raises(ValueError, match="expected images to re-estimate"):
        encoder.calibrate(IMAGES[:0])


def test_bundles_keep_the_calibration(tmp_path: Path) -> None:
    encoder = whole().eval()
    save_encoder(encoder, tmp_path / "plain")
    assert len(load_encoder(tmp_path / "plain").budgets) == 0
    encoder.calibrate(IMAGES, (0.2, 0.5))
    save_encoder(encoder, tmp_path / "whole")
    again = load_encoder(tmp_path / "whole")
    assert isinstance(again, NestedResNet18)
    assert torch.equal(again.gated(IMAGES, budget=0.3), encoder.gated(IMAGES, budget=0.3))
    assert torch.equal(again.dense(IMAGES), encoder.dense(IMAGES))
    assert encoder.readme()["budgets"][1:] == [0.2, 0.5, 1.0]


def test_it_is_a_backbone_by_name_and_draws_nothing_when_it_is_cut() -> None:
    assert backbone("nested_resnet18") is NestedResNet18
    shape = EncoderConfig(stem="imagenet", width=6)
    assert dataclasses.asdict(nested(shape)) == dataclasses.asdict(shape)
    encoder = whole()
    state = torch.get_rng_state()
    encoder.at_budget(0.3, IMAGES)
    encoder.narrow_features(torch.rand(2, 3, 16, 16, generator=torch.Generator()), 0.3)
    encoder.calibrate(IMAGES, (0.3,))
    assert torch.equal(torch.get_rng_state(), state)
