from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from small_methods import budget_of, small_options
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import GateConfig, gate_objective
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig, normalised_deviation
from ssl_kedro.methods.plan import MethodPlan, method_classes

SETUP = EncoderSetup(EncoderConfig(width=8), 16, (0.5,) * 3, (0.25,) * 3)
CONFIG = MethodConfig(expander=ExpanderConfig(32, 16), gates=GateConfig())
VICREG = VICRegConfig()


def views(seed: int = 0, count: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 6, 3, 16, 16, generator=generator).unbind()


def test_the_three_methods_of_table_6_1_are_found() -> None:
    assert {"vicreg", "vicreg_gating", "dual_gating"} <= method_classes().keys()


@pytest.mark.parametrize(
    ("name", "branches", "gated_views"),
    [
        ("vicreg", ("dense", "dense"), []),
        ("vicreg_gating", ("gated", "gated"), [0, 1]),
        ("dual_gating", ("gated", "dense"), [0]),
    ],
)
def test_step_is_vicreg_plus_gate_objective_of_each_gated_view(
    name: str, branches: tuple[str, str], gated_views: list[int]
) -> None:
    budget = 0.3 if gated_views else None
    method = MethodPlan(name, SETUP, CONFIG, budget, seed=1).build()
    pair = views()
    loss, scalars = method(pair, 0.2, torch.Generator().manual_seed(9))
    # The same by hand, drawing the gates' noise in the same order.
    twin = MethodPlan(name, SETUP, CONFIG, budget, seed=1).build()
    noise = torch.Generator().manual_seed(9)
    encodings = [
        twin.encoder(view, branch, noise) for view, branch in zip(pair, branches, strict=True)
    ]
    z_1, z_2 = (twin.expander(e.features) for e in encodings)
    expected, terms = vicreg_loss(z_1, z_2, VICREG)
    for index in gated_views:
        objective, _ = gate_objective(
            encodings[index].masks, twin.encoder.cost(), 0.3, CONFIG.gates, 0.2
        )
        expected = expected + objective
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert float(scalars["invariance"]) == pytest.approx(float(terms["invariance"]), rel=1e-6)
    assert ("flop_ratio" in scalars) == bool(gated_views)


class ReadsOnTheHost(TorchDispatchMode):
    """Counts numbers that go from a tensor to Python, for which a GPU would be waited for."""

    count = 0

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        self.count += func in {
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.equal.default,
        }
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", sorted(method_classes()))
def test_methods_that_read_numbers_on_the_host_say_that_they_cannot_be_recorded(name: str) -> None:
    teacher = GatedResNet18(SETUP.config, branches=("dense",), image_size=16).eval()
    gates = GateConfig(steering="dual_ascent", diversity=0.1)
    config = MethodConfig(CONFIG.expander, gates, small_options(name, sub_batch=6))
    setup = dataclasses.replace(SETUP, teacher=teacher)
    method = MethodPlan(name, setup, config, budget_of(name), seed=0).build()
    progress = torch.tensor(0.5, dtype=torch.float64)
    method.before_step(0.5, torch.arange(6))
    shown = views(count=method.view_count)
    method(shown, progress, torch.Generator()).loss.backward()  # constants are made once
    method.before_step(0.5, torch.arange(6))
    with ReadsOnTheHost() as mode:
        method(shown, progress, torch.Generator()).loss.backward()
    assert method.recordable == (mode.count == 0), name


def test_both_branches_train_the_same_convolutions_but_their_own_norms() -> None:
    method = MethodPlan("dual_gating", SETUP, CONFIG, 0.5, seed=0).build()
    names = [name for name, _ in method.encoder.named_parameters()]
    assert sum("conv1.weight" in name for name in names) == 8
    assert sum("bn1.dense.weight" in name for name in names) == 8
    assert sum("bn1.gated.weight" in name for name in names) == 8
    assert sum("downsample.1.weight" in name for name in names) == 3
    method(views(), 0.0).loss.backward()
    without = [n for n, p in method.named_parameters() if p.grad is None]
    assert without == []


def test_baselines_have_a_single_branch_and_vicreg_no_gates() -> None:
    dense = MethodPlan("vicreg", SETUP, CONFIG, None, seed=0).build()
    gated = MethodPlan("vicreg_gating", SETUP, CONFIG, 0.5, seed=0).build()
    assert dense.encoder.branches == ("dense",)
    assert dense.gate_parameters() == []
    assert gated.encoder.branches == ("gated",)


def test_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = MethodPlan("dual_gating", SETUP, CONFIG, 0.5, seed=1).build()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    again = MethodPlan("dual_gating", SETUP, CONFIG, 0.5, seed=1).build()
    other = MethodPlan("dual_gating", SETUP, CONFIG, 0.5, seed=2).build()
    weights = [m.encoder.stem[0].weight for m in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_budget_and_name_are_checked() -> None:
    with pytest.raises(ValueError, match="needs a budget"):
        MethodPlan("dual_gating", SETUP, CONFIG, None, seed=0).build()
    with pytest.raises(ValueError, match=r"budget 0.01 cannot be met"):
        MethodPlan("dual_gating", SETUP, CONFIG, 0.01, seed=0).build()
    with pytest.raises(ValueError, match=r"'dual' is not known; known: .*dual_gating"):
        MethodPlan("dual", SETUP, CONFIG, 0.5, seed=0).build()


def test_collapse_measure_is_one_on_the_sphere_and_zero_when_collapsed() -> None:
    spread = torch.randn(4096, 32, generator=torch.Generator().manual_seed(0))
    assert float(normalised_deviation(spread)) == pytest.approx(1, abs=0.02)
    assert float(normalised_deviation(torch.ones(16, 8))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", sorted(method_classes()))
def test_training_on_small_views_costs_what_it_costs_for_small_images(name: str) -> None:
    teacher = GatedResNet18(SETUP.config, branches=("dense",), image_size=16).eval()

    def built(**changes: int) -> Method:
        setup = dataclasses.replace(SETUP, teacher=teacher, **changes)
        return MethodPlan(name, setup, CONFIG, budget_of(name), seed=0).build()

    whole, small, views_alone = built(), built(image_size=8), built(view_size=8)
    # Budgets that a nested method draws begin a little elsewhere at another size.
    assert views_alone.macs_per_image == pytest.approx(small.macs_per_image, rel=0.03)
    assert views_alone.macs_per_image < 0.5 * whole.macs_per_image
    assert views_alone.encoder.image_size == whole.encoder.image_size == 16
