"""Several processes that share a batch against one that has it all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from processes import in_processes
from small_methods import budget_of, small_options
from ssl_kedro.augment.config import PanoramaViewConfig, ViewConfig
from ssl_kedro.augment.panorama_views import PanoramaViews
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.core.collectives import own_rows
from ssl_kedro.core.seeding import torch_generator
from ssl_kedro.core.synchronised_norm import synchronised
from ssl_kedro.encoders import base
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.gating import gate
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig
from ssl_kedro.methods.distillation import DistillationMethod
from ssl_kedro.methods.panorama_contrast import ContrastConfig, PanoramaContrast
from ssl_kedro.methods.plan import MethodPlan, method_classes
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.loop import TrainingResult, train

BATCH = 16
FLOAT = torch.Tensor.float


def method_named(name: str, wide: bool) -> Method:
    torch.manual_seed(0)
    shape = EncoderConfig(width=4)
    teacher = GatedResNet18(shape, branches=("dense",), image_size=16).eval()
    setup = EncoderSetup(shape, 16, (0.5,) * 3, (0.25,) * 3, teacher)
    # More columns than rows in a batch, or fewer: the two ways to the squared covariances.
    expander = ExpanderConfig(8, 24 if wide else 8)
    gates = GateConfig(steering="dual_ascent", diversity=0.1)
    config = MethodConfig(expander, gates=gates, options=small_options(name))
    return MethodPlan(name, setup, config, budget_of(name), seed=3).build()


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in float64: rounding, which ReLUs and gates amplify, stays below any mistake."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for module in (gate, base):
        monkeypatch.setattr(module, "global_average", lambda x: x.mean(dim=(2, 3)))


class DoubleViews(SeveralViews):
    """Views drawn in float32 as always, handed on in float64."""

    def __call__(
        self, images: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "float", FLOAT)
            views = super().__call__(images, generator)
        return tuple(view.double() for view in views)


def trained(name: str, wide: bool, images: np.ndarray) -> TrainingResult[Method]:
    """Two epochs of two steps."""
    recipe = TrainConfig(epochs=2, batch_size=BATCH, optimiser="sgd", lr=0.05, warmup_epochs=0)
    source = BatchSource(images, BATCH, torch.device("cpu"), seed=5)
    method = method_named(name, wide)
    views = DoubleViews(RandomViews(ViewConfig(noise=0.02)), method.view_count)
    method = synchronised(method.double())
    assert isinstance(method, Method)
    if isinstance(method, DistillationMethod):
        method.teacher.encoder.double()
    return train(method, source, views, recipe)


# Their gated views are what those of VICReg and SimSiam are.
_LONG = {f"{family}_gating" for family in ("barlow", "byol", "dino", "moco_v2", "moco_v3", "wmse")}


@pytest.mark.parametrize(
    ("name", "wide"),
    [
        *(
            pytest.param(name, True, marks=[pytest.mark.slow] * (name in _LONG))
            for name in sorted(method_classes())
        ),
        # The two losses whose covariances are taken in either of two ways.
        ("vicreg", False),
        ("barlow", False),
    ],
)
def test_two_processes_take_the_steps_of_one(double: None, name: str, wide: bool) -> None:
    """Weights, running statistics, queues, multipliers and history after four steps."""
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    alone = trained(name, wide, images)

    def shard(rank: int) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        result = trained(name, wide, images)
        return dict(result.method.state_dict()), result.history

    (state, history), (state_2, _) = in_processes(2, shard)
    expected = alone.method.state_dict()
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(state[key], state_2[key]), key
        torch.testing.assert_close(state[key], value, rtol=1e-8, atol=1e-10, msg=key)
    for found, wanted in zip(history, alone.history, strict=True):
        for key in wanted.keys() - {"images_per_second"}:
            assert found[key] == pytest.approx(wanted[key], rel=1e-8, abs=1e-10), key


def test_contrast_against_a_memory_bank_is_shared_as_well(double: None) -> None:
    """Negatives, normaliser and bank of the panoramas' pre-training."""
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 64, 128), dtype=np.uint8)

    def pretrained() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        encoder = PanoramaEncoder(PanoramaEncoderConfig(width=0.1))
        contrast = ContrastConfig(negatives=20, embedding=16, head_end="batch_norm")
        method = synchronised(PanoramaContrast(encoder, contrast, 12, 0, (64, 128)).double())
        assert isinstance(method, PanoramaContrast)
        recipe = TrainConfig(epochs=1, batch_size=4, optimiser="sgd", lr=0.05, warmup_epochs=0)
        source = BatchSource(images, 4, torch.device("cpu"), seed=5)
        views = DoubleViews(RandomViews(ViewConfig()))
        return dict(train(method, source, views, recipe).method.state_dict())

    expected = pretrained()
    for state in in_processes(2, lambda rank: pretrained()):
        for key, value in expected.items():
            # 60 norms over 4 samples each: 1e-15 more or less in the views moves a weight by 1e-6.
            torch.testing.assert_close(state[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_views_of_a_shared_batch_are_those_of_the_whole() -> None:
    """Each process renders its own rows, of photographs and of panoramas."""
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (12, 3, 32, 64), dtype=np.uint8)
    )
    recipes = [
        SeveralViews(RandomViews(ViewConfig(noise=0.1))),
        PanoramaViews(PanoramaViewConfig()),
    ]
    for views in recipes:
        whole = views(images, torch_generator(1))

        def own(rank: int, views: SeveralViews | PanoramaViews = views) -> tuple[torch.Tensor, ...]:
            return views(own_rows(images), torch_generator(1))

        parts = in_processes(3, own)
        for index in (0, 1):
            together = torch.cat([part[index] for part in parts])
            # Panoramas are projected in other groups, which may round the last bit otherwise.
            torch.testing.assert_close(together, whole[index], rtol=0, atol=1e-5)
