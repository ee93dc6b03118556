"""Universally slimmable methods against steps written out with plain networks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoders.test_slimmable_resnet18 import cut_by_hand
from outside.three_convolutions import ThreeShape
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.factory import EncoderSetup, encoder_setup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.slimmable_resnet18 import SlimmableResNet18
from ssl_kedro.losses.cosine import negative_cosine
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.methods.simsiam_slim import SimSiamSlim, SimSiamSlimOptions
from ssl_kedro.methods.slim import Slim, SlimmableMethod, SlimOptions, VICRegSlimOptions
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.loop import train
from ssl_kedro.training.optimisers import parameter_groups

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
OPTIONS = {"slim": VICRegSlimOptions, "simsiam_slim": SimSiamSlimOptions}


def built(name: str = "slim", width: int = 8, **options: float) -> SlimmableMethod:
    setup = EncoderSetup(EncoderConfig("cifar_pad1", width), 16, MEAN, STD)
    config = MethodConfig(ExpanderConfig(32, 16), options=OPTIONS[name](**options))
    method = MethodPlan(name, setup, config, None, seed=1).build()
    assert isinstance(method, SlimmableMethod)
    return method


def views() -> tuple[Tensor, Tensor]:
    pair = torch.rand(2, 6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return pair[0], pair[1]


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def narrow_embeddings(method: SlimmableMethod, width: int) -> list[Tensor]:
    """By a plain network of that width, and a head whose first layer reads that many features."""
    thin = cut_by_hand(method.encoder, width).train()
    layers = [m for m in method.head.modules() if not isinstance(m, nn.Sequential)]
    found = []
    for view in views():
        x = thin(view, "dense").features
        for index, layer in enumerate(layers):
            if index == 0:
                x = nn.functional.linear(x, layer.weight[:, : x.shape[1]], layer.bias)
            else:
                x = layer(x)
        found.append(x)
    return found


@pytest.mark.parametrize(("momentum", "base"), [(0.0, 0.5), (0.99, 0.0)])
def test_a_step_is_vicreg_and_what_narrow_networks_make_of_the_other_view(
    momentum: float, base: float
) -> None:
    method = built(momentum=momentum, base=base, distillation=2.0, passes=4)
    twin = built(momentum=momentum, passes=4)
    widths = twin.sampled_widths(0.8, noise(), torch.device("cpu"))
    assert len(widths) == 3
    assert widths[0] == 2
    z = [twin.expander(twin.encoder(view, "dense").features) for view in views()]
    expected, _ = vicreg_loss(*z, VICRegConfig())
    # Before any update the moving average is the network itself.
    target = [embedding.detach() for embedding in z]
    for width in widths:
        narrow = narrow_embeddings(twin, width)
        p = [twin.distillation_head(embedding) for embedding in narrow]
        errors = ((p[0] - target[1]) ** 2).mean() + ((p[1] - target[0]) ** 2).mean()
        expected = expected + 2.0 * 25 * errors / 2
        expected = expected + base * vicreg_loss(*narrow, VICRegConfig())[0]
    result = method(views(), 0.8, noise())
    assert float(result.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    result.loss.backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    if method.target is not None:
        assert all(p.grad is None for p in method.target.parameters())


def test_the_simsiam_form_predicts_projections_with_a_head_of_its_own() -> None:
    method, twin = built("simsiam_slim"), built("simsiam_slim")
    assert isinstance(twin, SimSiamSlim)
    (low, drawn) = twin.sampled_widths(0.6, noise(), torch.device("cpu"))
    z = [twin.projector(twin.encoder(view, "dense").features) for view in views()]
    p = [twin.predictor(embedding) for embedding in z]
    expected = (negative_cosine(p[0], z[1]) + negative_cosine(p[1], z[0])) / 2
    for width in (low, drawn):
        q = [twin.distillation_head(x) for x in narrow_embeddings(twin, width)]
        cosines = [nn.functional.cosine_similarity(q[i], z[1 - i].detach()) for i in range(2)]
        expected = expected - (cosines[0].mean() + cosines[1].mean()) / 2
    loss = method(views(), 0.6, noise()).loss
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert {id(p) for p in method.constant_rate_parameters()} == {
        id(p) for p in method.get_submodule("predictor").parameters()
    }


def test_widths_are_drawn_from_a_range_that_grows_by_stages() -> None:
    method = built(width=16)
    lowest = [method.lowest_width(progress) for progress in (0, 0.24, 0.25, 0.5, 0.74, 0.75, 0.99)]
    assert lowest == [16, 16, 12, 8, 8, 4, 4]
    assert built(width=16, stages=1).lowest_width(0) == 4
    generator, device = noise(), torch.device("cpu")
    assert method.sampled_widths(0.1, generator, device) == []
    draws = 12_000
    found = [method.sampled_widths(0.5, generator, device) for _ in range(draws)]
    assert {widths[0] for widths in found} == {8}
    counts = Counter(widths[1] for widths in found)
    assert counts.keys() == set(range(9, 16))
    for count in counts.values():
        assert abs(count / draws - 1 / 7) < 5 * (1 / 7 * 6 / 7 / draws) ** 0.5
    # No width lies between 7 and 8 channels: only the lowest is left to draw.
    assert built(width=8, smallest=0.8).sampled_widths(0.9, noise(), device) == [7]
    # In the first stage a step is the base method's.
    scalars = method(views(), 0.1, noise()).scalars
    assert float(scalars["distillation"]) == 0


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_macs_are_what_the_drawn_networks_cost_on_average(momentum: float) -> None:
    method = built(momentum=momentum, passes=4)
    plain_ones = [
        GatedResNet18(EncoderConfig("cifar_pad1", width), branches=("dense",), image_size=16)
        for width in range(2, 9)
    ]
    costs = [encoder.cost().dense for encoder in plain_ones]
    generator, total, steps = noise(), 0.0, 2000
    spread = []
    for step in range(steps):
        widths = method.sampled_widths(step / steps, generator, torch.device("cpu"))
        macs = 6 * (costs[-1] + sum(costs[width - 2] for width in widths))
        macs += 2 * costs[-1] * (momentum > 0) * (len(widths) > 0)
        total += macs
        spread.append(macs)
    error = float(np.std(spread)) / steps**0.5
    assert abs(total / steps - method.macs_per_image) < 4 * error
    # By hand where nothing is random: half the steps the whole network, half also 5 channels.
    plain = built(passes=2, stages=2, smallest=0.6, momentum=momentum)
    by_hand = 6 * costs[-1] + (6 * costs[3] + 2 * costs[-1] * (momentum > 0)) / 2
    assert plain.macs_per_image == round(by_hand)
    # 8 / 49 * 49 is less than 8 in floating point: stage 8 is no second stage 7 all the same.
    many = built(passes=2, stages=49, momentum=momentum)
    lowest = [8 - stage * 6 // 48 for stage in range(49)]
    narrow = [6 * costs[c - 2] + 2 * costs[-1] * (momentum > 0) for c in lowest if c < 8]
    assert many.macs_per_image == round(6 * costs[-1] + sum(narrow) / 49)


def test_group_regularisation_is_a_weight_decay_that_falls_from_group_to_group() -> None:
    method = built(width=16, spread=0.1, groups=8)
    config = TrainConfig(weight_decay=0.02)
    groups = parameter_groups(method, config)
    convolutions = [m.weight for m in method.encoder.modules() if isinstance(m, nn.Conv2d)]
    own = [
        group for group in groups if {id(p) for p in group["params"]} & set(map(id, convolutions))
    ]
    assert [group["weight_decay"] for group in own] == [0.0]
    assert list(map(id, own[0]["params"])) == list(map(id, convolutions))
    everything = [p for group in groups for p in group["params"]]
    assert len({id(p) for p in everything}) == len(everything)
    assert {id(p) for p in everything} == {id(p) for p in method.parameters() if p.requires_grad}
    for progress, reached in [(0.0, 0.0), (0.2, 0.4), (0.5, 1.0), (0.9, 1.0)]:
        expected = 0.0
        for weight in convolutions:
            for channel, filters in enumerate(weight.detach().double()):
                group = channel * 8 // len(weight)
                decay = 0.02 * (1 - 0.1 * reached * group)
                expected += decay / 2 * float((filters**2).sum())
        found = method.group_regularisation(progress)
        assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    gradients = torch.autograd.grad(method.group_regularisation(0.7), convolutions)
    for gradient, weight in zip(gradients, convolutions, strict=True):
        for channel in range(len(weight)):
            decay = 0.02 * (1 - 0.1 * (channel * 8 // len(weight)))
            assert torch.allclose(gradient[channel], decay * weight[channel], atol=1e-7)
    assert float(built().group_regularisation(0.7).detach()) == 0  # no recipe, no decay


def test_weight_decay_in_the_loss_is_no_matter_for_adamw() -> None:
    with pytest.raises(ConfigError, match=r"optimiser = 'adamw': expected lars, sgd or adam"):
        parameter_groups(built(), TrainConfig(optimiser="adamw", weight_decay=0.02))
    assert parameter_groups(built(), TrainConfig(optimiser="adamw", weight_decay=0.0))
    assert parameter_groups(built(), TrainConfig(optimiser="adam", weight_decay=0.02))


def test_the_target_is_a_moving_average_of_the_whole_network() -> None:
    method = built(momentum=0.9)
    assert method.target is not None
    start = [p.clone() for p in method.target.parameters()]
    online = [*method.encoder.parameters(), *method.head.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(start, online, strict=True))
    with torch.no_grad():
        for p in online:
            p += 1.0
    method.after_update(views()[0], 0.1)
    for before, after in zip(start, method.target.parameters(), strict=True):
        assert torch.allclose(after, before + 0.1, atol=1e-5)
    assert built(momentum=0).target is None


IMAGES = np.random.default_rng(0).integers(0, 256, (24, 3, 16, 16), dtype=np.uint8)


def test_a_resumed_training_takes_the_steps_of_one_that_never_stopped(tmp_path: Path) -> None:
    recipe = TrainConfig(
        epochs=3, batch_size=8, optimiser="sgd", lr=0.05, warmup_epochs=0, weight_decay=0.01
    )
    source = BatchSource(IMAGES, 8, torch.device("cpu"), seed=5)
    pair = SeveralViews(RandomViews(ViewConfig()))
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    expected = train(built(width=4), source, pair, recipe)

    class StoppedError(Exception):
        pass

    class Log:
        def restart(self, rows: list[dict[str, float]]) -> None:
            pass

        def append(self, row: dict[str, float]) -> None:
            if row["epoch"] == 3:
                raise StoppedError

    with pytest.raises(StoppedError):
        train(built(width=4), source, pair, recipe, log=Log(), checkpoints=store)
    again = dataclasses.replace(recipe, resume=True)
    found = train(built(width=4), source, pair, again, checkpoints=store)
    state = expected.method.state_dict()
    for key, value in found.method.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert found.history[-1]["loss"] == expected.history[-1]["loss"]
    assert expected.history[0]["distillation"] == 0 != expected.history[1]["distillation"]


def test_what_cannot_be_narrowed_is_refused() -> None:
    with pytest.raises(ConfigError, match="width = 2: expected more than the narrowest, 2"):
        built(width=2)
    with pytest.raises(ConfigError, match=r"spread = 0\.2: expected at most 1 / 7"):
        SlimOptions(spread=0.2)
    three = EncoderSetup(ThreeShape(), 16)
    with pytest.raises(ConfigError, match="'three_convolutions': expected a ResNet"):
        Slim(three)


def test_a_slimmable_shape_is_taken_as_it_is() -> None:
    setup = encoder_setup("slimmable_resnet18", image_size=16, width=8)
    method = Slim(setup, MethodConfig(ExpanderConfig(32, 16)))
    assert type(method.encoder) is SlimmableResNet18
    assert method.encoder.config == setup.config
    assert method.encoder.branches == ("dense",)
