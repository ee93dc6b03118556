"""The methods beyond Table 6.1, each against a step written out by hand."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from small_methods import budget_of, small_options
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.gating.budget import GateConfig, gate_objective
from ssl_kedro.losses.barlow_twins import BarlowTwinsConfig, barlow_twins_loss
from ssl_kedro.losses.seed import SeedTemperatures, seed_loss
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig, TwoViewMethod
from ssl_kedro.methods.dense_anchored import AnchorOptions
from ssl_kedro.methods.momentum_target import MomentumOptions
from ssl_kedro.methods.plan import MethodPlan, method_classes
from ssl_kedro.methods.seed import Seed, SeedOptions
from ssl_kedro.methods.simsiam import SimSiamOptions

SETUP = EncoderSetup(EncoderConfig(width=8), 16, (0.5,) * 3, (0.25,) * 3)
CONFIG = MethodConfig(expander=ExpanderConfig(32, 16), gates=GateConfig())
VICREG = VICRegConfig()


def views(seed: int = 0, count: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 6, 3, 16, 16, generator=generator).unbind()


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def teacher() -> GatedResNet18:
    torch.manual_seed(5)
    return GatedResNet18(EncoderConfig(width=4), branches=("dense",), image_size=16).eval()


def built(name: str, config: MethodConfig = CONFIG) -> Method:
    setup = dataclasses.replace(SETUP, teacher=teacher())
    return MethodPlan(name, setup, config, 0.3, seed=1).build()


def test_every_method_takes_a_step_that_reaches_all_it_trains() -> None:
    for name in method_classes():
        setup = dataclasses.replace(SETUP, teacher=teacher())
        config = dataclasses.replace(CONFIG, options=small_options(name, sub_batch=6))
        method = MethodPlan(name, setup, config, budget_of(name, 0.3), seed=0).build()
        shown = views(count=method.view_count)
        result = method(shown, 0.9, noise())  # when all that comes late has begun
        result.loss.backward()
        trained = {n: p for n, p in method.named_parameters() if p.requires_grad}
        assert [n for n, p in trained.items() if p.grad is None] == [], name
        assert all(torch.isfinite(value).all() for value in result.scalars.values()), name
        method.after_update(views()[0], 0.2)


def test_barlow_dual_is_barlow_twins_plus_the_gate_objective() -> None:
    options = BarlowTwinsConfig(redundancy=0.01, scale=0.5)
    method = built("barlow_dual_gating", dataclasses.replace(CONFIG, options=options))
    loss, scalars = method(views(), 0.2, noise())
    twin = built("barlow_dual_gating", dataclasses.replace(CONFIG, options=options))
    gated = twin.encoder(views()[0], "gated", noise())
    dense = twin.encoder(views()[1], "dense")
    z = [twin.expander(encoding.features) for encoding in (gated, dense)]
    expected, _ = barlow_twins_loss(*z, options)
    penalty, ratio = gate_objective(gated.masks, twin.encoder.cost(), 0.3, CONFIG.gates, 0.2)
    assert float(loss.detach()) == pytest.approx(float((expected + penalty).detach()), rel=1e-6)
    assert float(scalars["flop_ratio"]) == pytest.approx(float(ratio.detach()))


def test_options_of_another_method_are_refused() -> None:
    wrong = dataclasses.replace(CONFIG, options=SimSiamOptions())
    with pytest.raises(TypeError, match="expected BarlowTwinsConfig, found SimSiamOptions"):
        built("barlow_dual_gating", wrong)(views(), 0.0)


def test_two_encoders_share_nothing_but_the_expander() -> None:
    method = built("two_encoders")
    assert isinstance(method.encoder, EncoderPair)
    loss, _ = method(views(), 0.2, noise())
    dense, gated = method.encoder.member("dense"), method.encoder.member("gated")
    assert dense.gates() == []
    assert not {id(p) for p in dense.parameters()} & {id(p) for p in gated.parameters()}
    # By hand, each view through its own encoder.
    twin = built("two_encoders")
    first = twin.encoder.member("gated")(views()[0], "gated", noise())
    second = twin.encoder.member("dense")(views()[1], "dense")
    z = [twin.expander(e.features) for e in (first, second)]
    expected, _ = vicreg_loss(*z, VICREG)
    penalty, _ = gate_objective(first.masks, gated.cost(), 0.3, CONFIG.gates, 0.2)
    assert float(loss.detach()) == pytest.approx(float((expected + penalty).detach()), rel=1e-6)
    # With the dense view as a constant nothing moves the dense encoder, and only it.
    lone = built("two_encoders")
    gated_z = lone.expander(lone.encoder(views()[0], "gated", noise()).features)
    vicreg_loss(gated_z, z[1].detach(), VICREG)[0].backward()
    assert all(p.grad is None for p in lone.encoder.member("dense").parameters())
    assert all(p.grad is not None for p in lone.encoder.member("gated").parameters())
    assert sorted(map(id, method.gate_parameters())) == sorted(
        id(p) for gate in gated.gates() for p in gate.parameters()
    )


def test_without_invariance_is_dual_gating_less_that_term() -> None:
    loss, scalars = built("without_invariance")(views(), 0.2, noise())
    whole, _ = built("dual_gating")(views(), 0.2, noise())
    missing = VICREG.invariance * float(scalars["invariance"])
    assert float(whole.detach()) == pytest.approx(float(loss.detach()) + missing, rel=1e-5)
    assert missing > 0.1


def test_anchored_dense_branch_gets_the_gradient_of_plain_vicreg() -> None:
    # With following and gate penalty off, nothing of the gated pass may reach the weights.
    config = dataclasses.replace(
        CONFIG, options=AnchorOptions(following=0.0), gates=GateConfig(sparsity=0, bound=0)
    )
    method = built("dense_anchored", config)
    method(views(), 0.0, noise()).loss.backward()
    twin = built("dense_anchored", config)
    z = [twin.expander(twin.encoder(view, "dense").features) for view in views()]
    vicreg_loss(*z, VICREG)[0].backward()
    for name, wanted in twin.encoder.named_parameters():
        found = dict(method.encoder.named_parameters())[name].grad
        if wanted.grad is None:
            assert found is None or not found.any(), name
        else:
            assert found is not None
            assert torch.allclose(found, wanted.grad, atol=1e-6), name


def test_anchored_dense_branch_takes_the_steps_of_the_dense_baseline() -> None:
    # With everything on: what the branches share learns from the dense views alone.
    method, twin = built("dense_anchored"), built("dense_anchored")
    method(views(), 0.1, noise()).loss.backward()
    z = [twin.expander(twin.encoder(view, "dense").features) for view in views()]
    vicreg_loss(*z, VICREG)[0].backward()
    gates = {id(p) for p in method.gate_parameters()}
    for name, p in method.encoder.named_parameters():
        wanted = twin.encoder.get_parameter(name).grad
        if id(p) in gates or ".gated." in name:
            assert p.grad is not None, name
            assert p.grad.any(), name
        else:
            assert p.grad is not None
            assert wanted is not None
            assert torch.allclose(p.grad, wanted, atol=1e-6), name
    everything = built(
        "dense_anchored", dataclasses.replace(CONFIG, options=AnchorOptions(shared=True))
    )
    everything(views(), 0.1, noise()).loss.backward()
    mixed, alone = (m.encoder.stem[0].weight.grad for m in (everything, method))
    assert not torch.allclose(mixed, alone, atol=1e-6)


def test_anchored_gated_view_follows_the_other_views_dense_embedding() -> None:
    method = built("dense_anchored")
    loss, scalars = method(views(), 0.2, noise())
    twin = built("dense_anchored")
    dense = [twin.expander(twin.encoder(view, "dense").features) for view in views()]
    gated = twin.encoder(views()[0], "gated", noise())
    following = ((twin.expander(gated.features) - dense[1]) ** 2).mean()
    penalty, _ = gate_objective(gated.masks, twin.encoder.cost(), 0.3, CONFIG.gates, 0.2)
    expected = vicreg_loss(*dense, VICREG)[0] + 25 * following + penalty
    assert float(scalars["following"]) == pytest.approx(float(following.detach()), rel=1e-5)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    # The gated view leaves the shared head alone: with VICReg off it has no gradient.
    silent = dataclasses.replace(
        CONFIG, options=AnchorOptions(vicreg=VICRegConfig(25, variance=0, covariance=0))
    )
    lone = built("dense_anchored", silent)
    same_views = (views()[0], views()[0])
    lone(same_views, 0.2, noise()).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in lone.expander.parameters())
    assert any(p.grad is not None and p.grad.any() for p in lone.encoder.parameters())
    assert method.macs_per_image == pytest.approx(1.5 * built("dual_gating").macs_per_image)


@pytest.mark.parametrize(
    ("name", "branches"),
    [
        ("simsiam", ("dense", "dense")),
        ("simsiam_dual_gating", ("gated", "dense")),
        ("simsiam_gating", ("gated", "gated")),
    ],
)
def test_simsiam_predicts_each_view_from_the_other(name: str, branches: tuple[str, str]) -> None:
    method = built(name)
    loss, scalars = method(views(), 0.2, noise())
    twin = built(name)
    generator = noise()
    encodings = [
        twin.encoder(view, branch, generator)
        for view, branch in zip(views(), branches, strict=True)
    ]
    z = [twin.projector(encoding.features) for encoding in encodings]
    p = [twin.predictor(value) for value in z]
    cosines = [
        float((nn.functional.normalize(a, dim=1) * nn.functional.normalize(b, dim=1)).sum(1).mean())
        for a, b in ((p[0], z[1]), (p[1], z[0]))
    ]
    expected = -sum(cosines) / 2
    assert float(scalars["similarity"]) == pytest.approx(-expected, rel=1e-5)
    for encoding in encodings:
        # The gate losses of the views add up.
        if encoding.masks:
            cost = twin.encoder.cost()
            penalty, _ = gate_objective(encoding.masks, cost, 0.3, CONFIG.gates, 0.2)
            expected += float(penalty.detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_simsiam_targets_are_constants() -> None:
    # A predictor that puts out a constant leaves no path to the encoder but the targets.
    method = built("simsiam")
    last = method.predictor[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(1.0)
    method(views(), 0.0).loss.backward()
    assert all(not p.grad.any() for p in method.encoder.parameters() if p.grad is not None)


def test_students_need_a_teacher_and_leave_it_alone() -> None:
    for name in ("simreg", "seed"):
        with pytest.raises(ValueError, match="needs a teacher"):
            MethodPlan(name, SETUP, CONFIG, 0.3, seed=0).build()
        method = built(name)
        before = copy.deepcopy(method.teacher.encoder.state_dict())
        method.train()
        method(views(), 0.0).loss.backward()
        after = method.teacher.encoder.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert all(p.grad is None for p in method.teacher.encoder.parameters())
        assert not any("teacher" in key for key in method.state_dict())
        # Forward and backward of the student, forward of the teacher, for two views.
        student, asked = method.encoder.cost().dense, method.teacher.encoder.cost().dense
        assert method.macs_per_image == 2 * (3 * student + asked)


def test_simreg_regresses_normalised_features_of_both_views() -> None:
    method = built("simreg")
    loss, _ = method(views(), 0.0)
    twin = built("simreg")
    distances = []
    for view in views():
        prediction = nn.functional.normalize(twin.head(twin.encoder(view, "dense").features), dim=1)
        with torch.no_grad():
            target = nn.functional.normalize(teacher()(view, "dense").features, dim=1)
        distances.append(((prediction - target) ** 2).sum(1).mean())
    assert float(loss.detach()) == pytest.approx(float(sum(distances)) / 2, rel=1e-5)


def test_seed_queue_is_a_ring_of_the_teachers_latest_embeddings() -> None:
    options = SeedOptions(queue=20, temperatures=SeedTemperatures(0.2, 0.05))
    method = built("seed", dataclasses.replace(CONFIG, options=options))
    assert isinstance(method, Seed)
    remembered: list[Tensor] = []
    for step in range(3):
        pair = views(step)
        held = torch.cat(remembered)[-20:] if remembered else torch.zeros(0, 32)
        twin = copy.deepcopy(method)
        loss, _ = method(pair, 0.0)
        expected = []
        for view in pair:
            student = nn.functional.normalize(
                twin.head(twin.encoder(view, "dense").features), dim=1
            )
            with torch.no_grad():
                wanted = nn.functional.normalize(teacher()(view, "dense").features, dim=1)
            expected.append(seed_loss(student, wanted, held, options.temperatures))
            remembered.append(wanted)
        assert float(loss.detach()) == pytest.approx(float(sum(expected)) / 2, rel=1e-5)
        loss.backward()
        method.after_update(views()[0], 0.0)
    # 36 embeddings through a ring of 20: the last 20, in any order.
    latest = torch.cat(remembered)[-20:]
    distances = torch.cdist(latest, method.queue)
    assert float(distances.min(dim=1).values.max()) < 1e-5


def test_byol_target_follows_the_online_network_and_gets_no_gradient() -> None:
    options = MomentumOptions(momentum=0.9)
    method = built("byol_dual_gating", dataclasses.replace(CONFIG, options=options))
    start = [p.clone() for p in method.target.parameters()]
    online = [*method.encoder.parameters(), *method.projector.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(start, online, strict=True))
    method(views(), 0.0, noise()).loss.backward()
    assert all(p.grad is None for p in method.target.parameters())
    with torch.no_grad():
        for p in online:
            p += 1.0
    method.after_update(views()[0], 0.5)
    # Halfway along the cosine the momentum is (0.9 + 1) / 2: five hundredths of the way.
    for before, after in zip(start, method.target.parameters(), strict=True):
        assert torch.allclose(after, before + 0.05, atol=1e-5)
    method.after_update(views()[0], 1.0)
    assert torch.allclose(next(method.target.parameters()), start[0] + 0.05, atol=1e-5)


def test_byol_regresses_each_prediction_onto_the_other_views_target() -> None:
    method = built("byol_dual_gating")
    loss, _ = method(views(), 0.2, noise())
    twin = built("byol_dual_gating")
    first = twin.encoder(views()[0], "gated", noise())
    second = twin.encoder(views()[1], "dense")
    q = [twin.predictor(twin.projector(e.features)) for e in (first, second)]
    # Before any update the target is the dense online network.
    fresh = built("byol_dual_gating")
    t = [fresh.projector(fresh.encoder(view, "dense").features) for view in views()]
    unit = [nn.functional.normalize(x, dim=1) for x in (*q, *t)]
    expected = ((unit[0] - unit[3]) ** 2).sum(1).mean() + ((unit[1] - unit[2]) ** 2).sum(1).mean()
    penalty, _ = gate_objective(first.masks, twin.encoder.cost(), 0.3, CONFIG.gates, 0.2)
    assert float(loss.detach()) == pytest.approx(float((expected + penalty).detach()), rel=1e-5)


@pytest.mark.parametrize("name", ["dual_gating", "simsiam_gating", "byol_dual_gating"])
def test_steered_methods_measure_what_their_gates_cost_as_deployed(name: str) -> None:
    gates = dataclasses.replace(CONFIG.gates, steering="dual_ascent")
    method = built(name, dataclasses.replace(CONFIG, gates=gates))
    assert isinstance(method, TwoViewMethod)
    assert method.penalty is not None
    view = views()[0]
    method.before_step(0.1, torch.arange(4))
    decided = method(views(), 0.1, noise()).scalars["deployed_ratio"]
    method.after_update(view, 0.1001)
    assert float(method.penalty.deployed_gap) == 0.0
    method.after_update(view, 0.2)
    assert method.encoder.training
    method.encoder.eval()
    deployed = method.encoder.cost().ratio(method.encoder(view, "gated").masks)
    if name != "simsiam_gating":  # Whose last decisions are those of the other view.
        expected = 0.2 * float(deployed - decided)
        assert float(method.penalty.deployed_gap) == pytest.approx(expected, abs=1e-6)
    assert float(method.penalty.deployed_gap) != 0.0


@pytest.mark.parametrize("name", ["vicreg_gating", "two_encoders", "simsiam_gating"])
def test_warmup_reaches_every_gate_of_a_method(name: str) -> None:
    gates = dataclasses.replace(CONFIG.gates, warmup=0.4)
    method = built(name, dataclasses.replace(CONFIG, gates=gates))
    method.before_step(0.0, torch.arange(4))
    assert float(method(views(), 0.0, noise()).scalars["flop_ratio"]) == pytest.approx(1, abs=0.01)
    method.before_step(0.1, torch.arange(4))
    assert {gate.opening for gate in method.encoder.gates()} == {15.0}
    method.before_step(0.5, torch.arange(4))
    assert {gate.opening for gate in method.encoder.gates()} == {0.0}
