"""What the open questions' numbers say, in one sentence each.

A difference counts as shown where at least three seeds agree to the extent that its mean is not
below its standard deviation; this is a rule of thumb for few seeds, not a test of significance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from ssl_kedro.reporting.chapter6_models import SHORT_NAMES
from ssl_kedro.reporting.number_format import percent, signed_with_std

_LEAST_SEEDS = 3


def verdict_1(frame: pd.DataFrame) -> str:
    """Dense branch with an anchor, against plain dual gating and against VICReg."""
    against_dual = _by_budget(frame, "dense_anchored", "dense_linear_against_dual", _helps)
    against_vicreg = _by_budget(frame, "dense_anchored", "dense_linear_against_vicreg", _differs)
    return (
        f"Over {_seeds(frame)}, by linear accuracy of the dense branch, the anchor against plain "
        f"dual gating {against_dual}; against VICReg trained on its own, the anchored dense branch "
        f"{against_vicreg}."
    )


def verdict_2(frame: pd.DataFrame) -> str:
    """Channel diversity: dead channels, and accuracy."""
    channels = _by_budget(frame, "channel_diversity", "always_off_against_dual", _helps_if_lower)
    accuracy = _by_budget(frame, "channel_diversity", "gated_linear_against_dual", _differs)
    return (
        f"Over {_seeds(frame)}, by the share of channels that are always off, the diversity term "
        f"{channels}; gated linear accuracy {accuracy}."
    )


def verdict_3(frame: pd.DataFrame) -> str:
    """Non-symmetric methods in the dual setting, against VICReg there."""
    models = [model for model in dict.fromkeys(frame["model"]) if model != "dual"]
    parts = [
        f"{SHORT_NAMES[model]} {_by_budget(frame, model, 'gated_linear_against_dual', _helps)}"
        for model in models
    ]
    found = "; ".join(parts) or "no non-symmetric method was measured"
    return (
        f"Over {_seeds(frame)}, by gated linear accuracy against dual gating with VICReg: {found}."
    )


def verdict_4(frame: pd.DataFrame) -> str:
    """Dual ascent: distance from the budget, and accuracy at equal cost."""
    distance = _by_budget(frame, "dual_ascent", "distance_against_dual", _helps_if_lower)
    accuracy = _by_budget(frame, "dual_ascent", "gated_linear_at_equal_cost", _differs)
    return (
        f"Over {_seeds(frame)}, by the distance between realised cost and budget, dual ascent "
        f"{distance}; at equal realised cost its gated linear accuracy {accuracy}."
    )


VERDICTS: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "question_1": verdict_1,
    "question_2": verdict_2,
    "question_3": verdict_3,
    "question_4": verdict_4,
}


def _by_budget(
    frame: pd.DataFrame, model: str, column: str, judged: Callable[[float, bool], str]
) -> str:
    """Judgements of one difference: "helps at 10 % (...) and 30 % (...), not shown at 50 %"."""
    found: dict[str, list[str]] = {}
    for row in frame[frame["model"] == model].to_dict("records"):
        mean, std, n = row[column], row[f"{column}_std"], int(row[f"{column}_n"])
        place = percent(int(row["budget_percent"]) / 100, 0)
        if n == 0:
            found.setdefault("was not measured", []).append(place)
            continue
        shown = n >= _LEAST_SEEDS and abs(mean) >= std
        common = "" if n == int(row["seeds"]) else f", {_seed_count(n)}"
        numbers = f"{signed_with_std(mean, std)} points{common}"
        found.setdefault(judged(mean, shown), []).append(f"{place} ({numbers})")
    phrases = [f"{judgement} at {_listed(places)}" for judgement, places in found.items()]
    return _listed(phrases) if phrases else "was not measured"


def _seeds(frame: pd.DataFrame) -> str:
    """Number of seeds of the question's models, "3 seeds" or "2 to 3 seeds"."""
    fewest, most = int(frame["seeds"].min()), int(frame["seeds"].max())
    return _seed_count(most) if fewest == most else f"{fewest} to {_seed_count(most)}"


def _seed_count(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"


def _helps(mean: float, shown: bool) -> str:
    if not shown:
        return "is not shown to help"
    return "helps" if mean > 0 else "does not help"


def _helps_if_lower(mean: float, shown: bool) -> str:
    return _helps(-mean, shown)


def _differs(mean: float, shown: bool) -> str:
    if not shown or mean == 0:
        return "is not shown to differ"
    return "is higher" if mean > 0 else "is lower"


def _listed(words: list[str]) -> str:
    """Words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
