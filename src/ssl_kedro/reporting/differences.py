"""Differences of two models over what both have, seeds or queries, and their columns in a table."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from ssl_kedro.reporting.number_format import signed_with_std
from ssl_kedro.reporting.table import Column

R = TypeVar("R")


class PairedDifference(NamedTuple):
    """Difference of two models over the seeds, or queries, that both have, in percentage points.

    Args:
        mean: NaN without a common one.
        std: sample deviation (n - 1); NaN below two common ones.
        n: number of common ones.
    """

    mean: float
    std: float
    n: int


UNKNOWN = PairedDifference(math.nan, math.nan, 0)


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> PairedDifference:
    """Mean and deviation of ours - theirs over common seeds; a NaN value does not count.

    Args:
        ours: fractions by seed, or by query.
        theirs: the same.
    """
    values = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    values = [value for value in values if not math.isnan(value)]
    mean, std = mean_and_std(values)
    return PairedDifference(100 * mean, 100 * std, len(values))


def mean_and_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean (NaN of nothing) and sample deviation (NaN below two values)."""
    known = list(values)
    mean = statistics.fmean(known) if known else math.nan
    return mean, statistics.stdev(known) if len(known) > 1 else math.nan


def paired(
    name: str,
    difference: Callable[[R], PairedDifference],
    heading: str = "",
    group: str = "",
    *,
    counted: bool = True,
    lower_is_better: bool = False,
    over: str = "seeds",
) -> tuple[Column[R], ...]:
    """A difference over what ``over`` says, its deviation and, if ``counted``, their number."""
    found: tuple[Column[R], ...] = (
        Column(
            name,
            lambda row: difference(row).mean,
            heading,
            group,
            signed_with_std,
            lower_is_better=lower_is_better,
            difference=True,
            over=over,
        ),
        Column(f"{name}_std", lambda row: difference(row).std),
    )
    return (*found, Column(f"{name}_n", lambda row: difference(row).n)) if counted else found
