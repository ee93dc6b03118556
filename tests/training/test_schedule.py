from __future__ import annotations

import itertools

import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.schedule import warmup_constant, warmup_cosine


def test_warm_up_is_linear_and_the_cosine_ends_at_zero() -> None:
    rates = [
        warmup_cosine(s, total_steps=110, warmup_steps=10, start=0.003, peak=0.6)
        for s in range(110)
    ]
    assert rates[0] == pytest.approx(0.003)
    assert rates[5] == pytest.approx((0.003 + 0.6) / 2)
    assert rates[10] == pytest.approx(0.6)
    assert rates[60] == pytest.approx(0.3)  # half way through the cosine
    assert 0 < rates[-1] < 0.001
    assert all(a < b for a, b in itertools.pairwise(rates[:11]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_no_warm_up_starts_at_the_peak() -> None:
    assert warmup_cosine(0, total_steps=5, warmup_steps=0, start=0.1, peak=1.0) == 1.0


def test_thesis_recipe_peaks_at_base_rate_times_batch_over_256() -> None:
    assert TrainConfig().peak_lr == pytest.approx(0.6)


def test_warm_up_longer_than_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup_epochs = 10: expected fewer than epochs = 5"):
        TrainConfig(epochs=5)


def test_a_constant_rate_stays_after_the_warm_up() -> None:
    rates = [warmup_constant(step=s, warmup_steps=4, start=0.1, peak=0.5) for s in range(8)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5])
