"""From single runs to means over seeds and flat metrics.

A frame of runs has one row a model, budget, seed and branch: model, method, budget_percent (NA
for a dense method), seed, branch, and numbers; accuracies and shares are fractions.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.pipelines.gated.records import Evaluation
from ssl_kedro.pipelines.gated.report.speed_numbers import stage_metrics
from ssl_kedro.pipelines.gated.rows import whole_percent

_GROUP = ["model", "method", "budget_percent", "branch"]
_CHANNELS = ("always_on", "always_off", "dependent")


def collect_runs(**evaluations: Evaluation) -> pd.DataFrame:
    """One row a training and branch: what every table is made of; fractions, not percent.

    Args:
        evaluations: by the model's name in the metrics and its seed, "dual.budget_30.seed_0".

    Returns:
        A narrower network's width is part of its name there: "thin.width_9".
    """
    return pd.DataFrame(
        row
        for key, evaluation in evaluations.items()
        for row in _run_rows(_without_budget_and_seed(key), evaluation)
    )


def _without_budget_and_seed(key: str) -> str:
    parts = (part for part in key.split(".") if not part.startswith(("budget_", "seed_")))
    return ".".join(parts)


def _run_rows(name: str, evaluation: Evaluation) -> list[dict[str, Any]]:
    """The rows of one training, one a branch."""
    macs, training = evaluation.macs, evaluation.training
    rows = []
    for branch, found in evaluation.branches.items():
        linear = np.asarray([np.nan] if found.linear_top1 is None else found.linear_top1)
        spent = macs.own if branch == "dense" else (macs.gated_mean or np.nan)
        # A dense branch of the whole network saves nothing, and no figure is given for it.
        saves = branch == "gated" or macs.own != macs.dense
        nearest = (found.knn_top1, found.knn_normalised_top1)
        knn, normalised = (np.nan if value is None else value for value in nearest)
        rows.append(
            {
                "model": name,
                "method": evaluation.method,
                "budget_percent": whole_percent(evaluation.budget),
                "seed": evaluation.seed,
                "branch": branch,
                "linear_top1": float(linear.mean()),
                "linear_std": float(linear.std()),
                "knn_top1": knn,
                "knn_normalised_top1": normalised,
                "macs": spent,
                "dense_macs": macs.dense,
                "flop_reduction": 1 - spent / macs.dense if saves else np.nan,
                **_channel_shares(evaluation.channel_usage if branch == "gated" else ()),
                "training_seconds": training.seconds,
                "training_macs": training.macs,
                "images_per_second": training.images_per_second,
            }
        )
    return rows


def _channel_shares(usage: Sequence[BlockUsage]) -> dict[str, float]:
    """Shares of all inner channels that are always on, always off, or depend on the image."""
    total = sum(block.channels for block in usage) or np.nan
    return {name: sum(getattr(b, name) for b in usage) / total for name in _CHANNELS}


def metrics(runs: pd.DataFrame, baselines: dict[str, float], **stages: Any) -> dict[str, float]:
    """The numbers of the run under flat keys; accuracies and reductions are fractions."""
    return flat_metrics(runs, baselines) | stage_metrics(stages)


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
        key, percent = row["model"], row["budget_percent"]
        if not pd.isna(percent):
            key += f".budget_{int(percent):02d}"
        branch = f"{key}.{row['branch']}"
        found[f"{branch}.linear_top1_mean"] = row["linear_top1_mean"]
        spread = "linear_std_mean" if row["seeds"] == 1 else "linear_top1_std"
        found[f"{branch}.linear_top1_std"] = row[spread]
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
