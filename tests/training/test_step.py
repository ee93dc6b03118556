"""Steps that are checked late leave the same weights, and take back what was not finite."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from small_methods import small_options
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig, Views
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training import loop
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import flattened_state
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.divergence import TrainingDiverged
from ssl_kedro.training.loop import train, train_epoch
from ssl_kedro.training.step import TrainingStep

CPU = torch.device("cpu")
RATES = {"lars": 0.5, "sgd": 0.1, "adam": 0.05, "adamw": 0.05}
METHODS = ["dual_gating", "byol_dual_gating", "moco_v2_gating", "dino_dual_gating", "seed"]


def needs(device: str) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(device)


def new_method(name: str) -> Method:
    """A method with state of its own: a multiplier, a target network or a queue."""
    torch.manual_seed(0)
    shape = EncoderConfig(width=4)
    teacher = GatedResNet18(shape, branches=("dense",), image_size=16).eval()
    setup = EncoderSetup(shape, 16, (0.5,) * 3, (0.25,) * 3, teacher)
    config = MethodConfig(
        ExpanderConfig(16, 16),
        gates=GateConfig(steering="dual_ascent", warmup=0.3, diversity=0.1),
        options=small_options(name),
    )
    return MethodPlan(name, setup, config, 0.5, seed=3).build()


def recipe(optimiser: str) -> TrainConfig:
    return TrainConfig(
        epochs=3,
        batch_size=8,
        optimiser=optimiser,  # type: ignore[arg-type]
        lr=RATES[optimiser],
        warmup_epochs=1,
        device="cpu",
    )


def new_step(
    name: str,
    optimiser: str,
    device: torch.device = CPU,
    lag: int | None = None,
    **how: bool,
) -> TrainingStep:
    execution = Execution(str(device), "fp32", **how)  # type: ignore[arg-type]
    return TrainingStep(new_method(name), recipe(optimiser), execution, 5, lag)


def batches(
    images: np.ndarray, device: torch.device = CPU
) -> Iterator[tuple[torch.Tensor, Views, torch.Tensor]]:
    """Images, both views and indices of the steps of three epochs."""
    views = SeveralViews(RandomViews(ViewConfig()))
    source = BatchSource(images, 8, device, seed=3)
    noise = torch.Generator(device).manual_seed(1)
    for epoch in range(3):
        for batch in source.epoch(epoch):
            yield (batch.images, views(batch.images, noise), batch.indices)


def state_of(step: TrainingStep) -> dict[str, torch.Tensor]:
    """Everything that a checkpoint holds, and the noise."""
    state = flattened_state(step.method, step.optimiser)
    return {name: value.clone() for name, value in state.items()}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """To the bit; not-a-number equals itself. State that only one has must be zero."""
    for name in found.keys() | expected.keys():
        if name not in found or name not in expected:
            assert not bool((found | expected)[name].any()), name
        else:
            same = torch.eq(found[name], expected[name])
            assert bool((same | (found[name].isnan() & expected[name].isnan())).all()), name


@pytest.mark.parametrize("optimiser", RATES)
@pytest.mark.parametrize("name", METHODS)
def test_a_late_check_changes_no_bit_of_an_ordinary_training(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str, optimiser: str
) -> None:
    source = BatchSource(images, 8, CPU, seed=3)
    views = SeveralViews(RandomViews(ViewConfig()))
    plain = train(new_method(name), source, views, recipe(optimiser))
    monkeypatch.setattr(loop, "TrainingStep", functools.partial(TrainingStep, lag=3))
    late = train(new_method(name), source, views, recipe(optimiser))
    assert_equal(late.method.state_dict(), plain.method.state_dict())
    for found, expected in zip(late.history, plain.history, strict=True):
        assert {**found, "images_per_second": 0} == {**expected, "images_per_second": 0}


def gradient_is_poisoned(step: TrainingStep, armed: Callable[[], bool]) -> None:
    """One gradient becomes infinite while the loss stays finite."""
    step.parameters[0].register_hook(
        lambda gradient: gradient + float("inf") if armed() else gradient
    )


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("where", ["views", "gradient"])
@pytest.mark.parametrize("bad_step", [0, 11])
@pytest.mark.parametrize(("name", "optimiser"), [*zip(METHODS, (*RATES, "lars"), strict=True)])
def test_a_step_that_is_not_finite_leaves_all_state_as_it_was(
    images: np.ndarray, name: str, optimiser: str, bad_step: int, where: str, recorded: bool
) -> None:
    step = new_step(name, optimiser, lag=3, recorded=recorded)
    step.begin_epoch(3, 0)
    number, before = 0, state_of(step)
    if where == "gradient":
        gradient_is_poisoned(step, lambda: number == bad_step and step._delayed is not None)
    with pytest.raises(TrainingDiverged) as error:
        for number, (batch, (view_1, view_2), indices) in enumerate(batches(images)):
            if number == bad_step:
                before = state_of(step)
                if where == "views":
                    view_1 = view_1 * float("nan")
            step.take(batch, (view_1, view_2), indices, number)
    assert f"epoch {bad_step // 5 + 1}, batch {bad_step % 5 + 1}: loss" in str(error.value)
    assert ("loss nan" in str(error.value)) == (where == "views")
    assert number == bad_step + 3  # noticed three steps later
    assert_equal(state_of(step), before)


def test_an_epoch_does_not_end_before_its_last_step_was_looked_at(images: np.ndarray) -> None:
    class LastIsPoisoned(SeveralViews):
        calls = 0

        def __call__(
            self, images: torch.Tensor, generator: torch.Generator
        ) -> tuple[torch.Tensor, torch.Tensor]:
            self.calls += 1
            view_1, view_2 = super().__call__(images, generator)
            return view_1 * (float("nan") if self.calls == 5 else 1.0), view_2

    step = new_step("dual_gating", "lars", lag=100)
    views = LastIsPoisoned(RandomViews(ViewConfig()))
    with pytest.raises(TrainingDiverged, match=r"epoch 1, batch 5: loss nan \(invariance nan"):
        train_epoch(step, BatchSource(images, 8, CPU, seed=3), views, 0, lambda _: None)


@pytest.mark.parametrize("optimiser", ["lars", "sgd"])  # Adam divides rounding by rounding
@pytest.mark.parametrize("name", ["dual_gating", "byol_dual_gating", "moco_v2_gating"])
def test_recorded_steps_draw_the_same_numbers_and_learn_the_same(
    images: np.ndarray, name: str, optimiser: str
) -> None:
    """On a CPU: fixed tensors, rehearsal and rates on the device, all but the graph itself."""
    plain = new_step(name, optimiser)
    recorded = new_step(name, optimiser, recorded=True)
    for number, (batch, (view_1, view_2), indices) in enumerate(batches(images)):
        if number == 2:
            break
        results = []
        for step in (plain, recorded):
            if number == 0:
                step.begin_epoch(3, 0)
            results.append(step.take(batch, (view_1, view_2), indices, number))
        assert torch.equal(plain.noise.get_state(), recorded.noise.get_state())
        torch.testing.assert_close(results[1].loss, results[0].loss, rtol=1e-4, atol=1e-4)
        assert torch.equal(results[1].scalars["flop_ratio"], results[0].scalars["flop_ratio"])
    expected = state_of(plain)
    for key, value in state_of(recorded).items():
        torch.testing.assert_close(value, expected[key], rtol=2e-3, atol=1e-4, check_dtype=False)
    rates = [float(group["lr"]) for group in recorded.optimiser.param_groups]
    assert rates == pytest.approx([group["lr"] for group in plain.optimiser.param_groups])


def test_progress_on_the_device_gives_the_penalty_of_a_number(images: np.ndarray) -> None:
    """Warm-up, bounds and multiplier at several points of a training, from the same state."""
    plain = new_step("dual_gating", "lars")
    fixed = new_step("dual_gating", "lars", recorded=True, lag=1)
    _, views, indices = next(iter(batches(images)))
    for number in (0, 1, 4, 6, 14):
        found = []
        for step in (plain, fixed):
            step.begin_epoch(3, number)
            step.begin(indices, number)
            result, _ = step.forward_backward(views)
            found.append({name: float(value) for name, value in result.scalars.items()})
        assert found[1] == pytest.approx(found[0], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        pytest.param("dual_gating", "aot_eager", marks=pytest.mark.slow),
        pytest.param("vicreg", "inductor", marks=pytest.mark.slow),
        pytest.param("dual_gating", "inductor", marks=pytest.mark.gpu),
    ],
)
def test_compiled_steps_draw_the_same_numbers_and_learn_the_same(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str, backend: str
) -> None:
    """Progress that changes from step to step must be neither frozen in nor compiled again."""
    gpu = (name, backend) == ("dual_gating", "inductor")
    device = needs("cuda" if gpu else "cpu")
    compiles = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compiles(*a, **k, backend=backend))
    torch._dynamo.reset()
    plain = new_step(name, "sgd", device)
    fast = new_step(name, "sgd", device, compiled=True)
    compiled_before_last = 0
    for number, (batch, (view_1, view_2), indices) in enumerate(batches(images, device)):
        if number == 3:
            break
        compiled_before_last = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        results = []
        for step in (plain, fast):
            if number == 0:
                step.begin_epoch(3, 0)
            results.append(step.take(batch, (view_1, view_2), indices, number))
        assert torch.equal(plain.noise.get_state(), fast.noise.get_state())
        torch.testing.assert_close(results[1].loss, results[0].loss, rtol=1e-3, atol=1e-3)
        if number == 0:  # later, batch norms over eight images have blown the rounding up
            expected = state_of(plain)
            for key, value in state_of(fast).items():
                torch.testing.assert_close(
                    value, expected[key], rtol=5e-3, atol=1e-3, check_dtype=False
                )
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled_before_last > 0
    assert fast.method.state_dict().keys() == plain.method.state_dict().keys()


def test_resuming_keeps_learning_rates_on_the_device() -> None:
    step = new_step("dual_gating", "adam", recorded=True)
    state = step.optimiser.state_dict()
    step.optimiser.load_state_dict(state)
    assert all(isinstance(group["lr"], torch.Tensor) for group in step.optimiser.param_groups)
    assert len({id(group["lr"]) for group in step.optimiser.param_groups}) == len(
        step.optimiser.param_groups
    )


@pytest.mark.gpu
@pytest.mark.parametrize("optimiser", RATES)
def test_a_graph_replays_the_numbers_of_its_kernels(images: np.ndarray, optimiser: str) -> None:
    device = needs("cuda")
    ends = []
    for recorded in (False, True):
        step = new_step("dual_gating", optimiser, device, recorded=recorded)
        for number, (batch, (view_1, view_2), indices) in enumerate(batches(images, device)):
            if number % 5 == 0:
                step.begin_epoch(3, number // 5)
            step.take(batch, (view_1, view_2), indices, number)
        step.settle()
        ends.append((state_of(step), step.noise.get_state()))
    assert torch.equal(ends[0][1], ends[1][1])
    for key, value in ends[1][0].items():
        torch.testing.assert_close(value, ends[0][0][key], rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("recorded", [False, True])
def test_a_gpu_is_never_waited_for_within_an_epoch(images: np.ndarray, recorded: bool) -> None:
    device = needs("cuda")
    step = new_step("dual_gating", "lars", device, recorded=recorded)
    for number, (batch, (view_1, view_2), indices) in enumerate(batches(images, device)):
        if number == 2:
            torch.cuda.set_sync_debug_mode("error")
        try:
            step.take(batch, (view_1, view_2), indices, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        if number == 4:
            break
    step.settle()
