"""A race for the fastest: candidates take turns, so that other work on the machine meets all alike.

Who takes part is made ready first (:func:`prepared`), which may fail; the race itself
(:func:`race`) gives seconds, of which its caller makes what decides (:func:`first_within`).
"""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def prepared(
    makers: Mapping[K, Callable[[], T]], may_fail: Callable[[K, Exception], bool]
) -> tuple[dict[K, T], dict[K, Exception]]:
    """What was made, and for the other candidates why it was not.

    Args:
        makers: of each candidate, in order.
        may_fail: whether a candidate that fails so is left out; else its error is raised.
    """
    made: dict[K, T] = {}
    faults: dict[K, Exception] = {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except Exception as error:
            if not may_fail(name, error):
                raise
            faults[name] = error
    return made, faults


def seconds_of(call: Callable[[], object]) -> Callable[[], float]:
    """A call that returns how long it took."""

    def timed() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return timed


def race(
    runners: dict[K, Callable[[], float]],
    rounds: int,
    *,
    seconds: float = math.inf,
    least_seconds: float = 0.0,
    patience: int = 1,
    hopeless: float = math.inf,
) -> dict[K, list[float]]:
    """Seconds of each candidate in each round that it took part in.

    Args:
        runners: each runs once and returns its seconds; warm, since the first round counts. Who
            leaves the race is taken out, and with it the memory that it holds.
        rounds: at least, unless the time is up.
        seconds: after which the race ends, when each has run a few times more than ``patience``.
        least_seconds: for which it goes on, whatever the rounds.
        patience: rounds after which candidates have to leave.
        hopeless: whose least time is over the leader's by this factor leaves.
    """
    times: dict[K, list[float]] = {name: [] for name in runners}
    began, done = time.perf_counter(), 0
    while True:
        passed = time.perf_counter() - began
        if (done >= rounds and passed >= least_seconds) or (done > patience and passed > seconds):
            return times
        for name, run in runners.items():
            times[name].append(run())
        done += 1
        if done >= patience:
            leader = min(min(values) for values in times.values())
            for name in [name for name in runners if min(times[name]) > hopeless * leader]:
                del runners[name]


def first_within(times: Mapping[K, float], factor: float = 1.0) -> K:
    """The first candidate that no other beats by more than a factor.

    Args:
        times: what decides, of each candidate, those preferred first.
        factor: 1 = the fastest.
    """
    limit = factor * min(times.values())
    return next(name for name, value in times.items() if value <= limit)
