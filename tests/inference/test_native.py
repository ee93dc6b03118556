from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from inference.networks import EMPTY, agreeing_masks, random_encoder, random_usage, without
from oracles.norms import with_used_norms
from oracles.sliced_resnet import sliced_forward
from ssl_kedro.encoders.gated_resnet import BlockKind, Stem
from ssl_kedro.encoders.resnet34 import GatedResNet34, ResNet34Config
from ssl_kedro.inference.compact import GateUsage, compact, dense_network
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.native.kernel import NativeNetwork, instruction_sets
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.inference.plan import BlockPlan, CompactPlan, LayerPlan

try:
    SETS = instruction_sets()
except EngineUnavailableError as unavailable:
    pytest.skip(str(unavailable), allow_module_level=True)


BLOCKS = pytest.mark.parametrize("block", ["basic", "bottleneck"])


@BLOCKS
@pytest.mark.parametrize("chosen", SETS)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("stem", "size", "width"),
    [("cifar", 16, 8), ("cifar_pad1", 15, 12), ("imagenet", 48, 24), ("cifar", 9, 48)],
)
@torch.no_grad()
def test_equals_the_masked_encoder(
    stem: Stem, size: int, width: int, threads: int, chosen: str, block: BlockKind
) -> None:
    encoder = random_encoder(stem, width, size, block=block)
    usage = random_usage(encoder)
    native = NativeNetwork(compact(encoder, usage), size, threads, chosen)
    images = torch.rand(5, 3, size, size)
    masks = agreeing_masks(usage, 5)
    imposed = native.plan.dependent_masks(masks)
    expected = encoder(images, "gated", masks=masks).features
    found, applied = native.decide(images, imposed)
    assert torch.equal(applied.float(), imposed)
    # Bottlenecks give four times the channels, whose largest features are above 1.
    largest = 1.0 if block == "basic" else max(1.0, float(expected.abs().max()))
    assert float((found - expected).abs().max()) < 1e-5 * largest
    # One image goes another way through the threads than many.
    assert torch.allclose(native(images[:1], imposed[:1]), expected[:1], atol=1e-5)


@BLOCKS
@torch.no_grad()
def test_equals_the_network_cut_to_the_open_channels(block: BlockKind) -> None:
    encoder = random_encoder(width=16, size=32, block=block)
    usage = random_usage(encoder)
    native = NativeNetwork(compact(encoder, usage), 32)
    images, masks = torch.rand(2, 3, 32, 32), agreeing_masks(usage, 2)
    found = native(images, native.plan.dependent_masks(masks))
    for sample in range(2):
        expected, _ = sliced_forward(encoder, images[sample], [m[sample] for m in masks], "gated")
        assert torch.allclose(found[sample], expected, atol=1e-5)


@torch.no_grad()
def test_it_runs_more_blocks_a_stage() -> None:
    torch.manual_seed(0)
    shape = ResNet34Config(stem="cifar_pad1", width=8)
    encoder = with_used_norms(GatedResNet34(shape, image_size=16))
    usage = random_usage(encoder)
    assert len(usage.open_counts) == 16
    native = NativeNetwork(compact(encoder, usage), 16)
    images, masks = torch.rand(5, 3, 16, 16), agreeing_masks(usage, 5)
    expected = encoder(images, "gated", masks=masks).features
    found = native(images, native.plan.dependent_masks(masks))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@BLOCKS
@torch.no_grad()
def test_its_own_gates_decide_as_the_encoders(block: BlockKind) -> None:
    inner = (5, 16, 3, 40, 1, 70, 17, 128)
    second = (7, 1, 30, 16, 33, 2, 50, 9)
    if block == "bottleneck":
        inner = tuple(n for pair in zip(inner, second, strict=True) for n in pair)
    encoder = random_encoder(width=16, inner=inner, block=block)
    layers = encoder.cost().blocks
    every = tuple(np.full(layer.channels, 1) for layer in layers)
    usage = GateUsage("x", 2, tuple(layer.name for layer in layers), every)
    native = NativeNetwork(compact(encoder, usage), 16)
    images = torch.randint(0, 256, (19, 3, 16, 16), dtype=torch.uint8)
    encoding = encoder(images, "gated")
    features, masks = native.decide(images)
    assert torch.equal(masks.float(), torch.cat(encoding.masks, dim=1))
    assert torch.allclose(features, encoding.features, atol=1e-5)
    assert torch.allclose(native(images.float() / 255), features, atol=1e-5)


@BLOCKS
@torch.no_grad()
def test_wide_blocks_that_take_many_samples_at_a_time(block: BlockKind) -> None:
    encoder = random_encoder(width=64, size=8, block=block)
    usage = random_usage(encoder)
    native = NativeNetwork(compact(encoder, usage), 8, 2)
    images, masks = torch.rand(37, 3, 8, 8), agreeing_masks(usage, 37)
    expected = encoder(images, "gated", masks=masks).features
    found = native(images, native.plan.dependent_masks(masks))
    assert torch.allclose(found, expected, atol=1e-5)


@BLOCKS
@pytest.mark.parametrize("fill", [0, 10])
@torch.no_grad()
def test_blocks_without_gates_or_without_channels(fill: int, block: BlockKind) -> None:
    encoder = random_encoder(block=block)
    usage = random_usage(encoder)
    counts = tuple(np.full_like(count, fill) for count in usage.open_counts)
    usage = GateUsage("x", 10, usage.block_names, counts)
    network = compact(encoder, usage)
    images, masks = torch.rand(3, 3, 16, 16), agreeing_masks(usage, 3)
    expected = encoder(images, "gated", masks=masks).features
    assert torch.allclose(NativeNetwork(network, 16, 2)(images), expected, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("empty", EMPTY)
@torch.no_grad()
def test_bottlenecks_without_channels_in_some_layers(empty: tuple[int, ...], threads: int) -> None:
    encoder = random_encoder("imagenet", size=65, block="bottleneck")
    usage = without(random_usage(encoder), empty)
    native = NativeNetwork(compact(encoder, usage), 65, threads)
    images, masks = torch.rand(3, 3, 65, 65), agreeing_masks(usage, 3)
    # Open for some images only, and for this one none is.
    masks = [
        mask * torch.from_numpy(c == 10) for mask, c in zip(masks, usage.open_counts, strict=True)
    ]
    expected = encoder(images, "gated", masks=masks).features
    found = native(images, native.plan.dependent_masks(masks))
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("stride", [3, 4, 5])
@torch.no_grad()
def test_bottlenecks_at_any_stride(stride: int) -> None:
    layers = (
        LayerPlan("a.0", 9, tuple(range(9)), 9, 0),
        LayerPlan("a.1", 7, tuple(range(7)), 7, 0),
    )
    blocks = (BlockPlan(6, 20, stride, True, layers), BlockPlan(20, 20, 1, False, layers))
    network = CompactNetwork(CompactPlan("cifar_pad1", 6, 17, blocks))
    images = torch.rand(2, 3, 17, 17)
    for threads in (1, 2):
        found = NativeNetwork(network, 17, threads)(images)
        assert torch.allclose(found, network(images), atol=1e-5)


@torch.no_grad()
def test_no_images_and_calls_from_several_threads() -> None:
    encoder = random_encoder()
    network = dense_network(encoder)
    native = NativeNetwork(network, 16, 2)
    assert native(torch.rand(0, 3, 16, 16)).shape == (0, 64)
    images = torch.rand(8, 3, 16, 16)
    expected = network(images)
    wrong = []

    def call() -> None:
        for _ in range(20):
            if not torch.allclose(native(images), expected, atol=1e-5):
                wrong.append(1)

    workers = [threading.Thread(target=call) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_wrong_sizes_are_refused_before_the_call() -> None:
    encoder = random_encoder()
    native = NativeNetwork(compact(encoder, random_usage(encoder)), 16)
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 3, 16, 16\)"):
        native(torch.rand(1, 3, 17, 16))
    with pytest.raises(ValueError, match=r"expected masks of shape \(1, "):
        native(torch.rand(1, 3, 16, 16), torch.ones(1, 2))
    with pytest.raises(ValueError, match="at least 1"):
        NativeNetwork(native_source(), 16, 0)
    with pytest.raises(EngineUnavailableError, match="this machine has"):
        NativeNetwork(native_source(), 16, 1, "neon")


@BLOCKS
@torch.no_grad()
def test_what_is_not_a_number_stays_so_and_where_it_is(block: BlockKind) -> None:
    network = dense_network(random_encoder("imagenet", size=32, block=block))
    images = torch.rand(3, 3, 32, 32)
    expected = network(images)
    images[1, 0, 5, 5] = torch.nan
    found = NativeNetwork(network, 32, 2)(images)
    assert torch.equal(found.isnan().any(dim=1), torch.tensor([False, True, False]))
    assert torch.allclose(found[::2], expected[::2], atol=1e-5)


def test_a_fork_is_told_to_make_its_own() -> None:
    native = NativeNetwork(native_source(), 16, 2)
    native._process -= 1
    with pytest.raises(RuntimeError, match="make one in that process"):
        native(torch.rand(1, 3, 16, 16))


def native_source():
    return dense_network(random_encoder())
