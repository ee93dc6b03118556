"""Rows of runs as plain dictionaries, and frames of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ssl_kedro.evaluation.accuracies import Costs
from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.pipelines.gated.records import Evaluation, TrainingSummary

METHODS = {
    "vicreg": "vicreg",
    "vicreg_gating": "vicreg_gating",
    "dual": "dual_gating",
    "barlow_dual": "barlow_dual_gating",
    "two_encoders": "two_encoders",
    "without_invariance": "without_invariance",
    "simreg": "simreg",
    "seed": "seed",
    "dense_anchored": "dense_anchored",
    "channel_diversity": "dual_gating",
    "simsiam_dual": "simsiam_dual_gating",
    "byol_dual": "byol_dual_gating",
    "dual_ascent": "dual_gating",
    "rotnet_dual": "rotnet_dual_gating",
    **{
        f"{family}_dual": f"{family}_dual_gating"
        for family in ("simclr", "moco_v2", "moco_v3", "wmse", "dino")
    },
}
DENSE_ONLY = ("vicreg", "simreg", "seed")
NAN = float("nan")
Row = dict[str, Any]


def evaluation(
    method: str, percent: int | None, usage: Sequence[BlockUsage] = (), **training: float
) -> Evaluation:
    """What a model left, without accuracies."""
    went: dict[str, Any] = {"epochs": 2, "seconds": 60.0, "images_per_second": 100.0, **training}
    return Evaluation(
        method=method,
        budget=None if percent is None else percent / 100,
        seed=0,
        branches={},
        macs=Costs(1_000_000, 1_000_000),
        channel_usage=tuple(usage),
        parameters=10,
        training=TrainingSummary(macs=1, collapsed=False, **went),
    )


def run_row(model: str, budget: int | None, seed: int, branch: str, **values: float) -> Row:
    """One row with plain numbers where none are given."""
    gated = branch == "gated"
    saves = gated or model in ("simreg", "seed")
    row: Row = {
        "model": model,
        "method": METHODS[model],
        "budget_percent": budget,
        "seed": seed,
        "branch": branch,
        "linear_top1": 0.5,
        "linear_std": 0.01,
        "knn_top1": 0.4,
        "knn_normalised_top1": 0.45,
        "macs": 1e6,
        "dense_macs": 2_000_000,
        "flop_reduction": 0.5 if saves else NAN,
        "always_on": 0.2 if gated else NAN,
        "always_off": 0.3 if gated else NAN,
        "dependent": 0.5 if gated else NAN,
        "training_seconds": 100.0,
        "training_macs": 1e12,
        "images_per_second": 1000.0,
    }
    return row | values


def random_rows(models: list[str], budgets: list[int], seeds: list[int]) -> list[Row]:
    """Every model, budget, seed and branch with numbers of its own."""
    draw = random.Random(0)
    rows = []
    for model in models:
        for budget in [None] if model == "vicreg" else budgets:
            for seed in seeds:
                spent = {
                    "training_seconds": draw.uniform(50, 150),
                    "training_macs": draw.uniform(1e12, 2e12),
                }
                branches = ["dense"] if model in DENSE_ONLY else ["dense", "gated"]
                for branch in ["gated"] if model == "vicreg_gating" else branches:
                    row = run_row(model, budget, seed, branch, **spent)
                    for name in ("linear_top1", "knn_top1", "knn_normalised_top1"):
                        row[name] = draw.uniform(0.5, 0.9)
                    if branch == "gated":
                        row["flop_reduction"] = 1 - (budget + draw.uniform(1, 9)) / 100
                        row["always_off"] = draw.uniform(0.1, 0.4)
                    rows.append(row)
    draw.shuffle(rows)
    return rows


def frame(rows: list[Row]) -> pd.DataFrame:
    """The rows as the pipeline hands them over."""
    made = pd.DataFrame(rows)
    return made.assign(budget_percent=made["budget_percent"].astype("Int64"))


def values_by_seed(
    rows: list[Row], model: str, branch: str, budget: int | None, metric: str
) -> dict[int, float]:
    """Plain search through the rows."""
    return {
        row["seed"]: row[metric]
        for row in rows
        if (row["model"], row["branch"], row["budget_percent"]) == (model, branch, budget)
    }
