from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.networks import random_encoder
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.encoders.pruning import pruned
from ssl_kedro.encoders.recalibration import recalibrated

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)


def norms_by_loop(encoder: GatedResNet18) -> list[list[float]]:
    """Of each inner channel, filter by filter, over the root mean square of its block."""
    found = []
    for _, block in encoder.requires_grad_(False).residual_blocks():
        norm, own = block.bn1["dense"], []
        for channel, weights in enumerate(block.conv1.weight.detach().double()):
            variance = float(norm.running_var[channel]) + norm.eps
            scale = float(norm.weight[channel]) / variance**0.5
            own.append(abs(scale) * sum(float(w) ** 2 for w in weights.flatten()) ** 0.5)
        mean_square = sum(n**2 for n in own) / len(own)
        found.append([n / mean_square**0.5 for n in own])
    return found


@pytest.mark.parametrize("budget", [0.3, 0.75])
def test_the_channels_of_smallest_norm_go_until_the_budget_is_met(budget: float) -> None:
    encoder = random_encoder(width=8)
    found = pruned(encoder, budget, IMAGES)
    norms, cost = norms_by_loop(encoder), encoder.cost()
    assert found.config.inner_channels is not None
    ranking = sorted((n, b, c) for b, own in enumerate(norms) for c, n in enumerate(own))
    kept = [set(range(len(own))) for own in norms]
    macs = [cost.dense]
    for _, block, channel in ranking:
        if macs[-1] <= budget * cost.dense:
            break
        if len(kept[block]) > 1:
            kept[block].remove(channel)
            macs.append(macs[-1] - cost.blocks[block].macs_per_channel)
    assert found.cost().dense == macs[-1] <= budget * cost.dense < macs[-2]
    assert list(found.config.inner_channels) == [len(channels) for channels in kept]
    # The very weights of these channels, and batch norms as forced masks would have them.
    masks = [torch.zeros(1, len(own)) for own in norms]
    for mask, channels in zip(masks, kept, strict=True):
        mask[:, sorted(channels)] = 1
    exact = recalibrated(encoder, IMAGES, masks=masks)
    image = torch.rand(3, 16, 16)
    with torch.no_grad():
        expected, counted = sliced_forward(exact, image, [mask[0] for mask in masks], "dense")
        assert torch.allclose(found.dense(image[None])[0], expected, atol=1e-4)
    assert counted == found.cost().dense


def test_a_pruned_encoder_is_an_ordinary_one(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    encoder = random_encoder()
    torch.set_rng_state(state)
    found = pruned(encoder, 0.5, IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.branches == ("dense",)
    assert torch.equal(found.pixel_mean, encoder.pixel_mean)
    save_encoder(found, tmp_path / "pruned")
    again = load_encoder(tmp_path / "pruned")
    with torch.no_grad():
        assert torch.equal(again.dense(IMAGES), found.dense(IMAGES))
    assert all(p.requires_grad for p in found.parameters())


def test_everything_or_one_channel_a_block_is_left_at_the_ends() -> None:
    encoder = random_encoder()
    whole = pruned(encoder, 1.0, IMAGES)
    assert whole.cost().dense == encoder.cost().dense
    fixed = encoder.cost().stem + sum(b.shortcut for b in encoder.cost().blocks)
    least = fixed + sum(b.macs_per_channel for b in encoder.cost().blocks)
    smallest = least / encoder.cost().dense
    assert pruned(encoder, smallest + 1e-9, IMAGES).config.inner_channels == (1,) * 8
    with pytest.raises(ValueError, match=f"one channel a block .* costs {smallest:.3f}"):
        pruned(encoder, smallest * 0.99, IMAGES)
    with pytest.raises(ValueError, match="expected a share"):
        pruned(encoder, 1.2, IMAGES)
