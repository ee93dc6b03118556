"""Differences of two models on the same panoramas, with what their intervals say.

A difference counts as shown where its paired interval does not hold 0. Intervals of two means that
overlap decide nothing: the same panoramas are in both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ssl_kedro.reporting.number_format import signed
from ssl_kedro.saliency.intervals import paired_interval
from ssl_kedro.saliency.metric import metrics

Results = Mapping[str, Any]
Judgement = Literal["better", "worse", "undecided", "no interval", "unknown"]
# Percentile intervals of fewer scenes than this are too narrow to be believed.
FEW_SCENES = 5


@dataclass(frozen=True)
class Difference:
    """A model less another on the same panoramas; NaN where it is not known.

    Args:
        metric: which.
        mean: of the differences.
        low: lower end of the paired interval.
        high: upper end.
    """

    metric: str
    mean: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def judgement(self) -> Judgement:
        """What the interval says of the first model."""
        if math.isnan(self.mean):
            return "unknown"
        if math.isnan(self.low) or math.isnan(self.high):
            return "no interval"
        if self.low <= 0 <= self.high:
            return "undecided"
        return "better" if (self.low > 0) != (metrics()[self.metric].lower_is_better) else "worse"

    @property
    def text(self) -> str:
        """The mean with its interval, as "+0.11 [+0.00, +0.20]", where there is one."""
        digits = 3
        mean = signed(self.mean, digits)
        if self.judgement in ("unknown", "no interval"):
            return mean
        return f"{mean} [{signed(self.low, digits)}, {signed(self.high, digits)}]"


def decided(one: Difference) -> str:
    """The difference for a table, with its judgement in words where the interval decides."""
    words = f", {one.judgement}" if one.judgement in ("better", "worse") else ""
    return f"{one.text}{words}"


def mean_score(results: Results, dataset: str, name: str, mode: str, metric: str) -> float:
    """Mean of a model or baseline, NaN where it was not measured."""
    found = results["scores"].get(dataset, {}).get(name, {}).get(mode, {}).get(metric) or {}
    return number(found.get("mean"))


def difference(
    results: Results, dataset: str, first: str, second: str, mode: str, metric: str
) -> Difference:
    """First less second, with a paired interval where the results allow one.

    The stored differences are to the equator prior. Against others the scores of the single
    panoramas are compared, scene by scene; without them only the means are. Few scenes have no
    interval: that of two or three is narrow by chance.
    """
    described = results["datasets"].get(dataset, {})
    enough = described.get("scenes", 0) >= FEW_SCENES
    if second == "equator":
        of_mode = results["differences"].get(dataset, {}).get(first, {}).get(mode, {})
        stored = of_mode.get(metric) or {}
        if stored.get("mean") is not None:
            ends = (number(stored.get(key)) for key in ("low", "high"))
            return Difference(metric, float(stored["mean"]), *(ends if enough else ()))
    mean = mean_score(results, dataset, first, mode, metric) - mean_score(
        results, dataset, second, mode, metric
    )
    if math.isnan(mean) or not enough:
        return Difference(metric, mean)
    return _paired(results, dataset, (first, second), mode, metric) or Difference(metric, mean)


def _paired(
    results: Results, dataset: str, names: tuple[str, str], mode: str, metric: str
) -> Difference | None:
    """From the scores of each panorama; None where they, or their scenes, are not known."""
    kept = results.get("per_image", {}).get(dataset, {})
    both = [kept.get("scores", {}).get(name, {}).get(mode, {}).get(metric) for name in names]
    described = results["datasets"].get(dataset, {})
    scenes = kept.get("scenes")
    # Frames of one video are not independent: without their scenes there is nothing to draw.
    if scenes is None and described.get("scenes") != described.get("images"):
        return None
    if any(scores is None for scores in both) or len(both[0]) != len(both[1]):
        return None
    first, second = (np.array([number(value) for value in scores]) for scores in both)
    found = paired_interval(
        first,
        second,
        np.random.default_rng(results["seed"]),
        confidence=results["intervals"]["level"],
        resamples=results["intervals"]["resamples"],
        groups=scenes,
    )
    return Difference(metric, found.mean, found.low, found.high)


def number(value: Any) -> float:
    """A figure of the results, NaN where they have none."""
    return float("nan") if value is None else float(value)
