"""From single runs to means over seeds, flat metrics and differences paired by seed.

A frame of runs has one row a model, budget, seed and branch: model, method, budget_percent (NA
for a dense method), seed, branch, and numbers; accuracies and shares are fractions.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

_GROUP = ["model", "method", "budget_percent", "branch"]
_CHANNELS = ("always_on", "always_off", "dependent")


class PairedDifference(NamedTuple):
    """Difference of two models over the seeds that both have.

    Args:
        mean: NaN without a common seed.
        std: sample deviation (n - 1); NaN below two common seeds.
        n: number of common seeds.
    """

    mean: float
    std: float
    n: int


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and sample standard deviation over seeds.

    Args:
        runs: one row a model, budget, seed and branch.

    Returns:
        One row a model, method, budget_percent and branch in the order of their appearance;
        ``<metric>_mean``, ``<metric>_std`` (n - 1; NaN with one seed) for every further column,
        and ``seeds``, their number.
    """
    metrics = [name for name in runs.columns if name not in (*_GROUP, "seed")]
    grouped = runs.groupby(_GROUP, dropna=False, sort=False)
    parts = [
        grouped[metrics].mean().add_suffix("_mean"),
        grouped[metrics].std(ddof=1).add_suffix("_std"),
        grouped["seed"].nunique().rename("seeds"),
    ]
    return pd.concat(parts, axis=1).reset_index()


def flat_metrics(runs: pd.DataFrame, baselines: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a run under flat keys; what was not measured has no key.

    Keys are ``dense_macs``, those of the baselines, and for a model ``vicreg`` or
    ``dual.budget_30``: ``<model>.<branch>.linear_top1_mean`` and ``linear_top1_std`` (over seeds;
    over the probe's runs where there is one seed), ``knn_top1``, ``knn_normalised_top1`` and
    ``flop_reduction`` (means; with several seeds also ``knn_top1_std`` and
    ``flop_reduction_std``), and ``<model>.channels.always_on``, ``always_off``, ``dependent``.

    Args:
        runs: one row a model, budget, seed and branch; not empty.
        baselines: what any encoder has to beat, e.g. "chance".
    """
    found: dict[str, float] = {"dense_macs": runs["dense_macs"].iloc[0].item(), **baselines}
    for row in summary(runs).to_dict("records"):
        key = model_key(row["model"], row["budget_percent"])
        branch = f"{key}.{row['branch']}"
        found[f"{branch}.linear_top1_mean"] = row["linear_top1_mean"]
        over_probes = row["seeds"] == 1
        spread = row["linear_std_mean"] if over_probes else row["linear_top1_std"]
        found[f"{branch}.linear_top1_std"] = spread
        for name in ("knn_top1", "knn_normalised_top1", "flop_reduction"):
            found[f"{branch}.{name}"] = row[f"{name}_mean"]
        for name in ("knn_top1", "flop_reduction"):
            found[f"{branch}.{name}_std"] = row[f"{name}_std"]
        if row["branch"] == "gated":
            for share in _CHANNELS:
                found[f"{key}.channels.{share}"] = row[f"{share}_mean"]
    return {name: value for name, value in found.items() if not math.isnan(value)}


def has_several_seeds(metrics: Mapping[str, float]) -> bool:
    """Whether flat metrics are means over training seeds."""
    return any(name.endswith((".knn_top1_std", ".flop_reduction_std")) for name in metrics)


def model_key(model: str, budget_percent: float | None) -> str:
    """Name of a model at a budget: ("dual", 30) -> "dual.budget_30", ("vicreg", NA) -> "vicreg"."""
    return model if pd.isna(budget_percent) else f"{model}.budget_{int(budget_percent):02d}"


def by_seed(
    runs: pd.DataFrame, model: str, metric: str, branch: str, budget_percent: int | None
) -> dict[int, float]:
    """Measured values of one model and branch by seed; a model without budgets serves any."""
    budgets = runs["budget_percent"]
    same = (runs["model"] == model) & (runs["branch"] == branch) & budgets.isna()
    if budget_percent is not None:
        at_budget = (budgets == budget_percent).fillna(False).astype(bool)
        same |= (runs["model"] == model) & (runs["branch"] == branch) & at_budget
    rows = runs[same & runs[metric].notna()]
    return {int(seed): float(value) for seed, value in zip(rows["seed"], rows[metric], strict=True)}


def paired_difference(
    runs: pd.DataFrame,
    model: str,
    against: str,
    metric: str,
    branch: str,
    budget_percent: int | None,
    against_branch: str | None = None,
) -> PairedDifference:
    """A model's metric less another's, seed by seed.

    Args:
        runs: one row a model, budget, seed and branch.
        model: the one in question.
        against: what is subtracted; where it has no budget it serves every budget.
        metric: column of the runs.
        branch: of both, unless ``against_branch`` is given.
        budget_percent: of both.
        against_branch: branch of ``against`` where it is another.
    """
    ours = by_seed(runs, model, metric, branch, budget_percent)
    theirs = by_seed(runs, against, metric, against_branch or branch, budget_percent)
    return difference_over_seeds(ours, theirs)


def difference_over_seeds(
    ours: Mapping[int, float], theirs: Mapping[int, float]
) -> PairedDifference:
    """Mean and deviation of ours - theirs over common seeds; a NaN value does not count."""
    values = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    values = [value for value in values if not math.isnan(value)]
    return PairedDifference(*mean_and_std(values), len(values))


def mean_and_std(values: list[float]) -> tuple[float, float]:
    """Mean (NaN of nothing) and sample deviation (NaN below two values)."""
    mean = statistics.fmean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan
