"""Paired differences of two models on the same panoramas, with what their intervals say.

A difference counts as shown where its paired interval does not hold 0. Intervals of two means that
overlap decide nothing: the same panoramas are in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.reporting.number_format import signed
from ssl_kedro.saliency.evaluation import bootstrap_interval
from ssl_kedro.saliency.metric import metrics

Judgement = Literal["better", "worse", "undecided", "no interval", "unknown"]
About = Literal["baseline", "pre-training", "fine-tuning", "decoder", "quirks"]
# Percentile intervals of fewer scenes than this are too narrow to be believed.
FEW_SCENES = 5
# The two that the report is about: agreement of maps, and bits a look.
DECIDING = ("cc", "info_gain")


@dataclass(frozen=True)
class Difference:
    """A model less another on the same panoramas; None where it is not known.

    Args:
        about: what the two differ in.
        first: name of the model.
        second: name of the model or baseline that is taken from it.
        metric: which.
        mean: of the differences.
        low: lower end of the paired interval.
        high: upper end.
    """

    about: About
    first: str
    second: str
    metric: str
    mean: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def judgement(self) -> Judgement:
        """What the interval says of the first model."""
        if self.mean is None:
            return "unknown"
        if self.low is None or self.high is None:
            return "no interval"
        if self.low <= 0 <= self.high:
            return "undecided"
        return "better" if (self.low > 0) != metrics()[self.metric].lower_is_better else "worse"

    @property
    def text(self) -> str:
        """The mean with its interval, as "+0.110 [+0.000, +0.200]", where there is one."""
        found = [signed(math.nan if v is None else v, 3) for v in (self.mean, self.low, self.high)]
        if self.judgement in ("unknown", "no interval"):
            return found[0]
        return f"{found[0]} [{found[1]}, {found[2]}]"

    @property
    def decided(self) -> str:
        """The text for a table, with the judgement in words where the interval decides."""
        words = f", {self.judgement}" if self.judgement in ("better", "worse") else ""
        return f"{self.text}{words}"


Differences = list[Difference]


def judged_model(results: Results) -> str | None:
    """Which model the verdict is about: fixed beforehand, not the best on the tested images.

    The best of several on the very images that they are compared on is partly the luckiest.

    Returns:
        The first model with scores on a frozen contrastive encoder, with the light decoder where
        there is one and without quirks of the authors' code; then any model with scores; None
        without any.
    """

    def place(name: str) -> tuple[bool, ...]:
        plan = results.models[name]
        return (
            results.encoders[plan.encoder].kind != "contrastive",
            bool(plan.recipe),
            plan.fine_tune,
            plan.decoder != "light",
        )

    return min(scored_models(results), key=place, default=None)


def scored_models(results: Results) -> list[str]:
    """Models that the run's own data were predicted by."""
    return [name for name in results.models if name in results.scores[results.main]]


def paired_differences(results: Results) -> list[Difference]:
    """All differences that the report speaks of: the run's own data, in the mode it shows."""
    return [
        _difference(results, about, first, second, metric)
        for about, first, second in _pairs(results)
        for metric in (DECIDING[:1] if about == "decoder" else DECIDING)
    ]


def _pairs(results: Results) -> Iterator[tuple[About, str, str]]:
    """Every model and each baseline; then the judged one and those that differ in one thing."""
    names, judged = scored_models(results), judged_model(results)
    for name in names:
        for baseline in ("equator", "mean"):
            if baseline in results.scores[results.main]:
                yield "baseline", name, baseline
    if judged is None:
        return
    own = results.models[judged]
    encoder = results.encoders[own.encoder]
    once: set[About] = set()
    for name in names:
        plan, other = results.models[name], results.encoders[results.models[name].encoder]
        same_network = (other.architecture, other.width) == (encoder.architecture, encoder.width)
        about: About | None = None
        changed = {
            key
            for key in ("encoder", "decoder", "fine_tune", "recipe")
            if getattr(plan, key) != getattr(own, key)
        }
        if changed == {"encoder"} and same_network and other.kind == "random":
            about = "pre-training" if encoder.kind == "contrastive" else None
        elif changed == {"fine_tune"} and plan.fine_tune:
            about = "fine-tuning"
        elif changed == {"decoder"}:
            about = "decoder"
        elif "recipe" in changed <= {"recipe", "encoder"} and not own.recipe:
            about = "quirks"
        if about is None or about in once:
            continue
        if about in ("pre-training", "fine-tuning"):
            once.add(about)
        yield (about, judged, name) if about == "pre-training" else (about, name, judged)


def _difference(results: Results, about: About, first: str, second: str, metric: str) -> Difference:
    """First less second, with a paired interval where the results allow one.

    Few scenes have no interval: that of two or three is narrow by chance.
    """
    dataset, mode = results.main, results.mode(results.main)
    enough = results.datasets[dataset].scenes >= FEW_SCENES
    if second == "equator":
        stored = results.differences[dataset].get(first, {}).get(mode, {}).get(metric)
        if stored is not None and stored.mean is not None:
            ends = (stored.low, stored.high) if enough else ()
            return Difference(about, first, second, metric, stored.mean, *ends)
    means = [results.estimate(dataset, name, mode, metric).mean for name in (first, second)]
    if means[0] is None or means[1] is None:
        return Difference(about, first, second, metric)
    kept = results.per_image.get(dataset)
    both = [
        kept.scores.get(name, {}).get(mode, {}).get(metric) if kept else None
        for name in (first, second)
    ]
    if kept is None or not enough or both[0] is None or both[1] is None:
        return Difference(about, first, second, metric, means[0] - means[1])
    found = bootstrap_interval(
        np.array(both[0], dtype=np.float64) - np.array(both[1], dtype=np.float64),
        np.random.default_rng(results.seed),
        confidence=results.intervals["level"],
        resamples=int(results.intervals["resamples"]),
        groups=kept.scenes,
    )
    return Difference(about, first, second, metric, found.mean, found.low, found.high)
