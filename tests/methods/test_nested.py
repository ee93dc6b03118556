"""Nested methods against steps written out with plain networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders.test_nested_resnet18 import cut_by_hand
from outside.three_convolutions import ThreeShape
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.losses.cosine import negative_cosine
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig
from ssl_kedro.methods.nested import Nested, NestedMethod, NestedOptions, VICRegNestedOptions
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.methods.simsiam_nested import SimSiamNested, SimSiamNestedOptions
from ssl_kedro.methods.vicreg import VICReg
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.execution import choose_execution
from ssl_kedro.training.loop import train, train_encoder
from ssl_kedro.training.planned import EncoderTraining

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
OPTIONS = {"nested": VICRegNestedOptions, "simsiam_nested": SimSiamNestedOptions}
SETUP = EncoderSetup(EncoderConfig("cifar_pad1", 8), 16, MEAN, STD)


def built(name: str = "nested", **options: float) -> NestedMethod:
    config = MethodConfig(ExpanderConfig(32, 16), options=OPTIONS[name](**options))
    method = MethodPlan(name, SETUP, config, None, seed=1).build()
    assert isinstance(method, NestedMethod)
    return method


def views(count: int = 3) -> tuple[Tensor, ...]:
    return torch.rand(count, 6, 3, 16, 16, generator=torch.Generator().manual_seed(0)).unbind()


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def narrow_features(method: NestedMethod, view: Tensor, budget: float) -> Tensor:
    """By a plain network that has so many inner channels."""
    counts = method.encoder.shape_at(budget).inner_channels
    assert counts is not None
    return cut_by_hand(method.encoder, counts).train()(view, "dense").features


@pytest.mark.parametrize("narrow_views", [1, 2])
def test_a_step_is_vicreg_of_whole_views_and_of_each_narrow_one_with_both(
    narrow_views: int,
) -> None:
    method, twin = (built(narrow_views=narrow_views, weight=0.7) for _ in range(2))
    assert isinstance(twin, Nested)
    assert method.view_count == 2 + narrow_views
    shown = views(2 + narrow_views)
    budgets = twin.drawn_budgets(noise(), torch.device("cpu"))
    z = [twin.expander(twin.encoder(view, "dense").features) for view in shown[:2]]
    expected, _ = vicreg_loss(*z, VICRegConfig())
    for view, budget in zip(shown[2:], budgets, strict=True):
        narrow = twin.expander(narrow_features(twin, view, budget))
        for whole in z:
            pair, _ = vicreg_loss(narrow, whole, VICRegConfig())
            expected = expected + 0.7 * pair / (2 * narrow_views)
    result = method(shown, 0.8, noise())
    assert float(result.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    result.loss.backward()
    expected.backward()
    assert all(p.grad is not None for p in method.parameters())
    # Both sides of a pair learn from it: the head and the stem alike.
    for name in ("expander.0.weight", "encoder.stem.0.weight"):
        found, wanted = method.get_parameter(name).grad, twin.get_parameter(name).grad
        assert found is not None
        if name.startswith("expander"):
            assert wanted is not None
            assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_the_simsiam_form_predicts_both_ways() -> None:
    method, twin = built("simsiam_nested"), built("simsiam_nested")
    assert isinstance(twin, SimSiamNested)
    shown = views()
    (budget,) = twin.drawn_budgets(noise(), torch.device("cpu"))
    z = [twin.projector(twin.encoder(view, "dense").features) for view in shown[:2]]
    narrow = twin.projector(narrow_features(twin, shown[2], budget))

    def of(a: Tensor, b: Tensor) -> Tensor:
        p, q = twin.predictor(a), twin.predictor(b)
        return (negative_cosine(p, b) + negative_cosine(q, a)) / 2

    expected = of(*z) + 0.5 * (of(narrow, z[0]) + of(narrow, z[1])) / 2
    loss = method(shown, 0.8, noise()).loss
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_budgets_are_even_in_their_logarithms_and_each_view_has_its_part() -> None:
    method = built(smallest=0.12, largest=0.48, narrow_views=2)
    generator, device = noise(), torch.device("cpu")
    drawn = np.array([method.drawn_budgets(generator, device) for _ in range(4000)])
    assert 0.12 <= drawn[:, 0].min() < 0.121
    assert drawn[:, 0].max() < 0.24 < drawn[:, 1].min() + 1e-6
    assert 0.478 < drawn[:, 1].max() < 0.48
    # Halves of each part in logarithms: below .12 sqrt(2), below .24 sqrt(2).
    for column, middle in ((0, 0.12 * math.sqrt(2)), (1, 0.24 * math.sqrt(2))):
        assert abs((drawn[:, column] < middle).mean() - 0.5) < 5 * 0.5 / math.sqrt(4000)


def test_macs_are_what_the_drawn_networks_cost_on_average() -> None:
    method = built(narrow_views=2)
    generator, dense = noise(), method.encoder.cost().dense
    passes = []
    for _ in range(500):
        shapes = map(method.encoder.shape_at, method.drawn_budgets(generator, torch.device("cpu")))
        passes.append(
            sum(cut_by_hand(method.encoder, s.inner_channels).cost().dense for s in shapes)
        )
    expected = 3 * (2 * dense + np.mean(passes))
    assert method.macs_per_image == pytest.approx(expected, rel=0.02)


def test_a_training_draws_as_many_views_and_leaves_a_calibrated_encoder() -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 3, 16, 16), dtype=np.uint8)
    recipe = TrainConfig(epochs=2, batch_size=8, warmup_epochs=0, precision="fp32")
    config = MethodConfig(ExpanderConfig(32, 16), options=VICRegNestedOptions(narrow_views=2))
    plan = MethodPlan("nested", SETUP, config, None, seed=3)
    training = EncoderTraining(plan, ViewConfig(), recipe, Execution("cpu", "fp32"), 3, "x", {})
    result = train_encoder(training, images)
    encoder = result.method.encoder
    assert encoder.gated(images, budget=0.3).isfinite().all()
    # By hand: the same steps with the views drawn here.
    method = plan.build()
    source = BatchSource(images, 8, torch.device("cpu"), 3)
    train(method, source, SeveralViews(RandomViews(ViewConfig()), 4), recipe)
    assert torch.equal(method.encoder.stem[0].weight, encoder.stem[0].weight)
    way = choose_execution(plan.build(), (3, 16, 16), TrainConfig(batch_size=8, precision="auto"))
    assert way.trial_ms


def test_first_views_are_those_of_every_method() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    two, three = (
        SeveralViews(RandomViews(ViewConfig()), count)(images, torch.Generator().manual_seed(1))
        for count in (2, 3)
    )
    assert all(torch.equal(a, b) for a, b in zip(two, three, strict=False))
    assert not torch.equal(three[1], three[2])
    method = MethodPlan("vicreg", SETUP, MethodConfig(ExpanderConfig(32, 16)), None, 1).build()
    assert isinstance(method, VICReg)
    assert method.view_count == Method.view_count == 2


def test_what_it_cannot_train_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"largest = 0\.1: expected more than smallest, 0\.12"):
        NestedOptions(largest=0.1)
    few = built(smallest=0.01)
    assert few.smallest == few.encoder.smallest_budget > 0.01
    assert min(few.drawn_budgets(noise(), torch.device("cpu"))) >= few.smallest
    with pytest.raises(ConfigError, match=r"largest = 0\.05: expected more than 0\.\d+, what one"):
        built(smallest=0.01, largest=0.05)
    setup = EncoderSetup(ThreeShape(), 16, MEAN, STD)
    with pytest.raises(ConfigError, match="architecture"):
        MethodPlan("nested", setup, MethodConfig(), None, 1).build()
