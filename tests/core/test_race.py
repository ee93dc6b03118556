"""Races with times that are given instead of measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ssl_kedro.core.race import first_within, prepared, race, seconds_of


def given(*seconds: float) -> Callable[[], float]:
    """Takes these times, one after the other, then the last for ever."""

    def endless() -> Iterator[float]:
        yield from seconds
        while True:
            yield seconds[-1]

    times = endless()
    return lambda: next(times)


def test_candidates_take_turns() -> None:
    order: list[str] = []

    def runner(name: str) -> Callable[[], float]:
        return lambda: order.append(name) or 1.0  # type: ignore[func-returns-value]

    race({name: runner(name) for name in "abc"}, 2)
    assert "".join(order) == "abcabc"


def test_who_is_hopeless_leaves_after_the_first_rounds_and_frees_what_it_holds() -> None:
    runners = {"fast": given(1.0), "unlucky": given(5.0, 5.0, 1.2), "slow": given(2.0)}
    times = race(runners, 5, patience=3, hopeless=1.5)
    assert times == {"fast": [1.0] * 5, "unlucky": [5.0, 5.0, 1.2, 1.2, 1.2], "slow": [2.0] * 3}
    assert set(runners) == {"fast", "unlucky"}


def test_a_race_ends_with_its_time_but_not_before_all_have_run_a_few_times() -> None:
    assert race({"a": given(1.0)}, 100, seconds=0.0, patience=3) == {"a": [1.0] * 4}


def test_a_race_of_the_quick_goes_on_for_the_least_time() -> None:
    (times,) = race({"a": seconds_of(lambda: None)}, 1, least_seconds=0.02).values()
    assert len(times) > 10
    assert 0 < sum(times) < 1


def test_a_candidate_that_may_fail_is_left_out_with_its_error() -> None:
    def fails() -> int:
        raise OSError("no such engine")

    made, faults = prepared(
        {"a": lambda: 1, "b": fails}, lambda name, error: isinstance(error, OSError)
    )
    assert made == {"a": 1}
    assert {name: str(fault) for name, fault in faults.items()} == {"b": "no such engine"}
    with pytest.raises(OSError, match="no such engine"):
        prepared({"b": fails}, lambda name, error: name == "a")


def test_the_first_stays_unless_it_is_beaten_clearly() -> None:
    assert first_within({"plain": 1.05, "fancy": 1.0}, 1.1) == "plain"
    assert first_within({"plain": 1.2, "fancy": 1.0}, 1.1) == "fancy"
    assert first_within({"plain": 1.05, "fancy": 1.0}) == "fancy"
