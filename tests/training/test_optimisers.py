from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig, StepResult, Trainable
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.optimisers import LARS, build_optimiser, learning_rate
from ssl_kedro.training.step import TrainingStep


def slow_lars(
    weights: list[list[float]],
    gradients: list[list[list[float]]],
    *,
    lr: float,
    decay: float,
    eta: float,
    clip: bool,
    dimensions: list[int],
) -> list[list[float]]:
    """LARS by the formula, one number at a time; gradients[step][tensor][element]."""
    weights = [list(w) for w in weights]
    momenta = [[0.0] * len(w) for w in weights]
    for step in gradients:
        for k, g in enumerate(step):
            w = weights[k]
            w_norm, g_norm = math.hypot(*w), math.hypot(*g)
            factor, wd = 1.0, 0.0
            if dimensions[k] > 1 and w_norm and g_norm:
                wd = decay
                factor = eta * w_norm / (g_norm + decay * w_norm + 1e-8)
                factor = min(factor / lr, 1.0) if clip else factor
            for i in range(len(w)):
                momenta[k][i] = 0.9 * momenta[k][i] + factor * (g[i] + wd * w[i])
                w[i] -= lr * momenta[k][i]
    return weights


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_lars_equals_the_loop(clip: bool, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (5,), (2, 2, 3, 3), (4, 2)]
    parameters = [
        nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes
    ]
    with torch.no_grad():
        parameters[3].zero_()  # a zero weight is left unscaled
    start = [p.detach().flatten().tolist() for p in parameters]
    optimiser = LARS(parameters, 0.3, weight_decay=1e-2, eta=0.02, clip=clip)
    steps = []
    for _ in range(3):
        gradients = [
            scale * torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes
        ]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        steps.append([g.flatten().tolist() for g in gradients])
        optimiser.step()
    expected = slow_lars(
        start, steps, lr=0.3, decay=1e-2, eta=0.02, clip=clip, dimensions=[2, 1, 4, 2]
    )
    for p, values in zip(parameters, expected, strict=True):
        assert p.detach().flatten().tolist() == pytest.approx(values, rel=1e-9, abs=1e-12)


def test_clipped_lars_never_steps_further_than_sgd() -> None:
    weight = nn.Parameter(torch.full((4, 4), 100.0))
    weight.grad = torch.full((4, 4), 1e-3)
    LARS([weight], 0.5, momentum=0.0).step()
    assert torch.allclose(weight.detach(), torch.full((4, 4), 100 - 0.5e-3))


def test_lars_at_learning_rate_zero_changes_nothing() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    LARS([weight], 0.0).step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))


class OneWeight(Trainable):
    """A weight without a gradient: all that moves it is weight decay."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[2.0]]))
        self.weight.grad = torch.zeros(1, 1)

    def forward(self, *views: object) -> StepResult:
        raise NotImplementedError

    @property
    def macs_per_image(self) -> int:
        return 0


# Adam divides the decay by its own size; AdamW and SGD subtract lr * decay * weight.
@pytest.mark.parametrize(("name", "moved"), [("adam", 0.1), ("adamw", 0.02), ("sgd", 0.02)])
def test_weight_decay_of_each_optimiser(name: str, moved: float) -> None:
    method = OneWeight()
    config = TrainConfig(optimiser=name, lr=0.1, batch_size=256, weight_decay=0.1)  # type: ignore[arg-type]
    build_optimiser(method, config).step()
    assert float(2 - method.weight.detach()) == pytest.approx(moved, rel=1e-5)


@pytest.mark.parametrize("name", ["lars", "sgd", "adam", "adamw"])
def test_gates_have_no_weight_decay_and_their_own_rate(name: str) -> None:
    setup = EncoderSetup(EncoderConfig(width=8), 32, (0.5,) * 3, (0.25,) * 3)
    method = MethodPlan(
        "dual_gating", setup, MethodConfig(expander=ExpanderConfig(16, 16)), 0.5, seed=0
    ).build()
    config = TrainConfig(optimiser=name, weight_decay=0.1, gate_lr_factor=3.0)  # type: ignore[arg-type]
    groups = build_optimiser(method, config).param_groups
    gates = {id(p) for p in method.gate_parameters()}
    assert {id(p) for p in groups[1]["params"]} == gates
    assert len(gates) == 8 * 4
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.1, 0.0)
    assert (groups[0]["lr_factor"], groups[1]["lr_factor"]) == (1.0, 3.0)
    counted = sum(len(group["params"]) for group in groups)
    assert counted == len(list(method.parameters()))


def test_rate_of_the_predictor_stays_at_the_peak() -> None:
    setup = EncoderSetup(EncoderConfig(width=4), 16, (0.5,) * 3, (0.25,) * 3)
    config = MethodConfig(ExpanderConfig(16, 16))
    method = MethodPlan("simsiam", setup, config, None, seed=0).build()
    recipe = TrainConfig(epochs=4, batch_size=8, warmup_epochs=1, device="cpu")
    step = TrainingStep(method, recipe, Execution("cpu", "fp32"), batches_per_epoch=5)
    predictor = {id(p) for p in method.predictor.parameters()}
    for index in (0, 7, 19):
        images = torch.rand(2, 8, 3, 16, 16)
        step.begin(torch.arange(8), index)
        step.forward_backward((images[0], images[1]))
        rates = {
            id(p): group["lr"] for group in step.optimiser.param_groups for p in group["params"]
        }
        for key, rate in rates.items():
            expected = recipe.peak_lr if key in predictor else step.learning_rate(index)
            assert rate == expected
    assert step.learning_rate(19) < 0.1 * recipe.peak_lr


def test_frozen_parameters_are_left_to_the_method() -> None:
    setup = EncoderSetup(EncoderConfig(width=4), 16, (0.5,) * 3, (0.25,) * 3)
    method = MethodPlan("vicreg", setup, MethodConfig(ExpanderConfig(16, 16)), None, seed=0).build()
    frozen = method.encoder.stem[0].weight.requires_grad_(False)
    optimiser = build_optimiser(method, TrainConfig())
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert id(frozen) not in held
    assert len(held) == len(list(method.parameters())) - 1


@pytest.mark.parametrize("name", ["lars", "sgd", "adam", "adamw"])
def test_rates_on_the_device_give_the_steps_of_numbers(name: str) -> None:
    """A scheduled rate, one that never changes and a rate of zero, over four steps."""
    ends = []
    for device in (None, torch.device("cpu")):
        torch.manual_seed(0)
        method = ThreeWeights()
        config = TrainConfig(optimiser=name, weight_decay=0.01)  # type: ignore[arg-type]
        optimiser = build_optimiser(method, config, device)
        noise = torch.Generator().manual_seed(0)
        for rate in (0.1, 0.2, 0.05, 0.0):
            for p in method.parameters():
                p.grad = torch.randn(p.shape, generator=noise) + 2
            for group in optimiser.param_groups:
                if device is None:
                    group["lr"] = rate
                else:
                    group["lr"].fill_(rate)
            optimiser.step()
        ends.append([p.detach() for p in method.parameters()])
    for found, expected in zip(*reversed(ends), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("recorded", [False, True])
def test_adam_expects_a_graph_only_where_there_is_one(recorded: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    device = torch.device("cuda")
    config = TrainConfig(optimiser="adam")
    optimiser = build_optimiser(ThreeWeights().to(device), config, device, recorded=recorded)
    assert [group["capturable"] for group in optimiser.param_groups] == [
        recorded for _ in optimiser.param_groups
    ]


class ThreeWeights(OneWeight):
    """A matrix, a kernel and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3))
        self.kernel = nn.Parameter(torch.randn(2, 3, 3, 3))
        self.bias = nn.Parameter(torch.randn(5))


def test_warm_up_is_linear_and_the_cosine_ends_at_zero() -> None:
    recipe = TrainConfig(epochs=11, warmup_epochs=1)  # the thesis' rates: 0.003 to 0.6
    rates = [learning_rate(recipe, step, batches_per_epoch=10) for step in range(110)]
    assert rates[0] == pytest.approx(0.003)
    assert rates[5] == pytest.approx((0.003 + 0.6) / 2)
    assert rates[10] == pytest.approx(0.6)
    assert rates[60] == pytest.approx(0.3)  # half way through the cosine
    assert 0 < rates[-1] < 0.001
    assert all(a < b for a, b in itertools.pairwise(rates[:11]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_no_warm_up_starts_at_the_peak() -> None:
    recipe = TrainConfig(epochs=5, warmup_epochs=0, warmup_lr=0.1, lr=1.0, batch_size=256)
    assert learning_rate(recipe, 0, batches_per_epoch=1) == 1.0


def test_thesis_recipe_peaks_at_base_rate_times_batch_over_256() -> None:
    assert TrainConfig().peak_lr == pytest.approx(0.6)


def test_warm_up_longer_than_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup_epochs = 10: expected fewer than epochs = 5"):
        TrainConfig(epochs=5)


def test_a_constant_rate_stays_after_the_warm_up() -> None:
    recipe = TrainConfig(
        epochs=8, warmup_epochs=4, warmup_lr=0.1, lr=0.5, batch_size=256, schedule="constant"
    )
    rates = [learning_rate(recipe, step, batches_per_epoch=1) for step in range(8)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5])
