from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.networks import gate_usage, random_encoder
from ssl_kedro.inference.compact import GateUsage, compact
from ssl_kedro.inference.forcing import forcing_report
from ssl_kedro.inference.network import CompactEncoder


def images(count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    # Of different brightness: gates see averages.
    scale = generator.uniform(0, 255, (count, 3, 1, 1))
    return (generator.random((count, 3, 16, 16)) * scale).astype(np.uint8)


def test_usage_is_counted_image_by_image() -> None:
    encoder = random_encoder()
    seen = images(7, 0)
    usage = gate_usage(encoder, seen, "seen", batch_size=3)
    counts = [np.zeros(block.channels, int) for block in encoder.cost().blocks]
    with torch.no_grad():
        for image in seen:
            masks = encoder(torch.from_numpy(image[None]), "gated").masks
            for count, mask in zip(counts, masks, strict=True):
                count += mask[0].numpy().astype(int)
    assert usage.images == 7
    for found, count in zip(usage.open_counts, counts, strict=True):
        assert np.array_equal(found, count)


@torch.no_grad()
def test_report_equals_a_loop_over_images_and_gates() -> None:
    encoder = random_encoder()
    usage = gate_usage(encoder, images(5, 0), "seen")
    network = compact(encoder, usage)
    held_out = images(9, 1)
    report = forcing_report(encoder, network, held_out, batch_size=4)
    opened = [dict.fromkeys(block.off, 0) for block in report.blocks]
    closed = [dict.fromkeys(block.on, 0) for block in report.blocks]
    changed, total, changes = 0, 0, []
    for image in held_out:
        own = encoder(torch.from_numpy(image[None]), "gated")
        wrong = 0
        for index, mask in enumerate(own.masks):
            for channel, value in enumerate(mask[0].tolist()):
                count = int(usage.open_counts[index][channel])
                if count == 0:
                    opened[index][channel] += value == 1
                    wrong += value == 1
                elif count == usage.images:
                    closed[index][channel] += value == 0
                    wrong += value == 0
        changed += wrong > 0
        total += wrong
        compacted = network(torch.from_numpy(image[None]))
        changes.append(float((compacted - own.features).norm() / own.features.norm()))
    assert changed > 0
    assert report.images == 9
    assert report.changed_images == changed
    assert report.changed_gates == pytest.approx(total / 9)
    assert report.feature_change == pytest.approx(np.mean(changes), rel=1e-4)
    assert report.largest_change == pytest.approx(max(changes), rel=1e-4)
    for block, on, off in zip(report.blocks, closed, opened, strict=True):
        assert block.opened.tolist() == [off[c] for c in block.off]
        assert block.closed.tolist() == [on[c] for c in block.on]
    assert sum(row["opened"] + row["closed"] for row in report.rows()) == total


def test_nothing_is_forced_on_the_images_of_the_usage() -> None:
    encoder = random_encoder()
    seen = images(6, 2)
    network = compact(encoder, gate_usage(encoder, seen, "seen"))
    report = forcing_report(encoder, network, seen)
    assert report.changed_images == report.changed_gates == report.followed_gates == 0
    assert report.largest_change < 1e-5


def test_network_of_another_encoder_is_refused() -> None:
    encoder, other = random_encoder(), random_encoder(width=12)
    network = compact(other, gate_usage(other, images(3, 0), "seen"))
    with pytest.raises(ValueError, match="a network with the blocks"):
        forcing_report(encoder, network, images(2, 0))


@torch.no_grad()
def test_as_an_encoder_it_has_one_branch_and_its_own_cost() -> None:
    encoder = random_encoder()
    seen = images(6, 3)
    usage = gate_usage(encoder, seen, "seen")
    wrapped = CompactEncoder(compact(encoder, usage))
    batch = torch.from_numpy(seen)
    encoding, own = wrapped(batch, "gated"), encoder(batch, "gated")
    assert torch.allclose(encoding.features, own.features, atol=1e-5)
    for kept, full, block in zip(
        encoding.masks, own.masks, wrapped.network.plan.layers, strict=True
    ):
        assert torch.equal(kept, full[:, list(block.kept)])
    assert torch.allclose(wrapped(batch, "gated", masks=encoding.masks).features, encoding.features)
    assert wrapped.cost().masked(encoding.masks).shape == (6,)
    with pytest.raises(ValueError, match="no 'dense' branch"):
        wrapped(batch, "dense")
    everything = tuple(np.full_like(count, 6) for count in usage.open_counts)
    static = CompactEncoder(compact(encoder, GateUsage("x", 6, usage.block_names, everything)))
    assert static.branches == ("dense",)
    assert static(batch, "dense").masks == ()


def test_gates_that_nothing_reads_change_no_mask() -> None:
    """A bottleneck whose second mask is never open computes nothing, whatever its first decides."""
    encoder = random_encoder(block="bottleneck")
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    _, block = encoder.residual_blocks()[2]
    with torch.no_grad():
        block.gate2.norm.weight.zero_()
        block.gate2.norm.bias.fill_(1)
        block.gate2.expand.weight.fill_(-1)
    network = compact(encoder, gate_usage(encoder, images, "these"))
    layers = network.plan.blocks[2].layers
    assert [len(layer.kept) for layer in layers] == [0, 0]
    assert network.plan.unread == {"layer2.0.conv1"}
    report = forcing_report(encoder, network, images)
    assert (report.changed_images, report.changed_gates) == (0, 0)
    assert report.largest_change < 1e-5
