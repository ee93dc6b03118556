"""What is lost, with its interval, by slow second ways."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from ssl_kedro.evaluation.forms import Answers, HeldOut
from ssl_kedro.evaluation.knn import neighbours_of, right_in_random_halves
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_right
from ssl_kedro.evaluation.paired import Loss, held_out_images, paired_loss, verdict


def answers(images: int, runs: int, lost: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of right answers, of which some turn from right to wrong and fewer back."""
    rng = np.random.default_rng(seed)
    before = rng.random((runs, images)) < 0.6
    flip = rng.random((runs, images)) < np.where(before, lost, lost / 3)
    return before.mean(axis=0), (before ^ flip).mean(axis=0)


@pytest.mark.parametrize(("images", "runs", "lost"), [(2000, 1, 0.03), (800, 5, 0.1), (3000, 3, 0)])
def test_the_interval_is_that_of_images_drawn_again(images: int, runs: int, lost: float) -> None:
    """A bootstrap of whole images by brute force; with 1/n of room for the two images added."""
    before, after = answers(images, runs, lost)
    found = paired_loss(before, after)
    rng = np.random.default_rng(1)
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, images, images)
        means.append(100 * (before[drawn].mean() - after[drawn].mean()))
    low, high = np.percentile(means, [2.5, 97.5])
    room = 100 * 2 / images + 0.06 * (high - low)
    assert found.points == pytest.approx(100 * (before.mean() - after.mean()))
    assert found.low == pytest.approx(low, abs=room)
    assert found.high == pytest.approx(high, abs=room)
    assert found.images == images


def test_images_that_stay_as_they_are_prove_the_less_the_fewer_they_are() -> None:
    """The rule of three: no change among n images still allows about 3 / n of them."""
    for images in (30, 300, 3000):
        same = np.ones(images)
        found = paired_loss(same, same)
        assert found.points == 0
        assert -found.low == found.high == pytest.approx(100 * 1.96 / (images + 2), rel=0.01)
    # Matched pairs by Agresti and Min's own formula: b and c are the pairs that changed.
    b, c, n = 14, 5, 200
    before, after = np.zeros(n), np.zeros(n)
    before[:b], after[b : b + c] = 1, 1
    centre = (b - c) / (n + 2)
    reach = 1.959964 * np.sqrt((b + c + 1) - (b - c) ** 2 / (n + 2)) / (n + 2)
    found = paired_loss(before, after)
    assert (found.low, found.high) == pytest.approx(
        (100 * (centre - reach), 100 * (centre + reach))
    )


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(400):
        found = paired_loss(*answers(400, 1, 0.06, seed))
        truth = 100 * (0.6 * 0.06 - 0.4 * 0.02)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_verdicts_on_data_made_to_hold_to_lose_and_to_leave_it_open() -> None:
    none = paired_loss(*answers(20_000, 5, 0.0))
    much = paired_loss(*answers(20_000, 5, 0.08))
    few = paired_loss(*answers(150, 1, 0.03))
    assert [verdict([loss], 0.5) for loss in (none, much, few)] == ["holds", "loses", "undecided"]
    assert verdict([none, much], 0.5) == "loses"
    assert verdict([none, few], 0.5) == "undecided"
    # A loss of exactly the limit is within it, and a wide interval below it is decided.
    assert verdict([Loss(0.2, -9, 0.5, 10)], 0.5) == "holds"
    for bad in ([], [0.2, 1.2]):
        with pytest.raises(ValueError, match="expected"):
            paired_loss(np.array(bad), np.array(bad))


def test_the_nearest_of_a_random_half_is_that_of_all_halves() -> None:
    rng = np.random.default_rng(3)
    bank, queries = rng.normal(size=(7, 3)), rng.normal(size=(4, 3))
    labels, truth = rng.integers(0, 2, 7), rng.integers(0, 2, 4)
    found = right_in_random_halves(labels[neighbours_of(bank, queries, 7)], truth)
    expected = np.zeros(4)
    for kept in itertools.product([False, True], repeat=7):
        if any(kept):
            mask = np.array(kept)
            oracle = KNeighborsClassifier(1).fit(bank[mask], labels[mask])
            expected += oracle.predict(queries) == truth
    assert found == pytest.approx(expected / 2**7)


@pytest.mark.parametrize("labelled", [True, False])
def test_forms_are_judged_on_images_that_bank_and_probe_never_saw(labelled: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 3000)
    features = (rng.normal(size=(4, 8)) * 2)[labels] + rng.normal(size=(3000, 8))
    features = features.astype(np.float32)
    held = held_out_images(3000, 0.2, 500, rng)
    assert held.sum() == 500
    probe = ProbeConfig(epochs=3, runs=2)
    judge = HeldOut(held, labels if labelled else None, probe, normalise=False, seed=0)
    plain = judge.answers(features)
    # What stands in the held-out places of the bank's labels is never looked at.
    other = HeldOut(held, np.where(held, 99, labels), probe, normalise=False, seed=0)
    assert (other.answers(features).neighbours == plain.neighbours).all()
    if labelled:
        sides = features[~held], labels[~held], features[held], labels[held]
        right = linear_probe_right(*sides, probe, seed=0)
        assert plain.right["linear"] == pytest.approx(right.mean(axis=0))
    rounded = np.round(features * 64).astype(np.float32) / 64
    noisy = features + rng.normal(size=features.shape).astype(np.float32) * 2
    for form, expected in ((rounded, "holds"), (noisy, "loses")):
        found = judge.judged(plain, judge.answers(form), 2.0)
        assert found.verdict == expected
        assert found.images == 500
        nearest = [
            NearestNeighbors(n_neighbors=1)
            .fit(of[~held])
            .kneighbors(of[held], return_distance=False)
            for of in (form, features)
        ]
        assert found.agreement == pytest.approx((nearest[0] == nearest[1]).mean())
        assert bool(found.losses) == labelled


def test_without_labels_98_percent_of_neighbours_have_to_stay() -> None:
    judge = HeldOut(np.ones(100, dtype=bool), None, None, normalise=False, seed=0)
    before = Answers(np.arange(100), {})
    for moved, expected in ((2, "holds"), (3, "loses")):
        after = Answers(np.r_[np.full(moved, 500), np.arange(moved, 100)], {})
        assert judge.judged(before, after, 0.5).verdict == expected


def test_some_images_are_held_out_and_some_are_not() -> None:
    for count, share, most, expected in ((10, 0.2, 100, 2), (10, 0.01, 9, 1), (2, 0.9, 9, 1)):
        held = held_out_images(count, share, most, np.random.default_rng(0))
        assert held.sum() == expected
    with pytest.raises(ValueError, match="at least 2 images"):
        held_out_images(1, 0.2, 9, np.random.default_rng(0))
