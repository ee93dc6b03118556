"""The C++ kernel in int8: the integers it computes, and what they lose against float32."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.networks import EMPTY, agreeing_masks, random_encoder, random_usage, without
from oracles.int8_resnet import int8_forward
from ssl_kedro.encoders.bundle import load_bundle, save_bundle
from ssl_kedro.encoders.gated_resnet import BlockKind, Stem
from ssl_kedro.inference.compact import GateUsage, compact, dense_network
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.int8 import CalibrationError, Int8Network, int8_network
from ssl_kedro.inference.native import kernel
from ssl_kedro.inference.native.kernel import NativeNetwork, instruction_sets

try:
    SETS = instruction_sets("int8")
except EngineUnavailableError as unavailable:
    pytest.skip(str(unavailable), allow_module_level=True)
if not SETS:
    pytest.skip("neither AVX-512 VNNI nor AMX", allow_module_level=True)


def pixels(count: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


KINDS = pytest.mark.parametrize("block", ["basic", "bottleneck"])


@KINDS
@pytest.mark.parametrize(
    ("stem", "size", "width", "count"),
    [
        ("cifar", 16, 8, 5),
        ("cifar_pad1", 15, 12, 3),
        ("imagenet", 48, 24, 5),
        ("cifar", 9, 48, 4),
        ("cifar_pad1", 32, 17, 2),
        ("imagenet", 117, 16, 1),
    ],
)
@torch.no_grad()
def test_equals_the_arithmetic_written_out(
    stem: Stem, size: int, width: int, count: int, block: BlockKind
) -> None:
    encoder = random_encoder(stem, width, size, block=block)
    usage = random_usage(encoder)
    images = pixels(count, size)
    network = int8_network(compact(encoder, usage), images.numpy())
    masks = network.plan.dependent_masks(agreeing_masks(usage, count)).to(torch.uint8)
    masks[0] = 0
    expected = int8_forward(network, images, masks)
    for chosen in SETS:
        for threads in (1, 2, 3):
            native = NativeNetwork(network, size, threads, chosen)
            found, applied = native.decide(images, masks)
            assert torch.equal(applied, masks)
            assert torch.allclose(found, expected, rtol=1e-6, atol=1e-7)
            # One image goes another way through the threads than many.
            assert torch.equal(native(images[:1], masks[:1]), found[:1])
            assert torch.equal(native(images.float() / 255, masks), found)


@KINDS
@pytest.mark.parametrize("fill", [0, 10])
@torch.no_grad()
def test_blocks_without_gates_or_without_channels(fill: int, block: BlockKind) -> None:
    encoder = random_encoder(block=block)
    usage = random_usage(encoder)
    counts = tuple(np.full_like(count, fill) for count in usage.open_counts)
    images = pixels(5, 16)
    source = compact(encoder, GateUsage("x", 10, usage.block_names, counts))
    network = int8_network(source, images.numpy())
    expected = int8_forward(network, images, torch.zeros(5, 0))
    for chosen in SETS:
        found = NativeNetwork(network, 16, 2, chosen)(images)
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("empty", EMPTY)
@torch.no_grad()
def test_bottlenecks_with_layers_without_channels(empty: tuple[int, ...]) -> None:
    encoder = random_encoder(block="bottleneck")
    usage = without(random_usage(encoder), empty)
    images = pixels(5, 16)
    network = int8_network(compact(encoder, usage), images.numpy())
    masks = network.plan.dependent_masks(agreeing_masks(usage, 5))
    expected = int8_forward(network, images, masks)
    for chosen in SETS:
        found = NativeNetwork(network, 16, 2, chosen)(images, masks)
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-7)


@KINDS
@torch.no_grad()
def test_wide_blocks_that_take_many_images_at_a_time(block: BlockKind) -> None:
    encoder = random_encoder(width=64, size=8, block=block)
    usage = random_usage(encoder)
    images = pixels(21, 8)
    network = int8_network(compact(encoder, usage), images.numpy())
    masks = network.plan.dependent_masks(agreeing_masks(usage, 21))
    expected = int8_forward(network, images, masks)
    for chosen in SETS:
        found = NativeNetwork(network, 8, 2, chosen)(images, masks)
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("block", "inner", "agreeing"),
    [
        ("basic", (5, 16, 3, 40, 1, 70, 17, 128), 0.97),
        (
            "bottleneck",
            (5, 16, 3, 40, 1, 70, 17, 128, 66, 9, 31, 33, 130, 2, 64, 20),
            0.93,
        ),  # twice as deep
    ],
)
@torch.no_grad()
def test_odd_inner_widths_and_gates_that_decide(
    block: BlockKind, inner: tuple[int, ...], agreeing: float
) -> None:
    encoder = random_encoder(width=16, inner=inner, block=block)
    layers = encoder.cost().blocks
    every = [np.full(layer.channels, 1) for layer in layers]
    names = tuple(layer.name for layer in layers)
    source = compact(encoder, GateUsage("x", 2, names, tuple(every)))
    images = pixels(40, 16)
    network = int8_network(source, images.numpy())
    native = NativeNetwork(network, 16, 2)
    features, masks = native.decide(images)
    assert torch.allclose(features, int8_forward(network, images, masks), rtol=1e-6, atol=1e-7)
    wanted, expected = source.decide(images)[1], source(images)
    share = wanted.mean(dim=0)
    varying = (share > 0) & (share < 1)
    assert int(varying.sum()) > 50
    assert float((masks == wanted)[:, varying].float().mean()) > agreeing
    same = native(images, wanted)
    assert float((same - expected).norm() / expected.norm()) < 0.03


@KINDS
@torch.no_grad()
def test_gates_decide_alike_whatever_the_size_of_their_weights(block: BlockKind) -> None:
    encoder = random_encoder(block=block)
    layers = encoder.cost().blocks
    every = tuple(np.ones(layer.channels, dtype=np.int64) for layer in layers)
    source = compact(encoder, GateUsage("x", 2, tuple(layer.name for layer in layers), every))
    images = pixels(20, 16)
    network = int8_network(source, images.numpy())
    expected = NativeNetwork(network, 16).decide(images)[1]
    assert 0 < int(expected.sum()) < expected.numel()
    for squeeze, expand in ((2.0**30, 2.0**-50), (2.0**-40, 2.0**40)):
        for gate in (gate for part in network.int8_blocks() for gate in part.gates()):
            assert gate is not None
            gate.squeeze.weight *= squeeze
            gate.squeeze.bias *= squeeze
            gate.expand.weight *= expand
        assert torch.equal(NativeNetwork(network, 16).decide(images)[1], expected)


@torch.no_grad()
def test_weights_are_rounded_by_channel_and_maps_reach_255() -> None:
    source = dense_network(random_encoder())
    images = pixels(6, 16)
    network = int8_network(source, images.numpy())
    block, compact_block = network.int8_blocks()[2], source.compact_blocks()[2]
    assert compact_block.conv1 is not None
    for row, scale, weights in zip(
        block.conv1.weight, block.conv1.scale, compact_block.conv1.weight, strict=True
    ):
        assert int(row.abs().max()) == 127
        assert float((row * scale - weights).abs().max()) <= float(scale) * 0.5001
    x = torch.relu(source.stem(source.normalised(images)))
    words = [network.word, *(block.word for block in network.int8_blocks())]
    for index, module in enumerate(source.compact_blocks()):
        # A factor of at least 512 is rounded.
        byte = float(network.input_scales()[index])
        assert float(x.max()) == pytest.approx(255 * byte, rel=1e-3)
        # Words are fine, and leave room above the largest value.
        assert 32 * float(words[index]) < byte < 64.1 * float(words[index])
        assert float(x.max()) < 2**14 * float(words[index])
        if source.plan.blocks[index].downsample:
            assert words[index] != words[index + 1]
        else:
            assert words[index] == words[index + 1]
        x, _ = module(x, None)


@KINDS
@torch.no_grad()
def test_what_is_lost_is_what_eight_bits_cost(block: BlockKind) -> None:
    source = dense_network(random_encoder("cifar_pad1", 16, 32, block=block))
    images = pixels(20, 32)
    expected = source(images)
    found = NativeNetwork(source, 32, precision="int8", calibration=images.numpy())(images)
    # Rounding to 8 bits has a relative error of some 0.5 % a layer, and there are 17.
    assert 1e-4 < float((found - expected).norm() / expected.norm()) < 0.03


@KINDS
@torch.no_grad()
def test_a_file_gives_the_same_network(tmp_path: Path, block: BlockKind) -> None:
    encoder = random_encoder(block=block)
    images = pixels(3, 16)
    network = int8_network(compact(encoder, random_usage(encoder)), images.numpy())
    save_bundle(network, tmp_path / "int8")
    again = load_bundle(tmp_path / "int8", Int8Network)
    assert torch.equal(NativeNetwork(network, 16)(images), NativeNetwork(again, 16)(images))


@KINDS
@torch.no_grad()
def test_what_is_not_a_number_stays_so_and_where_it_is(block: BlockKind) -> None:
    source = dense_network(random_encoder("imagenet", size=32, block=block))
    images = torch.rand(3, 3, 32, 32)
    native = NativeNetwork(
        source, 32, 2, precision="int8", calibration=(255 * images).byte().numpy()
    )
    expected = native(images)
    images[1, 0, 5, 5] = torch.nan
    found = native(images)
    assert torch.equal(found.isnan().any(dim=1), torch.tensor([False, True, False]))
    assert torch.equal(found[::2], expected[::2])


@KINDS
@torch.no_grad()
def test_calls_from_several_threads_and_a_fork(block: BlockKind) -> None:
    source = dense_network(random_encoder(block=block))
    images = pixels(8, 16)
    native = NativeNetwork(source, 16, 2, precision="int8", calibration=images.numpy())
    assert native(images[:0]).shape == (0, source.plan.feature_dimensions)
    expected = native(images)
    wrong = []

    def call() -> None:
        for _ in range(20):
            if not torch.equal(native(images), expected):
                wrong.append(1)

    workers = [threading.Thread(target=call) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    native._process -= 1
    with pytest.raises(RuntimeError, match="make one in that process"):
        native(images)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    source = dense_network(random_encoder())
    with pytest.raises(ValueError, match="needs calibration images"):
        NativeNetwork(source, 16, precision="int8")
    with pytest.raises(CalibrationError, match="at least one image"):
        int8_network(source, pixels(0, 16).numpy())
    with pytest.raises(EngineUnavailableError, match="this machine has"):
        NativeNetwork(source, 16, 1, "avx2", precision="int8", calibration=pixels(1, 16).numpy())
    monkeypatch.setattr(kernel, "instruction_sets", lambda _: ())
    with pytest.raises(EngineUnavailableError, match="AVX-512 VNNI or AMX"):
        NativeNetwork(source, 16, precision="int8", calibration=pixels(1, 16).numpy())
    with torch.no_grad():
        source.stem.bias[0] = torch.nan
    with pytest.raises(CalibrationError, match="not finite"):
        int8_network(source, pixels(1, 16).numpy())
