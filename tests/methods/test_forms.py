"""Further methods in their three forms, each against a step written out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from lightly.models.modules import heads
from torch import Tensor, nn

from small_methods import budget_of, small_options
from ssl_kedro.core.config import Config, ConfigError
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.gating.budget import GateConfig, gate_objective
from ssl_kedro.losses.barlow_twins import barlow_twins_loss
from ssl_kedro.losses.cosine import normalised_regression
from ssl_kedro.losses.dino import dino_loss
from ssl_kedro.losses.info_nce import in_batch_nce, nt_xent, queue_nce
from ssl_kedro.losses.wmse import wmse_loss
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig, TwoViewMethod
from ssl_kedro.methods.dino import DINO, DINOOptions
from ssl_kedro.methods.moco_v2 import MoCoV2, MoCoV2Options
from ssl_kedro.methods.momentum_target import MomentumMethod
from ssl_kedro.methods.plan import MethodPlan, method_classes
from ssl_kedro.methods.wmse import WMSE, WMSEOptions
from ssl_kedro.pipelines.gated.variants import DUAL_GATING, FAMILIES

SETUP = EncoderSetup(EncoderConfig(width=8), 16, (0.5,) * 3, (0.25,) * 3)
CONFIG = MethodConfig(expander=ExpanderConfig(32, 16), gates=GateConfig())
BRANCHES = {"": ("dense", "dense"), "_gating": ("gated", "gated"), "_dual": ("gated", "dense")}
SLOW = ("byol", "moco_v2", "moco_v3", "dino")


def views(seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 6, 3, 16, 16, generator=generator).unbind()


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def built(name: str, options: Config | None = None) -> TwoViewMethod:
    options = options or small_options(name, sub_batch=6)
    config = dataclasses.replace(CONFIG, options=options)
    method = MethodPlan(name, SETUP, config, budget_of(name, 0.3), seed=1).build()
    assert isinstance(method, TwoViewMethod)
    return method


def method_name(family: str, form: str) -> str:
    return DUAL_GATING[f"{family}{form}"].method


Twin = TwoViewMethod
Losses = Callable[[Twin, list[Tensor], list[Tensor]], Tensor]


def predicted(twin: Twin, z: list[Tensor]) -> list[Tensor]:
    return [twin.predictor(one) for one in z]  # type: ignore[operator]


def of_byol(twin: Twin, z: list[Tensor], t: list[Tensor]) -> Tensor:
    p = predicted(twin, z)
    return normalised_regression(p[0], t[1]) + normalised_regression(p[1], t[0])


def of_moco_v2(twin: Twin, z: list[Tensor], t: list[Tensor]) -> Tensor:
    queue = twin.get_buffer("queue")
    return (queue_nce(z[0], t[1], queue, 0.1) + queue_nce(z[1], t[0], queue, 0.1)) / 2


def of_moco_v3(twin: Twin, z: list[Tensor], t: list[Tensor]) -> Tensor:
    p = predicted(twin, z)
    return in_batch_nce(p[0], t[1], 0.2) + in_batch_nce(p[1], t[0], 0.2)


def of_dino(twin: Twin, z: list[Tensor], t: list[Tensor]) -> Tensor:
    assert isinstance(twin, DINO)
    prototypes = nn.functional.normalize(twin.projector[1].weight, dim=1)  # type: ignore[index]
    s = [nn.functional.normalize(one, dim=1) @ prototypes.T for one in z]
    return dino_loss((s[0], s[1]), (t[0], t[1]), torch.zeros(24), 0.1, torch.tensor(0.07))


LOSSES: dict[str, Losses] = {
    "byol": of_byol,
    "moco_v2": of_moco_v2,
    "moco_v3": of_moco_v3,
    "dino": of_dino,
    "simclr": lambda twin, z, _: nt_xent(z[0], z[1], 0.5),
    "wmse": lambda twin, z, _: wmse_loss(z[0], z[1], 6),
    "barlow": lambda twin, z, _: barlow_twins_loss(z[0], z[1], twin.options)[0],
}


@pytest.mark.parametrize("form", BRANCHES)
@pytest.mark.parametrize("family", LOSSES)
def test_step_is_the_loss_of_its_branches_plus_the_gate_objective(family: str, form: str) -> None:
    """Also of the slow target, which is dense wherever a view is."""
    name, branches = method_name(family, form), BRANCHES[form]
    method = built(name)
    method.before_step(0.2, torch.arange(6))
    loss, scalars = method(views(), 0.2, noise())
    twin, source, targets = built(name), noise(), []
    if family in SLOW:
        branch = "dense" if "dense" in branches else "gated"
        fresh = built(name)  # before any update the target is the online network
        for view in views():
            parts = 2 if family == "moco_v2" else 1
            found = [
                fresh.projector(fresh.encoder(view[k::parts], branch, source).features)  # type: ignore[operator]
                for k in range(parts)
            ]
            whole = torch.empty(6, found[0].shape[1])
            for k, part in enumerate(found):
                whole[k::parts] = part.detach()
            targets.append(whole)
    encodings = [twin.encoder(v, b, source) for v, b in zip(views(), branches, strict=True)]
    expected = LOSSES[family](twin, [twin.embedded(e.features) for e in encodings], targets)
    for encoding in encodings:
        if encoding.masks:
            cost, gates = twin.encoder.cost(), CONFIG.gates
            expected = expected + gate_objective(encoding.masks, cost, 0.3, gates, 0.2)[0]
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert ("flop_ratio" in scalars) == ("gated" in branches)
    assert 0 < float(scalars["embedding_std"]) < 2


def test_every_family_has_three_forms() -> None:
    for family in FAMILIES:
        for form, branches in BRANCHES.items():
            kind = method_classes()[method_name(family, form)]
            assert issubclass(kind, TwoViewMethod)
            assert kind.view_branches == branches
            assert DUAL_GATING[f"{family}{form}"].gated == ("gated" in branches)


@pytest.mark.parametrize("form", BRANCHES)
@pytest.mark.parametrize("family", SLOW)
def test_targets_take_no_gradient_and_follow_by_the_formula(family: str, form: str) -> None:
    method = built(method_name(family, form))
    assert isinstance(method, MomentumMethod)
    method(views(), 0.0, noise()).loss.backward()
    assert all(p.grad is None for p in method.target.parameters())
    before = [p.clone() for p in method.target.parameters()]
    with torch.no_grad():
        for p in (*method.encoder.parameters(), *method.projector.parameters()):
            p += 1.0
    method.after_update(views()[0], 0.5)
    # Halfway along the cosine; MoCo v2's momentum is constant.
    momentum = method.options.momentum if family == "moco_v2" else (method.options.momentum + 1) / 2
    for old, new in zip(before, method.target.parameters(), strict=True):
        assert torch.allclose(new, old + (1 - momentum), atol=1e-6)


def test_gates_of_a_gated_target_are_warmed_up_as_the_others() -> None:
    gates = dataclasses.replace(CONFIG.gates, warmup=0.4)
    config = MethodConfig(CONFIG.expander, gates, small_options("byol_gating"))
    method = MethodPlan("byol_gating", SETUP, config, 0.3, seed=1).build()
    assert isinstance(method, MomentumMethod)
    method.before_step(0.1, torch.arange(6))
    assert {gate.opening for gate in method.target.encoder.gates()} == {15.0}


def test_queue_holds_the_latest_keys_in_the_order_of_views() -> None:
    method = built("moco_v2_dual_gating", MoCoV2Options(queue=20, splits=3))
    assert isinstance(method, MoCoV2)
    assert torch.allclose(method.queue.norm(dim=1), torch.ones(20))
    keys: list[Tensor] = []
    for step in range(2):
        shown = views(step)
        with torch.no_grad():
            keys += [method.target(view, None, 3) for view in shown]
        before = method.queue.clone()
        method(shown, 0.0, noise())
        assert torch.equal(method.queue, before)
        method.after_update(shown[0], 0.1)
    # 24 keys through a ring of 20: the last four lie over the first.
    unit = nn.functional.normalize(torch.cat(keys), dim=1)
    expected = torch.cat([unit[20:], unit[4:20]])
    assert torch.allclose(method.queue, expected, atol=1e-5)
    assert int(method.queued) == 24


def test_a_split_target_normalises_each_part_on_its_own() -> None:
    """The leak: with one part, another image of the batch moves an image's key."""
    options = MoCoV2Options(queue=20, splits=3)
    method = built("moco_v2", options)
    assert isinstance(method, MoCoV2)
    view = views()[0]
    other = view.clone()
    other[1] = 1 - other[1]  # with image 4 in the second part
    with torch.no_grad():
        split = [method.target(v, None, 3) for v in (view, other)]
        whole = [method.target(v) for v in (view, other)]
    moved = (split[0] - split[1]).abs().amax(dim=1) > 1e-5
    assert moved.tolist() == [False, True, False, False, True, False]
    assert bool(((whole[0] - whole[1]).abs().amax(dim=1) > 1e-5).all())


@pytest.mark.parametrize(("splits", "rows", "processes"), [(4, 6, 1), (2, 6, 2), (6, 6, 1)])
def test_splits_that_do_not_part_a_batch_are_refused(
    splits: int, rows: int, processes: int
) -> None:
    config = MethodConfig(options=MoCoV2Options(splits=splits))
    if (splits, rows, processes) == (2, 6, 2):
        MoCoV2.check_batch(config, rows, 1)
    with pytest.raises(ConfigError, match=f"splits = {splits}"):
        MoCoV2.check_batch(config, rows, processes)


def test_wmse_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"embedding = 65: .* half of sub_batch = 128"):
        WMSEOptions(embedding=65)
    with pytest.raises(ConfigError, match=r"sub_batch = 128: expected a divisor of .* 500"):
        WMSE.check_batch(MethodConfig(options=WMSEOptions()), 500, 1)
    WMSE.check_batch(MethodConfig(options=WMSEOptions()), 512, 3)
    # What follows a layer of 63 has 63 directions at most.
    narrow = MethodConfig(ExpanderConfig(hidden=63), options=WMSEOptions())
    with pytest.raises(ConfigError, match=r"embedding = 64: expected at most expander.hidden = 63"):
        WMSE.check_batch(narrow, 512, 1)


def test_dino_sharpens_freezes_and_centres() -> None:
    options = DINOOptions(
        prototypes=24, bottleneck=8, frozen=0.2, teacher_warmup=0.5, centre_momentum=0.75
    )
    method = built("dino_dual_gating", options)
    assert isinstance(method, DINO)
    prototypes = method.projector[1]  # type: ignore[index]
    with torch.no_grad():
        outputs = torch.cat([method.target(view) for view in views()])
    for progress, temperature, learns in (
        (0.0, 0.04, False),
        (0.25, 0.055, True),
        (0.9, 0.07, True),
    ):
        method.before_step(progress, torch.arange(6))
        assert float(method.sharpness) == pytest.approx(temperature)
        method.zero_grad()
        before = method.centre.clone()
        method(views(), progress, noise()).loss.backward()
        assert torch.equal(method.centre, before)  # the step may yet be found not to be finite
        method.after_update(views()[0], progress)
        assert bool(prototypes.weight.grad.any()) == learns  # type: ignore[union-attr]
        assert bool(method.projector[0][0].weight.grad.any())  # type: ignore[index, union-attr]
    # Three steps with the same images: a quarter of the mean, and so on.
    expected = (1 - 0.75**3) * outputs.mean(dim=0)
    assert torch.allclose(method.centre, expected, atol=1e-5)


def test_dinos_head_is_that_of_lightlys_benchmark_on_cifar10() -> None:
    """cifar10_benchmark.py, DINOModel: one hidden layer in place of the two of lightly's head."""
    torch.manual_seed(0)
    peer = heads.DINOProjectionHead(64, 32, 8, 24, batch_norm=True)
    layers = [(64, 32, nn.BatchNorm1d(32), nn.GELU()), (32, 8, None, None)]
    peer.layers = heads.ProjectionHead(layers).layers
    ours = built("dino", DINOOptions(prototypes=24, bottleneck=8)).projector
    theirs = [p for p in peer.parameters() if p.requires_grad]
    # A bias that a batch norm follows does nothing; lightly has none.
    mine = [p for name, p in ours.named_parameters() if name != "0.0.bias"]  # type: ignore[union-attr]
    for p, given in zip(mine, [*theirs[:5], theirs[-1]], strict=True):
        p.data.copy_(given)
    x = torch.randn(10, 64)
    torch.testing.assert_close(ours(x), peer(x))  # type: ignore[operator]


def test_state_that_a_checkpoint_must_hold_is_in_it() -> None:
    for name, keys in (("moco_v2", {"queue", "queued"}), ("dino", {"centre"})):
        method: Method = built(name)
        assert keys <= method.state_dict().keys()
