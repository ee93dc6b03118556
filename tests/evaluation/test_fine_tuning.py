"""Fine-tuning with labels: what learns, what stays, and what it is worth on generated textures."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch

from oracles.norms import with_used_norms
from ssl_kedro import load_images
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.classifier import Classifier, Head
from ssl_kedro.encoders.fingerprint import weight_fingerprint
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.evaluation.fine_tuning import FineTuningConfig, fine_tuned, named_rightly
from ssl_kedro.gating.budget import BudgetPenalty, GateConfig
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.methods.classification import Classification
from ssl_kedro.training.config import Execution
from ssl_kedro.training.step import TrainingStep

VIEWS = ViewConfig(crop_scale=(0.6, 1.0), flip=0.0)
SHORT = FineTuningConfig(epochs=1, least_steps=4, batch_size=20)


@cache
def images(split: str) -> ImageSet:
    return load_images("textures", split, size=16, generated=200, generated_eval=100)  # type: ignore[arg-type]


def new_encoder(width: int = 4) -> GatedResNet18:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig("cifar_pad1", width), image_size=16)
    return with_used_norms(encoder).eval()


def test_without_a_rate_and_with_kept_norms_features_stay_and_a_linear_layer_learns() -> None:
    encoder = new_encoder()
    recipe = {"epochs": 1, "least_steps": 40, "batch_size": 50, "lr": 0.4}
    config = FineTuningConfig(**recipe, encoder_lr=0.0, norms="kept")  # type: ignore[arg-type]
    plain = ViewConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.0)
    found = fine_tuned(encoder, "dense", images("train"), config, plain, seed=0)
    shown = torch.from_numpy(images("eval").images)
    assert weight_fingerprint(found.encoder) == weight_fingerprint(encoder)
    assert torch.allclose(found.encoder.dense(shown), encoder.dense(shown), atol=1e-5)
    # The layer is one that a plain loop over the same whole images would improve on: its loss is
    # below that of the layer it began with, log K within its noise.
    logits = encoder.dense(torch.from_numpy(images("train").images)) @ found.head.weight
    loss = torch.nn.functional.cross_entropy(
        logits + found.head.bias, torch.from_numpy(images("train").labels)
    )
    assert loss < np.log(10) - 0.2


def test_one_step_is_that_of_a_plain_loop() -> None:
    """All weights move against the gradient of the cross-entropy, each by its own rate."""
    encoder = new_encoder()
    labels, indices = torch.arange(8) % 3, torch.arange(8)
    pixels = torch.rand(8, 3, 16, 16)
    task = Classification(copy.deepcopy(encoder), "dense", labels, 3, encoder_rate=0.25)
    reference, head = copy.deepcopy(encoder).train(), copy.deepcopy(task.head)
    recipe = FineTuningConfig(lr=0.4, encoder_lr=0.1, batch_size=8).recipe(8)
    step = TrainingStep(task, recipe, Execution("cpu", "fp32"), batches_per_epoch=1)
    result = step.take(pixels, (pixels,), indices, 0)

    for gate in reference.gates():
        gate.eval()
    logits = reference(pixels, "dense").features @ head.weight.T + head.bias
    loss = -torch.log_softmax(logits, 1)[indices, labels].mean()
    assert torch.allclose(result.loss, loss, atol=1e-6)
    loss.backward()
    moved = 0
    for before, after, rate in ((reference, task.encoder, 0.1), (head, task.head, 0.4)):
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
            assert (old.grad is not None) == (not torch.equal(old, new)), name
            expected = old if old.grad is None else old - rate * old.grad
            assert torch.allclose(new, expected, atol=1e-6), name
            moved += old.grad is not None
    assert moved > 20


@pytest.mark.parametrize("gates", ["frozen", "trained"])
def test_gates_keep_their_weights_or_learn_and_decide_hard_when_deployed(gates: str) -> None:
    encoder = new_encoder()
    penalty = BudgetPenalty(encoder.cost(), 0.5, GateConfig())
    config = FineTuningConfig(epochs=1, least_steps=4, batch_size=20, gates=gates)  # type: ignore[arg-type]
    found = fine_tuned(
        encoder, "gated", images("train"), config, VIEWS, seed=0, penalty=penalty
    ).encoder
    before = [p for gate in encoder.gates() for p in gate.parameters()]
    after = [p for gate in found.gates() for p in gate.parameters()]
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert all(same) if gates == "frozen" else not any(same)
    assert not torch.equal(encoder.stem[0].weight, found.stem[0].weight)
    shown = torch.from_numpy(images("eval").images)
    with torch.no_grad():
        first, second = (found(shown, "gated") for _ in range(2))
    for one, other in zip(first.masks, second.masks, strict=True):
        assert torch.equal(one, other)
        assert set(one.unique().tolist()) <= {0.0, 1.0}
    assert all(p.requires_grad for p in found.parameters())


def test_frozen_gates_draw_no_noise_while_the_rest_trains() -> None:
    encoder = new_encoder()
    task = Classification(encoder, "gated", torch.zeros(8, dtype=torch.int64), 2, encoder_rate=1.0)
    assert task.encoder.training and not any(gate.training for gate in task.encoder.gates())
    task.eval()
    assert not task.encoder.training
    kept = Classification(
        encoder, "gated", torch.zeros(8, dtype=torch.int64), 2, encoder_rate=1.0, norms_follow=False
    )
    assert not kept.encoder.training and kept.head.training


def test_the_encoder_that_is_given_stays_and_the_same_seed_gives_the_same_numbers() -> None:
    encoder = new_encoder()
    before = weight_fingerprint(encoder)
    heads: dict[Branch, Head] = {"gated": Head(torch.zeros(32, 1), torch.zeros(1))}
    encoder.classifier = Classifier(("old",), heads)
    runs = [
        fine_tuned(encoder, "gated", images("train"), SHORT, VIEWS, seed=seed) for seed in (0, 0, 1)
    ]
    assert weight_fingerprint(encoder) == before
    # What named its features is none of the one whose features have moved.
    assert encoder.classifier is not None and runs[0].encoder.classifier is None
    assert all(p.requires_grad for p in encoder.parameters())
    prints = [weight_fingerprint(run.encoder) for run in runs]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(runs[0].head.weight, runs[1].head.weight)


def test_labels_teach_textures_and_answers_are_those_of_a_manual_product() -> None:
    """Chance is a tenth; with 200 labels a narrow one is right for four times as many others."""
    config = FineTuningConfig(epochs=1, least_steps=150, batch_size=20, scratch_lr=0.1)
    found = fine_tuned(new_encoder(), "dense", images("train"), config.from_scratch, VIEWS, seed=0)
    right, macs = named_rightly(found, "dense", images("eval"))
    assert right.mean() > 0.4
    assert macs == found.encoder.cost(16).dense
    features = found.encoder.dense(torch.from_numpy(images("eval").images)).double().numpy()
    logits = features @ found.head.weight.double().numpy() + found.head.bias.double().numpy()
    assert np.array_equal(right, logits.argmax(axis=1) == images("eval").labels)


def test_gated_cost_is_the_mean_over_the_images_of_what_masks_leave() -> None:
    found = fine_tuned(new_encoder(), "gated", images("train")[:40], SHORT, VIEWS, seed=0)
    _, macs = named_rightly(found, "gated", images("eval"))
    with torch.no_grad():
        masks = found.encoder(torch.from_numpy(images("eval").images), "gated").masks
    cost = found.encoder.cost()
    by_hand = float(cost.masked(masks).double().mean())
    assert macs == pytest.approx(by_hand, rel=1e-6)
    assert macs < cost.dense


def test_few_labels_make_smaller_batches_and_more_epochs() -> None:
    config = FineTuningConfig(epochs=20, least_steps=300, batch_size=32)
    assert (config.recipe(10).batch_size, config.recipe(10).epochs) == (10, 300)
    assert (config.recipe(64).batch_size, config.recipe(64).epochs) == (32, 150)
    assert config.recipe(32_000).epochs == 20
    for images_of_it in (10, 64):  # the rate is that of a step, as in VICReg's code
        assert config.from_scratch.recipe(images_of_it).peak_lr == pytest.approx(0.03)


def test_a_share_without_a_label_for_each_class_is_refused_by_name() -> None:
    assert FineTuningConfig(shares=(0.01, 0.5)).label_counts(1000, 10) == {"0.01": 10, "0.5": 500}
    with pytest.raises(ConfigError, match=r"shares = 0\.001: expected .* at least 0\.01"):
        FineTuningConfig(shares=(0.001, 1.0)).label_counts(1000, 10)
    with pytest.raises(ConfigError, match="each once"):
        FineTuningConfig(shares=(0.1, 0.1))
    with pytest.raises(ConfigError, match=r"encoder_lr = 0\.0: expected above 0, .* of gates"):
        FineTuningConfig(gates="trained", encoder_lr=0.0)
    with pytest.raises(ValueError, match="penalty of a budget"):
        fine_tuned(
            new_encoder(),
            "gated",
            images("train"),
            FineTuningConfig(gates="trained"),
            VIEWS,
            seed=0,
        )
