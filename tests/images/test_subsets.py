"""Balanced subsets and stratified splits."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_kedro.images.subsets import balanced_subset, held_out


@pytest.mark.parametrize(
    ("counts", "limit", "expected"),
    [
        ([10, 10, 10], 6, [2, 2, 2]),
        ([10, 10, 10], 30, [10, 10, 10]),
        ([10, 10, 10], 99, [10, 10, 10]),
        ([1, 10, 10], 9, [1, 4, 4]),
        ([1, 2, 10], 9, [1, 2, 6]),
        ([5, 0, 5], 4, [2, 0, 2]),
    ],
)
def test_classes_share_a_limit_equally(counts: list[int], limit: int, expected: list[int]) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), counts))
    chosen = balanced_subset(labels, limit, np.random.default_rng(1))
    assert np.bincount(labels[chosen], minlength=3).tolist() == expected
    assert (np.diff(chosen) > 0).all()


def test_what_is_left_over_goes_to_random_classes() -> None:
    labels = np.repeat(np.arange(4), 25)
    extra = np.zeros(4)
    for seed in range(200):
        chosen = balanced_subset(labels, 9, np.random.default_rng(seed))
        counts = np.bincount(labels[chosen], minlength=4)
        assert sorted(counts.tolist()) == [2, 2, 2, 3]
        extra += counts - 2
    # 200 draws of one class in four: 50 each, standard deviation 6.1.
    assert (np.abs(extra - 50) < 5 * 6.1).all()


def test_every_image_can_be_chosen() -> None:
    labels = np.repeat(np.arange(2), 10)
    chosen = [balanced_subset(labels, 4, np.random.default_rng(seed)) for seed in range(200)]
    assert set(np.concatenate(chosen).tolist()) == set(range(20))


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.2, [2, 4, 1]), (0.01, [1, 1, 1]), (0.99, [9, 19, 1])]
)
def test_held_out_share_of_each_class(fraction: float, expected: list[int]) -> None:
    labels = np.repeat(np.arange(3), [10, 20, 2])
    kept, held = held_out(labels, fraction, np.random.default_rng(0))
    assert np.bincount(labels[held]).tolist() == expected
    assert sorted([*kept, *held]) == list(range(32))
