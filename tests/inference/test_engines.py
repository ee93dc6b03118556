from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.networks import random_encoder, random_usage
from ssl_kedro.core import precision as instructions
from ssl_kedro.core import race
from ssl_kedro.core.precision import Precision
from ssl_kedro.hooks.project import mendable_message
from ssl_kedro.inference.compact import compact, dense_network
from ssl_kedro.inference.engines import packaged, probe
from ssl_kedro.inference.engines.base import (
    BatchEngine,
    EngineUnavailableError,
    engine_features,
)
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
@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-5), ("bf16", 2**-6)])
@torch.no_grad()
def test_compiled_engine(precision: Precision, tolerance: float) -> None:
    encoder = random_encoder()
    network = compact(encoder, random_usage(encoder))
    images = torch.rand(3, 3, 16, 16)
    try:
        engine, _ = fastest_engine(
            network,
            3,
            16,
            images=images,
            engines=["compiled"],
            precision=precision,
            rounds=1,
        )
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    found, own = engine(images), network(images)
    assert torch.linalg.norm(found - own) < tolerance * torch.linalg.norm(own)


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


IN_BF16: tuple[EngineName, ...] = ("openvino", "eager")


@pytest.mark.parametrize("name", IN_BF16)
@torch.no_grad()
def test_bf16_is_a_float_of_eight_digits(name: EngineName) -> None:
    encoder = random_encoder()
    network, images = dense_network(encoder), torch.rand(3, 3, 16, 16)
    try:
        engine, report = fastest_engine(
            network, 3, 16, images=images, engines=[name], precision="bf16", rounds=1
        )
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert report.precision == engine.precision == "bf16"
    found, own = engine(images), network(images)
    assert found.dtype == torch.float32
    # One rounding is up to 2^-9; those of 20 layers partly cancel.
    difference = float(torch.linalg.norm(found - own) / torch.linalg.norm(own))
    assert 2**-12 < difference < 2**-6


@pytest.mark.parametrize("name", ["native", "openvino", "onnxruntime"])
@pytest.mark.parametrize("gated", [True, False])
@torch.no_grad()
def test_engines_agree_in_int8_as_far_as_bytes_do(name: EngineName, gated: bool) -> None:
    encoder = random_encoder()
    network = compact(encoder, random_usage(encoder)) if gated else dense_network(encoder)
    seen = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    images = torch.from_numpy(seen[:6]).float() / 255
    masks = (torch.rand(6, network.plan.dependent) < 0.5).float() if gated else None
    try:
        engine, report = fastest_engine(
            network,
            6,
            16,
            images=images,
            masks=masks,
            engines=[name],
            precision="int8",
            calibration=seen,
            rounds=1,
        )
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert report.precision == engine.precision == "int8"
    found, own = engine(images, masks), network(images, masks)
    assert 1e-3 < torch.linalg.norm(found - own) / torch.linalg.norm(own) < 0.1


@torch.no_grad()
def test_gates_decide_in_float32_where_torch_convolves_in_bf16() -> None:
    encoder = random_encoder()
    usage = random_usage(encoder)
    usage.open_counts[0][:] = 0  # a block that is a constant
    network = compact(encoder, usage)
    gates = [block.gate for block in network.compact_blocks() if block.gate is not None]
    engine = packaged.TorchEngine(network, 3, 1, "bf16")
    laid_out = engine._call
    assert {p.dtype for p in laid_out.parameters()} == {torch.bfloat16, torch.float32}
    for block in laid_out.compact_blocks():
        if block.gate is not None:
            assert {p.dtype for p in block.gate.parameters()} == {torch.float32}
    masks = (torch.rand(3, network.plan.dependent) < 0.5).float()
    images = torch.rand(3, 3, 16, 16)
    own = network(images, masks)
    assert gates and torch.linalg.norm(engine(images, masks) - own) < 2**-6 * torch.linalg.norm(own)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(("precision", "flag"), [("bf16", "avx512_bf16"), ("int8", "avx_vnni")])
def test_a_processor_without_a_precision_is_passed_over(
    precision: Precision, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr(instructions, "_PROCESSOR", told)
    told.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f\nbugs\t: none\n")
    network = dense_network(random_encoder())
    with pytest.raises(EngineUnavailableError) as error:
        fastest_engine(
            network,
            1,
            16,
            engines=["openvino", "onnxruntime", "native"],
            precision=precision,
            calibration=np.zeros((1, 3, 16, 16), np.uint8),
        )
    assert f"openvino: this processor has no instructions for {precision}" in str(error.value)
    if precision == "bf16":
        assert "native: it computes in f32 and int8 only" in str(error.value)
    assert "no instructions" in probe.why_unavailable("openvino", precision)
    told.write_text(f"flags\t\t: fpu avx2 {flag}\n")
    assert instructions.processor_lacks(precision) == ""
    assert instructions.processor_lacks("f32") == ""
    told.unlink()  # a system that does not tell
    assert instructions.processor_lacks(precision) == ""


def test_int8_needs_images_to_calibrate_on() -> None:
    with pytest.raises(ValueError, match="int8 needs images to calibrate on"):
        fastest_engine(dense_network(random_encoder()), 1, 16, precision="int8")


@torch.no_grad()
def test_features_of_many_images_through_an_engine() -> None:
    network = dense_network(random_encoder())
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 16, 16), dtype=np.uint8)
    engine = packaged.TorchEngine(network, 2, 1)
    found = engine_features(engine, images, batch_size=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, network(torch.from_numpy(images)).numpy(), atol=1e-5)
