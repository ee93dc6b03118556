"""The front and the choice by their definitions, one pair after the other."""

from __future__ import annotations

import math
import random

import pytest

from ssl_kedro.pipelines.gated.frontier.choice import Candidate, deployed, pareto_front


def beaten(point: tuple[float, float], by: tuple[float, float]) -> bool:
    no_worse = by[0] <= point[0] and by[1] >= point[1]
    return no_worse and (by[0] < point[0] or by[1] > point[1])


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_point_beats(seed: int) -> None:
    draw = random.Random(seed)
    # Few values, so that there are ties in time, in accuracy and in both.
    points = [(draw.randint(1, 9) / 2, draw.randint(0, 7) / 10) for _ in range(40)]
    found = pareto_front(*zip(*points, strict=True))
    expected = [not any(beaten(point, by) for by in points) for point in points]
    assert found.tolist() == expected
    assert any(expected) and not all(expected)


def test_points_without_accuracy_are_not_on_the_front() -> None:
    assert pareto_front([1, 2, 3], [math.nan, 0.4, 0.5]).tolist() == [False, True, True]
    assert pareto_front([], []).tolist() == []
    with pytest.raises(ValueError, match="shorter"):
        pareto_front([1.0, 2.0], [0.5])


@pytest.mark.parametrize("seed", range(20))
def test_what_is_deployed_is_the_fastest_within_reach_of_the_best(seed: int) -> None:
    draw = random.Random(seed)
    candidates = [
        Candidate(str(i), draw.uniform(40, 50), {1: draw.uniform(1, 4), 32: draw.uniform(1, 4)})
        for i in range(12)
    ]
    found = deployed(candidates, 2.0)
    assert found is not None
    chosen, best = found
    assert best.accuracy == max(one.accuracy for one in candidates)
    assert chosen.accuracy >= best.accuracy - 2
    for other in candidates:
        if other.accuracy >= best.accuracy - 2:
            assert math.sqrt(other.ms[1] * other.ms[32]) >= chosen.time - 1e-12
        # Nothing is better in all: the choice is on the front of accuracy and both times.
        no_worse = other.accuracy >= chosen.accuracy and all(
            other.ms[batch] <= chosen.ms[batch] for batch in (1, 32)
        )
        assert not no_worse or other is chosen


def test_a_halved_time_counts_the_same_at_any_batch_size() -> None:
    small, large = Candidate("small", 1, {1: 1, 32: 0.2}), Candidate("large", 1, {1: 2, 32: 0.1})
    assert small.time == pytest.approx(large.time) == pytest.approx(math.sqrt(0.2))
    assert deployed([], 1) is None
    assert deployed([Candidate("unknown", math.nan, {1: 1})], 1) is None
    # One that was timed at other batch sizes than the rest cannot be compared.
    rest = [Candidate("a", 50, {1: 2, 32: 1}), Candidate("b", 50, {1: 3, 32: 1})]
    assert deployed([*rest, Candidate("c", 50, {1: 0.5})], 1) == (rest[0], rest[0])
