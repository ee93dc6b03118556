"""Paired differences of two models on the same panoramas, with what their intervals say.

A difference counts as shown where its paired interval does not hold 0. Intervals of two means that
overlap decide nothing: the same panoramas are in both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ssl_kedro.pipelines.saliency360.plans import TEXT
from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.reporting.number_format import signed
from ssl_kedro.saliency.evaluation import bootstrap_interval
from ssl_kedro.saliency.metric import metrics

Judgement = Literal["better", "worse", "undecided", "no interval", "unknown"]
About = Literal[
    "baseline", "other", "pre-training", "fine-tuning", "decoder", "gating", "text", "quirks"
]
# Percentile intervals of fewer scenes than this are too narrow to be believed.
FEW_SCENES = 5
# The two that the report is about: agreement of maps, and bits a look.
DECIDING = ("cc", "info_gain")


@dataclass(frozen=True)
class Difference:
    """A model less another on the same panoramas; None where it is not known.

    Args:
        about: what the two differ in.
        second: model or baseline that is taken from the first.
        mean: of the differences; low and high are the ends of its paired interval.
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
        mean, low, high = (signed(value, 3) for value in (self.mean, self.low, self.high))
        return mean if self.judgement in ("unknown", "no interval") else f"{mean} [{low}, {high}]"

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
    others = [name for name in results.given if name in results.scores[results.main]]
    for name in (*names, *others):
        for baseline in ("equator", "mean"):
            if baseline in results.scores[results.main]:
                yield "baseline", name, baseline
    yield from _gated_pairs(results, names)
    if judged is None:
        return
    for name in others:
        yield "other", judged, name
    own = results.models[judged]
    encoder = results.encoders[own.encoder]
    parts = ("encoder", "decoder", "fine_tune", "recipe")
    once: set[About] = set()
    for name in names:
        plan = results.models[name]
        other = results.encoders[plan.encoder]
        same_network = (other.architecture, other.width) == (encoder.architecture, encoder.width)
        changed = {part for part in parts if getattr(plan, part) != getattr(own, part)}
        if changed == {"encoder"} and (encoder.kind, other.kind) == ("contrastive", "random"):
            if same_network and "pre-training" not in once:
                once.add("pre-training")
                yield "pre-training", judged, name
        elif changed == {"fine_tune"} and plan.fine_tune and "fine-tuning" not in once:
            once.add("fine-tuning")
            yield "fine-tuning", name, judged
        elif changed == {"decoder"}:
            yield "decoder", name, judged
        elif TEXT in plan.recipe and TEXT not in own.recipe:
            yield "text", name, judged
        elif "recipe" in changed <= {"recipe", "encoder"} and not own.recipe:
            yield "quirks", name, judged


def _gated_pairs(results: Results, names: list[str]) -> Iterator[tuple[About, str, str]]:
    """Each model on a gated branch, and the one on the dense branch that is like it otherwise."""

    def like(name: str) -> tuple[object, ...]:
        plan = results.models[name]
        recipe = tuple(plan.recipe)
        return results.encoders[plan.encoder].file, plan.decoder, plan.fine_tune, recipe

    masked = {name for name in names if results.encoders[results.models[name].encoder].masked}
    for name in sorted(masked):
        dense = next((n for n in names if n not in masked and like(n) == like(name)), None)
        if dense is not None:
            yield "gating", name, dense


def _difference(results: Results, about: About, first: str, second: str, metric: str) -> Difference:
    """First less second, with a paired interval where the results allow one.

    Few scenes have no interval: that of two or three is narrow by chance.
    """
    dataset, mode = results.main, results.mode(results.main)
    enough = results.datasets[dataset].scenes >= FEW_SCENES
    made = partial(Difference, about, first, second, metric)
    if second == "equator":
        stored = results.differences[dataset].get(first, {}).get(mode, {}).get(metric)
        if stored is not None and stored.mean is not None:
            return made(stored.mean, *((stored.low, stored.high) if enough else ()))
    means = [results.estimate(name, metric).mean for name in (first, second)]
    if means[0] is None or means[1] is None:
        return made()
    images = results.per_image.get(dataset)
    of = images.scores if images else {}
    both = [of.get(name, {}).get(mode, {}).get(metric) for name in (first, second)]
    if images is None or not enough or None in both:
        return made(means[0] - means[1])
    one, other = np.array(both, dtype=np.float64)
    found = bootstrap_interval(
        one - other,
        np.random.default_rng(results.seed),
        confidence=results.intervals["level"],
        resamples=int(results.intervals["resamples"]),
        groups=images.scenes,
    )
    return made(found.mean, found.low, found.high)
