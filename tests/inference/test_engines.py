from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.networks import random_encoder, random_usage
from ssl_kedro.core import race
from ssl_kedro.hooks.project import mendable_message
from ssl_kedro.inference.compact import compact, dense_network
from ssl_kedro.inference.engines import packaged, probe
from ssl_kedro.inference.engines.base import BatchEngine, EngineUnavailableError
from ssl_kedro.inference.engines.probe import ENGINES, EngineName, fastest_engine

TESTED: tuple[EngineName, ...] = tuple(name for name in ENGINES if name != "compiled")


@pytest.mark.parametrize("name", TESTED)
@pytest.mark.parametrize("gated", [True, False])
@torch.no_grad()
def test_each_engine_gives_the_networks_features(name: EngineName, gated: bool) -> None:
    encoder = random_encoder()
    network = compact(encoder, random_usage(encoder)) if gated else dense_network(encoder)
    images = torch.rand(3, 3, 16, 16)
    try:
        engine, report = fastest_engine(network, 3, 16, images=images, engines=[name], rounds=1)
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert torch.allclose(engine(images), network(images), atol=1e-4)
    more = torch.rand(7, 3, 16, 16)
    assert torch.allclose(engine(more), network(more), atol=1e-4)
    assert report.timings[0].ms is not None
    assert report.chosen == engine.name == report.timings[0].engine


@pytest.mark.parametrize("name", TESTED)
@torch.no_grad()
def test_each_engine_takes_imposed_masks(name: EngineName) -> None:
    encoder = random_encoder()
    network = compact(encoder, random_usage(encoder))
    images = torch.rand(5, 3, 16, 16)
    masks = (torch.rand(5, network.plan.dependent) < 0.5).float()
    try:
        engine, _ = fastest_engine(
            network, 2, 16, images=images[:2], masks=masks[:2], engines=[name], rounds=1
        )
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert torch.allclose(engine(images, masks), network(images, masks), atol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_compiled_engine() -> None:
    encoder = random_encoder()
    network = compact(encoder, random_usage(encoder))
    images = torch.rand(3, 3, 16, 16)
    try:
        engine, _ = fastest_engine(network, 3, 16, images=images, engines=["compiled"], rounds=1)
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert torch.allclose(engine(images), network(images), atol=1e-4)


class Sleeping(BatchEngine):
    def __init__(self, name: str, seconds: float, clock: list[float]) -> None:
        super().__init__(name, 2)
        self.seconds, self.clock, self.calls = seconds, clock, 0

    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        self.calls += 1
        self.clock[0] += self.seconds
        return torch.zeros(len(images), 1)


def test_the_fastest_wins_and_the_others_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(probe, "_SHORTEST_S", 0.0)
    monkeypatch.setattr(race.time, "perf_counter", lambda: clock[0])
    engines = {
        "openvino": Sleeping("openvino", 0.010, clock),
        "onnxruntime": Sleeping("onnxruntime", 0.011, clock),
        "eager": Sleeping("torch eager", 0.040, clock),
    }
    monkeypatch.setattr(
        probe, "build_engines", lambda *_: (engines, {"native": "no C++ compiler found"})
    )
    network = dense_network(random_encoder())
    order = ("native", "onnxruntime", "openvino", "eager")
    engine, report = fastest_engine(network, 2, 16, engines=order)
    assert engine is engines["openvino"]
    assert report.chosen == "openvino"
    assert [(t.engine, t.reason) for t in report.timings] == [
        ("native", "no C++ compiler found"),
        ("onnxruntime", ""),
        ("openvino", ""),
        ("torch eager", ""),
    ]
    assert [t.ms for t in report.timings] == [None] + [pytest.approx(v) for v in (11, 10, 40)]
    # The hopeless one leaves after the first rounds.
    assert [t.rounds for t in report.timings] == [0, 15, 15, 3]


def test_packages_that_are_missing_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    missing = ("openvino", "onnxruntime", "onnx")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    network = dense_network(random_encoder())
    order: list[EngineName] = ["openvino", "onnxruntime", "eager"]
    _, report = fastest_engine(network, 1, 16, engines=order, rounds=1)
    assert report.chosen == "torch eager"
    assert all("not installed" in timing.reason for timing in report.timings[:2])
    with pytest.raises(EngineUnavailableError, match="openvino: onnx is not installed"):
        fastest_engine(network, 1, 16, engines=["openvino"])


@pytest.mark.parametrize("broken", ["onnx", "onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "fault", ["ImportError('libgomp.so.1 is gone')", "OSError('libgomp.so.1 is gone')"]
)
def test_packages_that_are_broken_are_passed_over(
    broken: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / broken).mkdir()
    (tmp_path / broken / "__init__.py").write_text(f"raise {fault}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == broken]:
        monkeypatch.delitem(sys.modules, name)
    if broken == "onnx":
        pytest.importorskip("onnxruntime")
    engine: EngineName = "openvino" if broken == "openvino" else "onnxruntime"
    if broken != "onnx":
        monkeypatch.setattr(packaged, "compact_onnx", lambda *_, **__: b"")
    network = dense_network(random_encoder())
    _, report = fastest_engine(network, 1, 16, engines=[engine, "eager"], rounds=1)
    assert report.chosen == "torch eager"
    reason = report.timings[0].reason
    assert f"{broken} is installed but cannot be imported" in reason
    assert "libgomp.so.1 is gone" in reason
    with pytest.raises(EngineUnavailableError) as error:
        fastest_engine(network, 1, 16, engines=[engine])
    # A run that is left without any engine ends in one message.
    message = mendable_message(error.value)
    assert message is not None and "libgomp.so.1 is gone" in message


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="race with"):
        fastest_engine(dense_network(random_encoder()), 2, 16, images=torch.rand(1, 3, 16, 16))


def test_optional_packages_are_not_loaded_with_the_library() -> None:
    code = (
        "import sys, ssl_kedro.inference.export, ssl_kedro.inference.engines.probe;"
        "print([n for n in ('onnx', 'onnxruntime', 'onnxscript', 'openvino') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
