from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.evaluation.linear_probe import (
    LinearProbe,
    ProbeConfig,
    augmented_batches,
    cached_batches,
    linear_probe_right,
)


def blobs(seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 12))
    labels, asked = rng.integers(0, 4, 300), rng.integers(0, 4, 200)
    bank = centres[labels] + rng.normal(size=(300, 12)) * 0.8
    queries = centres[asked] + rng.normal(size=(200, 12)) * 0.8
    return bank.astype(np.float32), labels, queries.astype(np.float32), asked


def test_every_run_equals_an_ordinary_torch_training() -> None:
    """Oracle: nn.Linear, cross-entropy, autograd, torch's SGD and MultiStepLR."""
    bank, labels, _, _ = blobs()
    config = ProbeConfig(epochs=10, batch_size=64, lr=0.1, runs=3, weight_decay=1e-3)
    features = torch.from_numpy(bank).double()
    targets = torch.from_numpy(labels)
    probe = LinearProbe(12, 4, config, seed=5)
    probe.weight, probe.bias = probe.weight.double(), probe.bias.double()
    probe._weight_momentum = probe._weight_momentum.double()
    probe._bias_momentum = probe._bias_momentum.double()
    start = [(probe.weight[r].clone(), probe.bias[r, 0].clone()) for r in range(3)]
    batches = cached_batches(features, targets, config, seed=5)
    probe.fit(batches)
    for run, (weight, bias) in enumerate(start):
        layer = nn.Linear(12, 4).double()
        with torch.no_grad():
            layer.weight.copy_(weight.T)
            layer.bias.copy_(bias)
        optimiser = torch.optim.SGD(
            [{"params": [layer.weight], "weight_decay": 1e-3}, {"params": [layer.bias]}],
            lr=0.1,
            momentum=0.9,
        )
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [6, 8], 0.1)
        for epoch in range(10):
            for x, y in batches(epoch):
                optimiser.zero_grad()
                nn.functional.cross_entropy(layer(x[run]), y[run]).backward()
                optimiser.step()
            schedule.step()
        assert torch.allclose(probe.weight[run], layer.weight.detach().T, atol=1e-9)
        assert torch.allclose(probe.bias[run, 0], layer.bias.detach(), atol=1e-9)


def test_runs_differ_in_weights_and_order() -> None:
    bank, labels, _, _ = blobs()
    config = ProbeConfig(runs=2)
    probe = LinearProbe(12, 4, config, seed=0)
    assert not torch.equal(probe.weight[0], probe.weight[1])
    features = torch.from_numpy(bank)
    x, _ = next(cached_batches(features, torch.from_numpy(labels), config, 0)(0))
    assert not torch.equal(x[0], x[1])


def test_accuracies_are_those_of_the_argmax() -> None:
    bank, labels, queries, asked = blobs()
    config = ProbeConfig(epochs=20, runs=2)
    found = linear_probe_right(bank, labels, queries, asked, config, seed=1)
    assert found.shape == (2, len(asked))
    assert all(0.75 < value < 1 for value in found.mean(axis=1))
    probe = LinearProbe(12, 4, config, seed=1)
    probe.fit(cached_batches(torch.from_numpy(bank), torch.from_numpy(labels), config, 1))
    for run, weight in enumerate(probe.weight.numpy()):
        scores = queries @ weight + probe.bias[run].numpy()
        assert (found[run] == (scores.argmax(axis=1) == asked)).all()
    # Labels shuffled: nothing to learn, so near chance.
    shuffled = np.random.default_rng(0).permutation(labels)
    chance = linear_probe_right(bank, shuffled, queries, asked, config, seed=1)
    assert all(value < 0.5 for value in chance.mean(axis=1))


def test_learning_rate_falls_at_the_thesis_milestones() -> None:
    probe = LinearProbe(2, 2, ProbeConfig(), seed=0)
    rates = [probe.learning_rate(epoch) for epoch in (0, 59, 60, 79, 80, 99)]
    assert rates == pytest.approx([0.3, 0.3, 0.03, 0.03, 0.003, 0.003])


def test_augmented_batches_are_the_encoder_on_fresh_crops() -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(width=4), image_size=16)
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 16, 16), dtype=np.uint8)
    labels = np.arange(10)
    config = ProbeConfig(batch_size=4, runs=2)
    # Smaller views are for the training: the probe sees images as it is tested on them.
    still = ViewConfig(size=8, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0)
    batches = augmented_batches(encoder, images, labels, "dense", config, still, seed=0)
    for x, y in batches(0):
        with torch.no_grad():
            expected = encoder.dense(torch.from_numpy(images[y[0].numpy()]))
        assert torch.allclose(x[0], expected, atol=1e-4)
    moving = augmented_batches(encoder, images, labels, "dense", config, ViewConfig(), seed=0)
    first, second = (torch.cat([x[0] for x, _ in moving(epoch)]) for epoch in (0, 1))
    again = torch.cat([x[0] for x, _ in moving(0)])
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)
