from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from inference.networks import agreeing_masks, random_encoder, random_usage
from ssl_kedro.encoders.gated_resnet import Stem
from ssl_kedro.inference.compact import GateUsage, compact, dense_network
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.inference.plan import FORMAT, PlanError, plan_from_json

STEMS: list[tuple[Stem, int]] = [("cifar", 16), ("cifar_pad1", 15), ("imagenet", 48)]


@pytest.mark.parametrize(("stem", "size"), STEMS)
@torch.no_grad()
def test_compact_equals_the_masked_encoder_under_the_same_mask(stem: Stem, size: int) -> None:
    encoder = random_encoder(stem, size=size)
    usage = random_usage(encoder)
    network = compact(encoder, usage)
    images = torch.rand(4, 3, size, size)
    masks = agreeing_masks(usage, 4)
    expected = encoder(images, "gated", masks=masks).features
    imposed = network.plan.dependent_masks(masks)
    found, applied = network.decide(images, imposed)
    assert torch.equal(applied, imposed)
    assert float((found - expected).abs().max()) < 1e-5
    one = [mask[:1] for mask in masks]
    shared = network(images, network.plan.dependent_masks(one))
    assert torch.allclose(shared, encoder(images, "gated", masks=one).features, atol=1e-5)


@torch.no_grad()
def test_on_the_images_of_the_usage_nothing_changes() -> None:
    encoder = random_encoder(width=12)
    images = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    encoding = encoder(images, "gated")
    names = tuple(name for name, _ in encoder.residual_blocks())
    counts = tuple(mask.sum(dim=0).long().numpy() for mask in encoding.masks)
    network = compact(encoder, GateUsage("these", 6, names, counts))
    features, applied = network.decide(images)
    assert torch.allclose(features, encoding.features, atol=1e-5)
    for full, mask in zip(network.plan.encoder_masks(applied), encoding.masks, strict=True):
        assert torch.equal(full, mask)
    for block, count in zip(network.plan.layers, counts, strict=True):
        assert block.kept[: block.always_on] == tuple(np.flatnonzero(count == 6))
        assert set(block.kept) == set(np.flatnonzero(count))


@torch.no_grad()
def test_only_what_is_dependent_has_logits() -> None:
    encoder = random_encoder()
    network = compact(encoder, random_usage(encoder))
    for block, plan in zip(network.compact_blocks(), network.plan.layers, strict=True):
        assert block.gate is not None
        assert block.gate.expand.out_features == plan.dependent < plan.channels


@torch.no_grad()
def test_a_block_that_keeps_nothing_is_its_shortcut_and_a_constant() -> None:
    encoder = random_encoder()
    usage = random_usage(encoder)
    empty = tuple(np.zeros_like(c) if i in (0, 2) else c for i, c in enumerate(usage.open_counts))
    usage = GateUsage("made up", 10, usage.block_names, empty)
    network = compact(encoder, usage)
    images, masks = torch.rand(3, 3, 16, 16), agreeing_masks(usage, 3)
    expected = encoder(images, "gated", masks=masks).features
    found = network(images, network.plan.dependent_masks(masks))
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("branch", ["dense", "gated"])
@torch.no_grad()
def test_dense_network_is_the_branch_with_all_channels(branch: str) -> None:
    encoder = random_encoder()
    images = torch.rand(3, 3, 16, 16)
    ones = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
    expected = encoder(images, branch, masks=ones if branch == "gated" else None).features
    network = dense_network(encoder, branch)  # type: ignore[arg-type]
    assert torch.allclose(network(images), expected, atol=1e-5)
    assert network.plan.dependent == 0
    assert (
        network.plan.cost().dense
        == encoder.cost().dense
        == network.plan.cost().fixed
        + sum(block.channels * block.macs_per_channel for block in encoder.cost().blocks)
    )


@pytest.mark.parametrize(("stem", "size"), STEMS)
def test_cost_of_a_mask_is_the_encoders_less_the_removed_gates(stem: Stem, size: int) -> None:
    encoder = random_encoder(stem, size=size)
    usage = random_usage(encoder)
    plan = compact(encoder, usage).plan
    masks = agreeing_masks(usage, 5)
    kept = [mask[:, list(block.kept)] for mask, block in zip(masks, plan.layers, strict=True)]
    expected = encoder.cost().masked(masks)
    for block, gate in zip(plan.layers, encoder.gates(), strict=True):
        expected -= gate.squeeze.out_features * (block.channels - block.dependent)
    assert torch.equal(plan.cost().masked(kept), expected)


def test_plan_survives_json_and_refuses_what_it_does_not_know() -> None:
    encoder = random_encoder()
    plan = compact(encoder, random_usage(encoder)).plan
    values = json.loads(json.dumps(dataclasses.asdict(plan) | {"format": FORMAT}))
    assert plan_from_json(values) == plan
    CompactNetwork(plan_from_json(values))
    with pytest.raises(PlanError, match=r"expected .ssl_kedro compact"):
        plan_from_json(values | {"format": 9})
    with pytest.raises(PlanError, match="incomplete"):
        plan_from_json({"format": values["format"]})
    values["blocks"][0]["layers"][0]["kept"][0] = 99
    with pytest.raises(PlanError, match="between 0 and 7"):
        plan_from_json(values)


def test_a_plan_from_before_there_were_bottlenecks_is_read() -> None:
    plan = compact(random_encoder(), random_usage(random_encoder())).plan
    values = json.loads(json.dumps(dataclasses.asdict(plan) | {"format": FORMAT}))
    values["blocks"] = [
        {name: value for name, value in block.items() if name != "layers"} | block["layers"][0]
        for block in values["blocks"]
    ]
    assert plan_from_json(values) == plan


def test_usage_of_another_encoder_is_refused() -> None:
    encoder = random_encoder()
    with pytest.raises(ValueError, match="take the usage of this encoder"):
        compact(encoder, random_usage(random_encoder(width=12)))
    usage = random_usage(encoder)
    with pytest.raises(ValueError, match="other images"):
        GateUsage("x", 5, usage.block_names, usage.open_counts)


def test_nothing_is_drawn_from_the_global_generator() -> None:
    encoder = random_encoder()
    usage = random_usage(encoder)
    before = torch.random.get_rng_state()
    compact(encoder, usage)
    dense_network(encoder)
    assert torch.equal(torch.random.get_rng_state(), before)
