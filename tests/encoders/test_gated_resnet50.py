"""Bottlenecks: two masks a block, and a cost that grows with their product."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights

from inference.networks import random_encoder
from oracles.sliced_resnet import sliced_forward
from ssl_kedro import encoders
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import EncoderSetup, backbone, setup_from_json, shape_values
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18, Stem
from ssl_kedro.encoders.nested_resnet18 import NestedResNet18, nested
from ssl_kedro.encoders.pruning import pruned
from ssl_kedro.encoders.resnet50 import GatedResNet50, ResNet50Config
from ssl_kedro.encoders.slimmable_resnet18 import SlimmableResNet18, slimmable
from ssl_kedro.gating.cost import BlockCost, NetworkCost

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)


def bottlenecks(stem: Stem = "cifar", width: int = 8, size: int = 16) -> GatedResNet18:
    return random_encoder(stem, width, size, block="bottleneck")


def test_cost_and_parameters_are_those_that_torchvision_publishes() -> None:
    """4.089 billion MACs and 25,557,032 parameters, of which a classifier of 1000 classes."""
    meta = ResNet50_Weights.IMAGENET1K_V2.meta
    dense = GatedResNet50(ResNet50Config("imagenet"), branches=("dense",), image_size=224)
    assert round((dense.cost().dense + 2048 * 1000) / 1e9, 3) == meta["_ops"] == 4.089
    parameters = sum(value.numel() for value in dense.parameters())
    assert parameters + 2048 * 1000 + 1000 == meta["num_params"]


@pytest.mark.parametrize(("stem", "size"), [("cifar", 16), ("imagenet", 65), ("cifar_pad1", 15)])
@torch.no_grad()
def test_masked_network_equals_the_sliced_one_in_output_and_macs(stem: Stem, size: int) -> None:
    encoder = bottlenecks(stem, size=size)
    images = torch.rand(3, 3, size, size)
    features, masks, decisions = encoder(images, "gated")
    assert len(masks) == len(encoder.gates()) == 16
    assert all(torch.equal(mask > 0, own) for mask, own in zip(masks, decisions, strict=True))
    macs = encoder.cost().masked(masks)
    for sample in range(3):
        kept = [mask[sample] for mask in masks]
        expected, counted = sliced_forward(encoder, images[sample], kept, "gated")
        assert torch.allclose(features[sample], expected, atol=1e-4, rtol=1e-4)
        assert float(macs[sample]) == counted


def test_a_bottleneck_costs_what_is_counted_by_hand() -> None:
    """The first of the second stage: 34 px before its stride, 17 behind; 32 -> 16 -> 16 -> 64."""
    cost = GatedResNet18(EncoderConfig(width=8, block="bottleneck")).cost()
    assert [block.name for block in cost.blocks[4:6]] == ["layer2.0.conv1", "layer2.0.conv2"]
    first, second = cost.blocks[4:6]
    assert first.macs_per_channel == 32 * 34 * 34
    assert (first.macs_per_pair, first.shortcut) == (0, 32 * 64 * 17 * 17)
    assert second.macs_per_channel == 64 * 17 * 17
    assert (second.macs_per_pair, second.shortcut) == (9 * 17 * 17, 0)
    assert first.gate == second.gate == 32 * 8 + 8 * 16


def two_masks() -> NetworkCost:
    return NetworkCost(7, (BlockCost("a", 3, 10, 5, 2), BlockCost("b", 4, 100, 0, 1, 1000)))


def test_pairs_are_counted_for_numbers_arrays_and_masks() -> None:
    cost = two_masks()
    assert cost.dense == 7 + 5 + 3 * 10 + 4 * 100 + 3 * 4 * 1000
    assert cost.fixed == 7 + 5 + 2 + 1
    assert cost.at([2, 3]) == 12 + 20 + 300 + 6000
    counts = [np.array([0, 1, 3]), np.array([4, 2, 4])]
    assert cost.at(counts).tolist() == [412, 12 + 10 + 200 + 2000, cost.dense]
    masks = [torch.tensor([[1.0, 1, 0], [1, 1, 1]]), torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]])]
    assert cost.masked(masks).tolist() == [15 + 20 + 100 + 2000, 15 + 30]
    # The mean over images of products, not the product of means.
    expected = (15 + 20 + 100 + 2000 + 15 + 30) / 2 / cost.dense
    assert float(cost.ratio(masks)) == pytest.approx(expected)


def test_the_gradient_of_a_pair_is_its_price_times_the_other_mask() -> None:
    cost = two_masks()
    masks = [torch.ones(1, 3), torch.tensor([[1.0, 1, 0, 0]])]
    for mask in masks:
        mask.requires_grad_()
    cost.masked(masks).sum().backward()
    assert masks[0].grad.tolist() == [[10 + 2 * 1000] * 3]
    assert masks[1].grad.tolist() == [[100 + 3 * 1000] * 4]
    for mask in masks:
        mask.grad = None
    cost.ratio(masks).backward()
    assert masks[1].grad[0, 3].item() == pytest.approx((100 + 3 * 1000) / cost.dense)


@torch.no_grad()
def test_branches_share_convolutions_and_have_norms_of_their_own() -> None:
    encoder = bottlenecks()
    for _, block in encoder.residual_blocks():
        assert len(block.layers()) == 3
        for _, norms in block.layers():
            norms["gated"].load_state_dict(norms["dense"].state_dict())
    ones = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
    x = torch.rand(2, 3, 16, 16)
    opened = encoder(x, "gated", masks=ones).features
    torch.testing.assert_close(opened, encoder.dense(x))
    encoder.residual_blocks()[0][1].bn3["gated"].bias.add_(1)
    assert not torch.allclose(encoder(x, "gated", masks=ones).features, opened)


def test_thinner_and_narrower_shapes_have_two_numbers_a_block() -> None:
    shape = ResNet50Config(width=8)
    inner = tuple(range(1, 33))
    thin = GatedResNet50(shape.thinned(inner), branches=("dense",), image_size=16)
    assert [block.channels for block in thin.cost().blocks] == list(inner)
    assert shape.thinned(inner).narrowed(4).inner_channels[-2:] == (16, 16)
    with pytest.raises(ConfigError, match="expected two numbers a block, 32 in all"):
        shape.thinned([1] * 16)


def test_bundles_and_other_processes_know_the_shape(tmp_path: Path) -> None:
    encoder = random_encoder(block="bottleneck")
    whole = GatedResNet50(ResNet50Config(width=2), image_size=16)
    assert backbone("resnet50") is GatedResNet50
    for name, one in (("own", encoder), ("named", whole.eval())):
        save_encoder(one, tmp_path / name)
        again = load_encoder(tmp_path / name)
        x = torch.rand(2, 3, 16, 16)
        for branch in ("dense", "gated"):
            assert torch.equal(again(x, branch).features, one(x, branch).features)
    setup = EncoderSetup(ResNet50Config(width=4), 16)
    assert shape_values(setup.config)["architecture"] == "resnet50"
    assert "block" not in shape_values(setup.config) | shape_values(EncoderConfig())
    assert shape_values(encoder.config)["block"] == "bottleneck"
    assert setup_from_json(setup.as_json(), None) == setup


def test_any_budget_is_met_to_a_channel_by_an_encoder_that_is_cut() -> None:
    shape = nested(EncoderConfig("cifar_pad1", 8, block="bottleneck"))
    torch.manual_seed(0)
    encoder = NestedResNet18(shape, branches=("dense",), image_size=16)
    cost = encoder.cost()
    for budget in (0.25, 0.35, 0.8, 1.0):
        thin = encoder.at_budget(budget, IMAGES)
        counts = thin.config.inner_channels
        macs = cost.at(list(counts))
        assert thin.cost().dense == macs <= budget * cost.dense
        # One more channel anywhere, as the order opens them, would be too much.
        dearest = [
            cost.at([*counts[:place], counts[place] + 1, *counts[place + 1 :]])
            for place, block in enumerate(cost.blocks)
            if counts[place] < block.channels
        ]
        assert not dearest or max(dearest) > budget * cost.dense
        image = torch.rand(3, 16, 16)
        ones = [torch.ones(count) for count in counts]
        expected, counted = sliced_forward(thin.eval(), image, ones, "dense")
        assert counted == macs
        torch.testing.assert_close(thin(image[None], "dense").features[0], expected)


@torch.no_grad()
def test_pruned_weights_are_those_of_the_channels_that_stay() -> None:
    encoder = bottlenecks("cifar_pad1")
    thin = pruned(encoder, 0.4, IMAGES)
    counts = thin.config.inner_channels
    cost = encoder.cost()
    assert cost.at(list(counts)) <= 0.4 * cost.dense
    assert min(counts) < 8 <= max(counts)
    for (_, whole), (_, left) in zip(
        encoder.residual_blocks(), thin.residual_blocks(), strict=True
    ):
        first = places(left.conv1.weight, whole.conv1.weight)
        second = places(left.conv2.weight, whole.conv2.weight[:, first])
        assert torch.equal(whole.conv2.weight[second][:, first], left.conv2.weight)
        assert torch.equal(whole.conv3.weight[:, second], left.conv3.weight)


def places(rows: Tensor, among: Tensor) -> list[int]:
    """Which of some filters each one is."""
    return [next(i for i, other in enumerate(among) if torch.equal(row, other)) for row in rows]


def test_a_slimmable_one_is_sliced_to_any_width() -> None:
    shape = slimmable(EncoderConfig("cifar_pad1", 8, block="bottleneck"))
    encoder = SlimmableResNet18(shape, branches=("dense",), image_size=16)
    thin = encoder.at_width(4, IMAGES)
    assert thin.config == dataclasses.replace(EncoderConfig("cifar_pad1", 4), block="bottleneck")
    assert thin.cost() == encoder.cost_at(4)
    assert thin.dense(torch.rand(1, 3, 16, 16)).shape == (1, 128)
    features = encoder.narrow_features(torch.rand(2, 3, 16, 16), 4)
    features.sum().backward()
    grad = encoder.residual_blocks()[-1][1].conv2.weight.grad
    assert float(grad[:32, :32].abs().sum()) > 0 == float(grad[32:].abs().sum())


def test_every_architecture_is_a_factory_even_after_a_search_for_all_of_them() -> None:
    with pytest.raises(ConfigError, match="expected one of"):
        backbone("none")
    known = ("resnet18", "resnet34", "resnet50", "vit_tiny", "vit_small", "nested_resnet18")
    for name in known:
        setup = getattr(encoders, f"gated_{name}")(width=64)
        assert setup.config.architecture == name
