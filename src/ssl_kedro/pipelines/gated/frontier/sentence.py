"""The front in a few sentences: what to deploy, and how much faster it is."""

import pandas as pd

from ssl_kedro.pipelines.gated.frontier.names import ENGINES, MEASURE_TITLES, form_label
from ssl_kedro.pipelines.gated.inference.records import Deployment
from ssl_kedro.reporting.number_format import listed, percent, signed


def deployment_sentence(chosen: Deployment, frame: pd.DataFrame, max_loss: float) -> str:
    """What to deploy.

    Args:
        chosen: all of it but the sentence.
        frame: of the front.
        max_loss: points that a precision may lose.
    """
    measure = MEASURE_TITLES[chosen.measure]
    name = form_label(chosen.model, chosen.network, chosen.precision)
    best = form_label(*chosen.best.split(", "))
    gains = [
        f"{ratio:.2f} times as fast at batch {batch} (on {ENGINES[chosen.engines[batch]]}; "
        f"{chosen.f32_ratio[batch]:.2f} times the dense network in f32)"
        for batch, ratio in chosen.ratio.items()
    ]
    points = f"{chosen.within:g} point{'' if chosen.within == 1 else 's'}"
    start = f"Within {points} of the best ({best}, {percent(chosen.best_accuracy)} {measure})"
    if name == best:
        start = f"Within {points} of the best, which is also the fastest of these"
    return (
        f"{start}, deploy {name}: {percent(chosen.accuracy)}.{_interval(chosen, frame)} "
        f"{_measured_on(chosen)} Against the fastest dense network that loses at most "
        f"{max_loss:g} points it is {listed(gains)}."
    )


def _measured_on(chosen: Deployment) -> str:
    """Accuracies that networks are chosen by flatter the choice."""
    if chosen.measure == "neighbours":
        return "It is one of the baseline's: without labels encoders cannot be compared."
    return "The evaluation images that this is measured on also decided between networks."


def _interval(chosen: Deployment, frame: pd.DataFrame) -> str:
    """Difference to the dense network in f32, where there is one with an interval."""
    rows = frame[frame["deployed"].astype(bool)].sort_values(chosen.measure)
    names = [f"{chosen.measure}_{end}" for end in ("difference", "low", "high")]
    if not set(names) <= set(rows.columns) or rows[names].isna().to_numpy().any():
        return ""
    difference, low, high = (signed(float(rows[name].iloc[0]), 1) for name in names)
    seeds = int(rows["seeds"].iloc[0])
    over = f"{seeds} seeds" if seeds > 1 else "evaluation images"
    return (
        f" That is {difference} points against dense in f32, with a 95 % interval of {low} to "
        f"{high} over {over}."
    )
