from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.networks import random_encoder, random_usage
from ssl_kedro.core import race
from ssl_kedro.inference import comparison
from ssl_kedro.inference.compact import compact, dense_network, static_network
from ssl_kedro.inference.comparison import compare, key_parts, network_key, timed_batches
from ssl_kedro.inference.engines import probe
from ssl_kedro.inference.engines.base import BatchEngine, EngineUnavailableError
from ssl_kedro.inference.network import CompactNetwork


class Clocked(BatchEngine):
    """Takes the time that it is told, on a clock of its own."""

    def __init__(self, name: str, seconds: float, clock: list[float]) -> None:
        super().__init__(name, 2)
        self.seconds, self.clock = seconds, clock
        self.seen: list[float] = []

    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        self.clock[0] += self.seconds
        self.seen.append(float(images.sum()))
        return torch.zeros(len(images), 1)


def networks() -> dict[comparison.NetworkName, CompactNetwork]:
    encoder = random_encoder()
    usage = random_usage(encoder)
    static, _ = static_network(encoder, usage, 0.9)
    return {"dense": dense_network(encoder), "gated": compact(encoder, usage), "static": static}


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


def clocked(
    monkeypatch: pytest.MonkeyPatch, ms: dict[tuple[str, str], float]
) -> dict[tuple[str, str], Clocked]:
    """Engines of each network that take these milliseconds a batch."""
    clock = [0.0]
    monkeypatch.setattr(probe, "_SHORTEST_S", 0.0)
    monkeypatch.setattr(race.time, "perf_counter", lambda: clock[0])
    made = {key: Clocked(key[1], value / 1000, clock) for key, value in ms.items()}

    def build(network: CompactNetwork, engines: tuple[str, ...], *_: object) -> object:
        name = "gated" if network.plan.dependent else "static"
        if sum(len(block.kept) for block in network.plan.layers) == sum(
            block.channels for block in network.plan.layers
        ):
            name = "dense"
        built = {engine: made[name, engine] for engine in engines if (name, engine) in made}
        return built, {engine: "not there" for engine in engines if engine not in built}

    monkeypatch.setattr(probe, "build_engines", build)
    return made


def test_each_network_runs_on_its_own_best_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    made = clocked(
        monkeypatch,
        {
            ("dense", "onnxruntime"): 8,
            ("dense", "eager"): 10,
            ("gated", "native"): 5,
            ("gated", "eager"): 12,
            ("static", "onnxruntime"): 4,
        },
    )
    engines, found = compare(
        networks(), 2, images(9), engines=("native", "onnxruntime", "eager"), rounds=5, seconds=10
    )
    assert engines["dense"] is made["dense", "onnxruntime"]
    assert engines[found.chosen] is made["gated", "native"]
    assert found.chosen == "gated"
    assert found.ratio == pytest.approx(8 / 5)
    assert found.networks["static"].measured_ratio == pytest.approx(2)
    assert [t.reason for t in found.networks["gated"].timings] == ["", "not there", ""]
    # Batches take turns: what a gate decides differs from image to image.
    whole = torch.from_numpy(images(9)).float() / 255
    assert set(np.round(made["gated", "native"].seen, 2)) == {
        round(float(whole[start : start + 2].sum()), 2) for start in (0, 2, 4, 6)
    }


def test_a_gated_network_that_is_slower_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = clocked(monkeypatch, {("dense", "eager"): 8, ("gated", "eager"): 10})
    given = networks()
    del given["static"]
    engines, found = compare(given, 2, images(4), engines=("native", "eager"), rounds=5, seconds=10)
    assert found.chosen == "dense"
    assert found.ratio == 1
    assert found.networks["gated"].measured_ratio == pytest.approx(0.8)
    assert engines[found.chosen] is made["dense", "eager"]


def test_a_known_winner_races_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    made = clocked(
        monkeypatch,
        {("dense", "onnxruntime"): 8, ("dense", "eager"): 7, ("gated", "eager"): 1},
    )
    given = networks()
    del given["static"]
    _, found = compare(
        given,
        2,
        images(4),
        dense_engines={"f32": "onnxruntime"},
        engines=("eager",),
        rounds=5,
        seconds=10,
    )
    assert found.networks["dense"].engine == "onnxruntime"
    assert not made["dense", "eager"].seen
    assert found.ratio == pytest.approx(8)


@pytest.mark.parametrize(("count", "batch", "expected"), [(100, 1, 16), (100, 32, 3), (3, 8, 1)])
def test_batches_are_whole_and_of_real_images(count: int, batch: int, expected: int) -> None:
    given = images(count)
    batches = timed_batches(given, batch)
    assert [tuple(part.shape) for part in batches] == [(batch, 3, 16, 16)] * expected
    for index, image in enumerate(torch.cat(batches)):
        assert torch.equal(image, torch.from_numpy(given[index % count]).float() / 255)


def test_a_key_names_a_network_and_a_precision() -> None:
    assert key_parts("dense") == ("dense", "f32")
    assert key_parts("gated int8") == ("gated", "int8")
    assert network_key(*key_parts("static bf16")) == "static bf16"
    with pytest.raises(KeyError):
        key_parts("gated f32")  # which is called "gated"


def test_no_images() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        timed_batches(images(0), 1)


@torch.no_grad()
def test_real_engines_give_the_features_of_what_is_chosen() -> None:
    given = networks()
    engines, found = compare(given, 4, images(8), engines=("eager",), rounds=1, seconds=0.01)
    batch = torch.from_numpy(images(8)).float() / 255
    for name, engine in engines.items():
        assert torch.allclose(engine(batch), given[name](batch), atol=1e-4)
    assert found.ratio >= 1


def test_dense_networks_of_every_precision_are_the_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ms = {"f32": {"dense": 8.0, "gated": 4.0}, "bf16": {}, "int8": {"dense": 2.0, "gated": 3.0}}
    clock = [0.0]
    monkeypatch.setattr(probe, "_SHORTEST_S", 0.0)
    monkeypatch.setattr(race.time, "perf_counter", lambda: clock[0])

    def build(network: CompactNetwork, *given: object) -> object:
        precision = given[3]
        if not ms[precision]:
            return {}, {"eager": f"no {precision} here"}
        name = "gated" if network.plan.dependent else "dense"
        return {"eager": Clocked("eager", ms[precision][name] / 1000, clock)}, {}

    monkeypatch.setattr(probe, "build_engines", build)
    given = networks()
    del given["static"]
    engines, found = compare(
        given,
        2,
        images(4),
        precisions=("f32", "bf16", "int8"),
        calibration=images(4),
        engines=("eager",),
        rounds=3,
        seconds=10,
    )
    assert set(engines) == set(found.networks) == {"dense", "gated", "dense int8", "gated int8"}
    assert set(found.missing) == {"dense bf16", "gated bf16"}
    assert "no bf16 here" in found.missing["dense bf16"]
    assert (found.baseline, found.chosen, found.ratio) == ("dense int8", "dense int8", 1)
    assert found.networks["gated"].measured_ratio == pytest.approx(2 / 4)
    assert found.networks["gated int8"].f32_ratio == pytest.approx(8 / 3)
    assert found.networks["gated int8"].precision == "int8"
    # Where int8 loses too much for the dense network, that in f32 is what others must beat.
    left = found.offering(["dense", "gated", "gated int8"])
    assert (left.baseline, left.chosen) == ("dense", "gated int8")
    assert left.ratio == left.networks["gated int8"].measured_ratio == pytest.approx(8 / 3)
    assert left.networks["gated int8"].ms == found.networks["gated int8"].ms
    with pytest.raises(ValueError, match="expected a dense network among those offered"):
        found.offering(["gated"])
    with pytest.raises(EngineUnavailableError, match="no bf16 here"):
        compare(given, 2, images(4), precisions=["bf16"], engines=("eager",), rounds=3)
