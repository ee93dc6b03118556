"""Encoders that are cut from others: on images of every class, and only from what can be cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.nested_resnet18 import NestedConfig, NestedResNet18
from ssl_kedro.encoders.slimmable_resnet18 import SlimmableConfig, SlimmableResNet18
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated import derivation
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.training.loop import some_images

PARAMETERS = DualGatingParameters.model_validate(
    {"train": {"device": "cpu"}, "frontier": {"recalibration": 100}, "data": {"size": 16}}
)
# Sorted by class, as a folder is; every image of a class has its class as its grey value.
LABELS = np.repeat(np.arange(10), 40)
IMAGES = np.broadcast_to((25 * LABELS)[:, None, None, None], (400, 3, 16, 16)).astype(np.uint8)
SET = ImageSet(IMAGES, LABELS, tuple("abcdefghij"), "grey")


def state(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Images that batch norms are re-estimated on, by call."""
    found: list[np.ndarray] = []
    usual = derivation.pruned

    def watched(
        encoder: GatedResNet18, budget: float, images: np.ndarray, **options: Any
    ) -> Encoder:
        found.append(images)
        return usual(encoder, budget, images, **options)

    monkeypatch.setattr(derivation, "pruned", watched)
    return found


def test_batch_norms_see_images_of_every_class_once(seen: list[np.ndarray]) -> None:
    encoder = GatedResNet18(EncoderConfig(width=4), branches=("dense",), image_size=16)
    before = state(encoder)
    for seed in (0, 0, 1):
        trained = Training("vicreg", 0.5, seed, derived="pruned")
        cut = derivation.derive(PARAMETERS, encoder, SET, trained=trained)
        assert cut.cost().dense <= 0.5 * encoder.cost().dense
    first, again, other = ([int(image[0, 0, 0]) // 25 for image in images] for images in seen)
    assert len(first) == 100
    assert set(first) == set(range(10))
    assert max(np.bincount(first)) <= 40
    assert first == again != other
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_the_budget_holds_at_the_size_of_whole_images() -> None:
    """Views of 17 px: half of an odd side rounds up, so that stages cost other shares there."""
    values = PARAMETERS.model_dump() | {"views": {"size": 17}}
    parameters = DualGatingParameters.model_validate(values)
    encoder = GatedResNet18(EncoderConfig(width=4), branches=("dense",), image_size=17)
    whole = encoder.cost(16)
    for budget in np.linspace(0.2, 0.9, 30):
        trained = Training("vicreg", float(budget), 0, derived="pruned")
        cut = derivation.derive(parameters, encoder, SET, trained=trained)
        left = cut.cost(16).dense
        assert left <= budget * whole.dense
        assert left + max(block.macs_per_channel for block in whole.blocks) > budget * whole.dense


def test_a_width_is_cut_from_a_network_for_every_width() -> None:
    slim = SlimmableResNet18(SlimmableConfig(width=8), branches=("dense",), image_size=16)
    trained = Training("slim", None, 0, width=5, derived="narrowed")
    cut = derivation.derive(PARAMETERS, slim, SET, trained=trained)
    plain = GatedResNet18(EncoderConfig(width=5), branches=("dense",), image_size=16)
    assert type(cut) is GatedResNet18
    assert cut.cost() == plain.cost()


def test_a_budget_is_cut_from_a_network_for_every_budget() -> None:
    whole = NestedResNet18(NestedConfig(width=8), branches=("dense",), image_size=16)
    trained = Training("nested", 0.4, 3, derived="budgeted")
    cut = derivation.derive(PARAMETERS, whole, SET, trained=trained)
    few = some_images(SET.images, 3, 16, PARAMETERS.frontier.recalibration)
    again = whole.at_budget(0.4, few, image_size=PARAMETERS.data.size)
    assert cut.config == again.config
    assert torch.equal(cut.dense(SET.images[:4]), again.dense(SET.images[:4]))
    share = cut.cost().dense / whole.cost().dense
    assert 0.3 < share <= 0.4


def test_what_cannot_be_cut_is_refused() -> None:
    plain = GatedResNet18(EncoderConfig(width=4), branches=("dense",), image_size=16)
    trained = Training("slim", None, 0, width=2, derived="narrowed")
    with pytest.raises(ConfigError, match="expected slimmable_resnet18, to be narrowed"):
        derivation.derive(PARAMETERS, plain, SET, trained=trained)
    trained = Training("nested", 0.5, 0, derived="budgeted")
    with pytest.raises(ConfigError, match="expected nested_resnet18, to be cut to a budget"):
        derivation.derive(PARAMETERS, plain, SET, trained=trained)
