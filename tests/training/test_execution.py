"""Which way to compute the trial takes, with times that are given instead of measured."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping

import pytest
import torch

from ssl_kedro.core.config import ConfigError
from ssl_kedro.methods.base import Method
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.training import execution
from ssl_kedro.training.config import Execution, MemoryFormat, TrainConfig
from ssl_kedro.training.execution import (
    Trial,
    _eager_ways,
    _faster_ways,
    choose_execution,
)
from ssl_kedro.training.step import TrainingStep

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NewMethod = Callable[[], Method]
SHAPE = (3, 16, 16)


def config(**changes: object) -> TrainConfig:
    values = {"epochs": 2, "batch_size": 8, "warmup_epochs": 0, "lr": 0.1, "device": "cpu"}
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def way(precision: str, memory_format: MemoryFormat) -> Execution:
    return Execution("cpu", precision, {}, memory_format)


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has bf16, whichever runs the tests."""
    monkeypatch.setattr(execution, "processor_lacks", lambda precision: "")


@pytest.fixture
def clock(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Mapping[Execution, float]], dict[Execution, int]]:
    """Replaces the timing of a step by a table; returns how often each way was timed."""

    def given(seconds: Mapping[Execution, float]) -> dict[Execution, int]:
        counts = dict.fromkeys(seconds, 0)

        def timed(step: TrainingStep, views: torch.Tensor) -> float:
            assert views.shape == (2, 8, *SHAPE)
            weight = step.method.encoder.stem[0].weight
            last = weight.is_contiguous(memory_format=torch.channels_last)
            chosen = way(step.execution.precision, "channels_last" if last else "contiguous")
            counts[chosen] += 1
            return seconds[chosen] * (5 if counts[chosen] == 1 else 1)  # the first allocates

        monkeypatch.setattr(execution, "_timed", timed)
        return counts

    return given


FP32, FP32_CONTIGUOUS = way("fp32", "channels_last"), way("fp32", "contiguous")
BF16, BF16_CONTIGUOUS = way("bf16", "channels_last"), way("bf16", "contiguous")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((1.0, 1.0, 1.0, 1.0), FP32),
        ((1.09, 1.0, 1.05, 1.0), FP32),  # within 10 %: the exact arithmetic stays
        ((1.2, 1.0, 1.2, 1.3), FP32_CONTIGUOUS),
        ((1.2, 1.11, 1.0, 0.95), BF16),
        ((1.2, 1.3, 1.1, 0.9), BF16_CONTIGUOUS),
        ((1.0, 1.4, 1.3, 1.2), FP32),
    ],
)
def test_the_fastest_way_is_taken_unless_a_plainer_one_is_as_fast(
    new_method: NewMethod,
    clock: Callable[..., object],
    times: tuple[float, ...],
    expected: Execution,
) -> None:
    table = dict(zip((FP32, FP32_CONTIGUOUS, BF16, BF16_CONTIGUOUS), times, strict=True))
    clock(table)
    found = choose_execution(new_method(), SHAPE, config())
    assert (found.precision, found.memory_format) == (expected.precision, expected.memory_format)
    assert found.trial_ms == {str(way): 1000 * seconds for way, seconds in table.items()}
    assert (found.compiled, found.recorded) == (False, False)


def test_other_work_on_the_machine_does_not_decide(
    new_method: NewMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three rounds of the faster arithmetic are disturbed."""
    times = iter([9.0, 9.0, 1.0, 5.0, 1.0, 0.5, 1.0, 5.0])
    monkeypatch.setattr(execution, "_timed", lambda step, views: next(times))
    given = config(memory_format="channels_last")
    monkeypatch.setattr(execution, "_HOPELESS", 100.0)
    assert choose_execution(new_method(), SHAPE, given).precision == "bf16"


def test_a_way_without_hope_is_tried_twice_only(
    new_method: NewMethod, clock: Callable[..., dict[Execution, int]]
) -> None:
    counts = clock({FP32: 1.0, FP32_CONTIGUOUS: 1.6, BF16: 0.7, BF16_CONTIGUOUS: 9.0})
    assert choose_execution(new_method(), SHAPE, config()).precision == "bf16"
    assert counts == {FP32: 4, FP32_CONTIGUOUS: 2, BF16: 4, BF16_CONTIGUOUS: 2}


def test_what_is_given_is_not_tried(
    new_method: NewMethod, clock: Callable[..., dict[Execution, int]]
) -> None:
    counts = clock({FP32: 1.0, FP32_CONTIGUOUS: 0.5, BF16: 0.1, BF16_CONTIGUOUS: 0.1})
    found = choose_execution(new_method(), SHAPE, config(precision="fp32"))
    assert (found.precision, found.memory_format) == ("fp32", "contiguous")
    assert counts[BF16] == counts[BF16_CONTIGUOUS] == 0
    given = config(precision="bf16", memory_format="contiguous")
    assert choose_execution(new_method(), SHAPE, given).trial_ms == {}


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_a_processor_does_not_imitate_bf16(
    precision: str,
    new_method: NewMethod,
    clock: Callable[..., dict[Execution, int]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(execution, "processor_lacks", lambda precision: f"no {precision} here")
    counts = clock({FP32: 1.0, FP32_CONTIGUOUS: 2.0, BF16: 0.1, BF16_CONTIGUOUS: 0.1})
    with caplog.at_level("INFO"):
        found = choose_execution(new_method(), SHAPE, config(precision=precision))
    assert found.precision == "fp32"
    assert counts[BF16] == counts[BF16_CONTIGUOUS] == 0
    assert ("Training in fp32: no bf16 here" in caplog.text) is (precision == "bf16")


def test_a_real_trial_leaves_the_method_alone(new_method: NewMethod) -> None:
    method = new_method()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    found = choose_execution(method, SHAPE, config())
    assert len(found.trial_ms) == 4
    assert all(milliseconds > 0 for milliseconds in found.trial_ms.values())
    for name, value in method.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_switches_decide_what_is_tried_beyond_the_eager_step() -> None:
    def tried(device: torch.device, **changes: object) -> list[tuple[bool, bool]]:
        ways = _faster_ways(BF16, config(**changes), device)
        return [(way.compiled, way.recorded) for way in ways]

    everything = [(False, False), (False, True), (True, False), (True, True)]
    assert tried(CPU) == [(False, False)]
    assert tried(CUDA) == everything
    assert tried(CUDA, graphs="off") == [(False, False), (True, False)]
    assert tried(CUDA, graphs="on", compile="off") == [(False, True)]
    assert tried(CPU, compile="on") == [(True, False)]
    assert len(_eager_ways(config(), CPU)) == 4


def test_what_cannot_be_recorded_is_left_out_with_a_line(
    new_method: NewMethod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def timed(step: TrainingStep, views: torch.Tensor) -> float:
        if step.execution.recorded:
            raise RuntimeError("called a synchronizing CUDA operation\nand more")
        return 1.0

    monkeypatch.setattr(execution, "_timed", timed)
    caplog.set_level(logging.INFO)
    ways = [FP32, dataclasses.replace(FP32, recorded=True)]
    trial = Trial(new_method(), SHAPE, config(), CPU)
    assert trial.best(ways) == FP32
    assert trial.least == {"fp32 channels_last": 1.0}
    (line,) = [record.message for record in caplog.records]
    assert line.endswith("fp32 channels_last graph: called a synchronizing CUDA operation")


def test_a_way_that_no_switch_asked_for_may_not_fail_silently(
    new_method: NewMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(step: TrainingStep, views: torch.Tensor) -> float:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(execution, "_timed", timed)
    with pytest.raises(RuntimeError, match="out of memory"):
        choose_execution(new_method(), SHAPE, config())


def test_graphs_without_a_cuda_device_are_refused(new_method: NewMethod) -> None:
    with pytest.raises(ValueError, match=r"train\.graphs = on: cpu has none.*use auto"):
        choose_execution(new_method(), SHAPE, config(graphs="on"))
    with pytest.raises(ConfigError, match="graphs = 'yes'"):
        config(graphs="yes")


def test_no_way_at_all_is_an_error_that_says_why(
    new_method: NewMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(step: TrainingStep, views: torch.Tensor) -> float:
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(execution, "_timed", timed)
    ways = [
        dataclasses.replace(FP32, compiled=True),
        dataclasses.replace(FP32, compiled=True, recorded=True),
    ]
    message = r"fp32 channels_last compiled or as .* graph: no compiler found; use train.compile"
    with pytest.raises(RuntimeError, match=message):
        Trial(new_method(), SHAPE, config(), CPU).best(ways)


def test_a_method_that_cannot_be_recorded_takes_the_rest_of_another_ones_execution(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    chosen = Execution("cuda", "fp32", {}, "contiguous", compiled=True, recorded=True)
    kinds = method_classes()
    assert chosen.of(kinds["vicreg"]) == chosen
    assert not caplog.records
    assert chosen.of(kinds["seed"]) == dataclasses.replace(chosen, recorded=False)
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("Training steps of Seed stay without a CUDA graph")


def test_a_trial_does_not_record_what_says_that_it_cannot_be(
    new_method: NewMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With graphs asked for, on a machine that only says that it has a CUDA device."""
    monkeypatch.setattr(execution, "resolved_device", lambda name: CUDA)
    given = config(precision="fp32", memory_format="contiguous", compile="off", graphs="on")
    method = new_method()
    assert choose_execution(method, SHAPE, given).recorded
    monkeypatch.setattr(type(method), "recordable", False)
    assert not choose_execution(method, SHAPE, given).recorded


def test_a_method_whose_shapes_change_is_not_compiled(
    new_method: NewMethod, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    method = new_method()
    asked = config(precision="fp32", memory_format="contiguous", compile="on", graphs="off")
    assert choose_execution(method, SHAPE, asked).compiled
    monkeypatch.setattr(type(method), "compilable", False)
    assert not choose_execution(method, SHAPE, asked).compiled
    chosen = Execution("cuda", "fp32", {}, "contiguous", compiled=True, recorded=True)
    slim = method_classes()["slim"]
    left = dataclasses.replace(chosen, compiled=False, recorded=False)
    assert chosen.of(slim) == left
    assert [record.message for record in caplog.records][-2:] == [
        "Training steps of Slim stay without a CUDA graph: they wait",
        "Training steps of Slim are not compiled: their shapes change",
    ]


def test_an_execution_survives_being_written_down() -> None:
    """An execution from before memory formats were chosen has what was always taken then."""
    old = Execution(**{"device": "cpu", "precision": "bf16", "trial_ms": {}})  # type: ignore[arg-type]
    assert old == Execution("cpu", "bf16", {}, "channels_last", compiled=False, recorded=False)
    plain = {"precision": "bf16", "memory_format": "channels_last", "compiled": False}
    assert old.identity == plain
    new = Execution("cpu", "fp32", {}, "contiguous", compiled=True, recorded=True)
    assert new.identity == {"precision": "fp32", "memory_format": "contiguous", "compiled": True}
    written = json.loads(json.dumps(dataclasses.asdict(new)))
    assert Execution(**written) == new
