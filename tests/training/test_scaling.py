"""Closed forms of benchmarks/scaling_training.py against what they stand for."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ssl_kedro.core.collectives import Share, shared_batch
from ssl_kedro.core.synchronised_norm import synchronised
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.step import TrainingStep


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "scaling_training.py"
    spec = importlib.util.spec_from_file_location("scaling_training", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("processes", [1, 2, 5, 8])
def test_a_ring_moves_what_its_formula_says(scaling: ModuleType, processes: int) -> None:
    """Every process sends one chunk a round, in 2 (p - 1) rounds; the sums arrive everywhere."""
    generator = np.random.default_rng(0)
    chunks = generator.normal(size=(processes, processes, 3))
    total = chunks.sum(axis=0)
    rounds = 0
    for shift in range(2 * (processes - 1)):
        sent = [chunks[p, (p - shift) % processes].copy() for p in range(processes)]
        for p in range(processes):
            to = (p + 1) % processes
            place = (p - shift) % processes
            if shift < processes - 1:
                chunks[to, place] += sent[p]
            else:
                chunks[to, place] = sent[p]
        rounds += 1
    assert np.allclose(chunks, total)
    size = processes * 3 * 8
    seconds = rounds * (size / processes / 100.0 + 0.25)
    assert scaling.ring_seconds(size, processes, 100.0, 0.25) == pytest.approx(seconds)
    half = scaling.gather_seconds(size, processes, 100.0, 0.25)
    assert 2 * half == pytest.approx(seconds)


@pytest.mark.parametrize("processes", [1, 2, 5, 8, 13])
def test_small_messages_climb_a_tree_and_come_down_again(
    scaling: ModuleType, processes: int
) -> None:
    """Each round every second of those that still hold something hands it to its neighbour."""
    holding, rounds = list(range(processes)), 0
    while len(holding) > 1:
        holding = holding[::2]
        rounds += 1
    assert scaling.small_seconds(3, processes, 0.25) == pytest.approx(3 * 2 * rounds * 0.25)


def test_sums_take_the_cheaper_way(scaling: ModuleType) -> None:
    for processes, size, way in (
        (4, 1e9, scaling.ring_seconds),
        (1000, 1e4, scaling.tree_seconds),
    ):
        found = scaling.sum_seconds(size, processes, 1e9, 1e-5)
        assert found == way(size, processes, 1e9, 1e-5)
        others = {scaling.ring_seconds, scaling.tree_seconds} - {way}
        assert found < others.pop()(size, processes, 1e9, 1e-5)


@pytest.mark.parametrize("columns", [8, 64])  # fewer than the 32 rows of the batch, or more
def test_messages_are_those_of_a_step(
    scaling: ModuleType, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Of one of four processes, with the others' answers left out."""
    large: list[str] = []
    count = 0

    def reduced(x: torch.Tensor, **options: object) -> None:
        nonlocal count
        count += 1
        if x.shape == (columns, columns):
            large.append("matrix")

    def gathered(parts: list[torch.Tensor], own: torch.Tensor, **options: object) -> None:
        nonlocal count
        count += 1
        large.append("rows")
        for part in parts:
            part.copy_(own)

    monkeypatch.setattr(torch.distributed, "all_reduce", reduced)
    monkeypatch.setattr(torch.distributed, "all_gather", gathered)
    setup = EncoderSetup(EncoderConfig(width=8), 16, (0.5,) * 3, (0.25,) * 3)
    config = MethodConfig(ExpanderConfig(columns, columns))
    method = synchronised(MethodPlan("dual_gating", setup, config, 0.5, seed=0).build())
    assert isinstance(method, Method)
    recipe = TrainConfig(epochs=1, batch_size=32, workers=4, warmup_epochs=0, device="cpu")
    with shared_batch(Share(0, 4)):
        step = TrainingStep(method, recipe, Execution("cpu", "fp32"), 1)
        step.begin(torch.arange(8), 0)
        step.forward_backward((torch.rand(8, 3, 16, 16), torch.rand(8, 3, 16, 16)))
    found = scaling.sizes(8, columns, 16)
    big, small = scaling.covariance_messages(32, columns)
    assert large == [("matrix", "rows")[columns > 32]] * big
    assert count == 2 * found.norms + found.pieces + scaling.SMALL_MESSAGES + big + small


@pytest.mark.parametrize("processes", [1, 4, 200])
def test_waiting_for_the_slowest_equals_its_simulation(scaling: ModuleType, processes: int) -> None:
    drawn = scaling.simulated_straggling(0.1, processes, 20_000, np.random.default_rng(0))
    assert scaling.straggling(0.1, processes) == pytest.approx(drawn, rel=5e-3)


@pytest.mark.parametrize(("interval", "mtbf"), [(50.0, 4000.0), (300.0, 1000.0), (900.0, 1000.0)])
def test_time_with_failures_equals_its_simulation(
    scaling: ModuleType, interval: float, mtbf: float
) -> None:
    segments = 40_000
    drawn = scaling.simulated_time(segments, interval, 5.0, 20.0, mtbf, np.random.default_rng(0))
    expected = scaling.time_with_failures(segments * interval, interval, 5.0, 20.0, mtbf)
    assert drawn == pytest.approx(expected, rel=0.02)


def test_no_failures_cost_only_the_checkpoints(scaling: ModuleType) -> None:
    found = scaling.time_with_failures(1000.0, 100.0, 5.0, 60.0, 1e12)
    assert found == pytest.approx(1000 / 100 * 105, rel=1e-6)


@pytest.mark.parametrize("mtbf", [1e4, 1e6])
def test_youngs_interval_loses_least(scaling: ModuleType, mtbf: float) -> None:
    best = scaling.young_interval(2.0, mtbf)
    assert best == pytest.approx(math.sqrt(4 * mtbf))

    def total(interval: float) -> float:
        return float(scaling.time_with_failures(1e6, interval, 2.0, 60.0, mtbf))

    grid = np.geomspace(best / 10, best * 10, 400)
    least = grid[int(np.argmin([total(interval) for interval in grid]))]
    assert total(best) <= 1.0005 * total(least)


def test_sizes_are_those_of_the_method(scaling: ModuleType) -> None:
    found = scaling.sizes(8, 32, 16)
    setup = EncoderSetup(EncoderConfig(width=8), 16, (0.5,) * 3, (0.25,) * 3)
    method = MethodPlan(
        "dual_gating", setup, MethodConfig(ExpanderConfig(32, 32)), 0.5, seed=0
    ).build()
    assert found.parameters == sum(p.numel() for p in method.parameters())
    assert found.macs == method.macs_per_image
    calls = []
    for module in method.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda *_: calls.append(1))
    views = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16)
    method(views, 0.0, torch.Generator())
    assert found.norms == len(calls)
