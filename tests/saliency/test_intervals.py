from __future__ import annotations

import math

import numpy as np
import pytest

from ssl_kedro.saliency.evaluation import bootstrap_interval


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_two_images_by_hand() -> None:
    """Means of two draws from {0, 1}: 0, 1/2, 1 with chances 1/4, 1/2, 1/4."""
    found = bootstrap_interval(np.array([0.0, 1.0]), generator(), confidence=0.4)
    assert (found.mean, found.low, found.high, found.images) == (0.5, 0.5, 0.5, 2)
    found = bootstrap_interval(np.array([0.0, 1.0]), generator(), confidence=0.6)
    assert (found.low, found.high) == (0.0, 1.0)


def test_many_images_approach_the_normal_interval() -> None:
    scores = generator(1).normal(3, 2, 400)
    found = bootstrap_interval(scores, generator(), resamples=20_000)
    error = scores.std() / math.sqrt(400)
    assert found.low == pytest.approx(scores.mean() - 1.96 * error, abs=0.05 * error)
    assert found.high == pytest.approx(scores.mean() + 1.96 * error, abs=0.05 * error)


def test_equals_a_loop_over_resamples() -> None:
    scores = generator(4).random(7)
    drawn = generator().integers(0, 7, size=(200, 7))
    means = sorted(sum(scores[i] for i in one) / 7 for one in drawn)
    found = bootstrap_interval(scores, generator(), confidence=0.9, resamples=200)
    assert found.low == pytest.approx(np.percentile(means, 5))
    assert found.high == pytest.approx(np.percentile(means, 95))


def test_images_without_a_score_are_left_out() -> None:
    scores = generator(2).random(9)
    holes = np.insert(scores, [0, 4, 9], np.nan)
    assert bootstrap_interval(holes, generator()) == bootstrap_interval(scores, generator())


@pytest.mark.parametrize("scores", [[], [2.0], [np.nan, 2.0], [np.nan]])
def test_too_few_images_have_no_interval(scores: list[float]) -> None:
    found = bootstrap_interval(np.array(scores), generator())
    assert found.low is None
    assert found.high is None
    assert found.images == np.isfinite(scores).sum()
    assert found.mean == (2 if found.images else None)


def test_groups_are_drawn_as_a_whole() -> None:
    scores = generator(3).random(6)
    # Every image ten times: frames of a video that say the same.
    frames, scenes = np.repeat(scores, 10), np.repeat(np.arange(6), 10).tolist()
    by_scene = bootstrap_interval(frames, generator(), groups=scenes)
    alone = bootstrap_interval(scores, generator())
    assert by_scene.low == pytest.approx(alone.low)
    assert by_scene.high == pytest.approx(alone.high)
    naive = bootstrap_interval(frames, generator())
    assert naive.high - naive.low < 0.5 * (alone.high - alone.low)
    one = bootstrap_interval(frames, generator(), groups=["street"] * 60)
    assert one.low is None


def test_groups_of_unequal_size_by_hand() -> None:
    """Groups (0, 0, 0) and (1): means 0, 1/4, 1 with chances 1/4, 1/2, 1/4."""
    found = bootstrap_interval(
        np.array([0, 1.0, 0, 0]), generator(), confidence=0.4, groups=["a", "b", "a", "a"]
    )
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_paired_differences() -> None:
    hard = generator(5).normal(0, 10, 40)
    better, worse = hard + 1 + generator(6).normal(0, 0.1, 40), hard.copy()
    found = bootstrap_interval(better - worse, generator())
    assert 0.9 < found.low < found.mean < found.high < 1.1
    assert bootstrap_interval(better, generator()).low < bootstrap_interval(worse, generator()).high
    worse[3], better[7] = np.nan, np.nan
    assert bootstrap_interval(better - worse, generator()).images == 38


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = generator(7).random(11)
    whole = bootstrap_interval(scores, generator())
    monkeypatch.setattr("ssl_kedro.saliency.evaluation._BLOCK", 110)
    assert bootstrap_interval(scores, generator()) == whole


def test_what_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match=r"found shape \(2, 3\)"):
        bootstrap_interval(np.zeros((2, 3)), generator())
    with pytest.raises(ValueError, match="with 1 infinite"):
        bootstrap_interval(np.array([1, np.inf]), generator())
    with pytest.raises(ValueError, match="a group for each of 2 scores, found 1"):
        bootstrap_interval(np.zeros(2), generator(), groups=["a"])
    with pytest.raises(ValueError, match="found 1 and 10000"):
        bootstrap_interval(np.zeros(2), generator(), confidence=1)
