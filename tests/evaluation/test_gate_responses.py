"""What gates respond to, on an encoder whose gates are set by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.evaluation.features import extract_features
from ssl_kedro.evaluation.gate_responses import (
    between_classes,
    difficulty,
    gate_responses,
    rank_correlation,
)

RNG = np.random.default_rng(0)
LABELS = np.arange(40, dtype=np.int64) % 4
# Classes differ in brightness, which gates can see.
IMAGES = (RNG.integers(0, 60, (40, 3, 16, 16)) + 60 * LABELS[:, None, None, None]).astype(np.uint8)
NAMES = ("black", "dark", "bright", "white")


def encoder() -> GatedResNet18:
    torch.manual_seed(0)
    made = GatedResNet18(EncoderConfig("cifar_pad1", 8), image_size=16).eval()
    for gate in made.gates():
        for parameter in gate.parameters():
            torch.nn.init.normal_(parameter, std=2)
    return made


def test_costs_and_places_are_those_of_the_images() -> None:
    found = gate_responses(encoder(), IMAGES, LABELS, NAMES, model="dual.budget_30", shown=5)
    record = extract_features(encoder(), IMAGES, "gated").gates
    assert record is not None
    shares = record.macs / encoder().cost(16).dense
    assert (found.lowest, found.highest) == pytest.approx((shares.min(), shares.max()))
    assert found.mean == pytest.approx(shares.mean())
    assert found.lowest < found.highest
    assert list(found.cheapest_costs) == pytest.approx(sorted(shares)[:5])
    assert list(found.dearest_costs) == pytest.approx(sorted(shares)[::-1][:5])
    assert [shares[place] for place in found.cheapest] == pytest.approx(list(found.cheapest_costs))
    assert found.class_share == pytest.approx(between_classes(shares, LABELS))
    assert found.difficulty is None


def test_a_channel_that_follows_a_class_is_found_with_its_rates() -> None:
    made = encoder()
    found = gate_responses(made, IMAGES, LABELS, NAMES, channels=2)
    assert len(found.channels) == 2
    with torch.inference_mode():
        masks = made(torch.from_numpy(IMAGES), "gated").masks
    by_name = {
        block.name: mask.bool().numpy()
        for block, mask in zip(made.cost(16).blocks, masks, strict=True)
    }
    widest = []
    for opened in by_name.values():
        rates = np.stack([opened[label == LABELS].mean(axis=0) for label in range(4)])
        widest.append(float((rates.max(axis=0) - rates.min(axis=0)).max()))
    first = found.channels[0]
    assert first.most_rate - first.least_rate == pytest.approx(max(widest))
    opened = by_name[first.block][:, first.channel]
    assert opened[NAMES.index(first.most) == LABELS].mean() == pytest.approx(first.most_rate)
    assert opened[NAMES.index(first.least) == LABELS].mean() == pytest.approx(first.least_rate)
    assert opened[list(first.opened)].all()
    assert not opened[list(first.closed)].any()
    # Spread over all images, which may stand class by class.
    for places, state in ((first.opened, True), (first.closed, False)):
        all_of_them = np.flatnonzero(opened == state)
        assert len(places) == min(8, len(all_of_them))
        assert (places[0], places[-1]) == (all_of_them[0], all_of_them[-1])


def test_places_are_those_of_all_images_where_some_were_looked_at() -> None:
    kept = np.arange(0, 40, 2)
    found = gate_responses(encoder(), IMAGES[kept], LABELS[kept], NAMES)
    moved = found.at(kept)
    assert moved.cheapest == tuple(2 * place for place in found.cheapest)
    assert moved.channels[0].opened == tuple(2 * place for place in found.channels[0].opened)
    assert moved.cheapest_costs == found.cheapest_costs


def test_without_labels_or_gates_that_look_nothing_is_said_of_classes() -> None:
    found = gate_responses(encoder(), IMAGES)
    assert found.class_share is None
    assert found.channels == ()
    blind = GatedResNet18(EncoderConfig("cifar_pad1", 8), image_size=16, gate_input_dependent=False)
    found = gate_responses(blind, IMAGES, LABELS, NAMES, RNG.random(40))
    assert found.lowest == found.highest
    assert (found.class_share, found.difficulty, found.channels) == (None, None, ())
    dense = GatedResNet18(EncoderConfig("cifar_pad1", 8), branches=("dense",), image_size=16)
    with pytest.raises(ValueError, match="gated"):
        gate_responses(dense, IMAGES)


def test_difficulty_is_the_distance_to_the_own_class_less_that_to_another() -> None:
    known, asked = RNG.normal(size=(30, 5)).astype(np.float32), RNG.normal(size=(7, 5))
    asked, labels = asked.astype(np.float32), RNG.integers(0, 3, 30)
    of = RNG.integers(0, 3, 7)
    expected = []
    for image, label in zip(asked, of, strict=True):
        distances = np.linalg.norm(known - image, axis=1)
        expected.append(distances[labels == label].min() - distances[labels != label].min())
    np.testing.assert_allclose(difficulty(known, labels, asked, of), expected, rtol=1e-4)


def test_the_rank_correlation_is_scipys() -> None:
    first, second = RNG.integers(0, 9, 50), RNG.integers(0, 9, 50)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation(first, np.ones(50)) is None


def test_the_share_between_classes_is_all_or_nothing_at_the_ends() -> None:
    assert between_classes(LABELS.astype(float), LABELS) == pytest.approx(1)
    assert between_classes(np.tile([0.0, 1.0], 20), np.repeat([0, 1], 20)) == pytest.approx(0)
