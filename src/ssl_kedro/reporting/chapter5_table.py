"""Table 5.1: SimSiam with dynamic channel selection, measured beside published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssl_kedro.reporting.published import published_table


def table_5_1(
    metrics: Mapping[str, float], budgets: Sequence[float], dataset: str, *, comparable: bool
) -> pd.DataFrame:
    """One row a budget and the ungated baseline; percent and percentage points.

    Args:
        metrics: the run's flat metrics (fractions); accuracies may be missing.
        budgets: t_d of the run.
        dataset: data set of the thesis whose figures stand beside.
        comparable: whether the run used that data set; differences to the published figures
            are left empty otherwise.

    Returns:
        Columns method, budget_percent, knn_top1, flop_reduction, macs, always_on, always_off,
        dependent, against_baseline, published_knn_top1, published_flop_reduction,
        published_macs, published_against_baseline, difference_knn, difference_reduction.
    """
    published = published_table("5.1")
    published = published[published["dataset"] == dataset]
    rows = [_row(metrics, published, None)]
    rows += [_row(metrics, published, round(100 * budget)) for budget in sorted(budgets)]
    frame = pd.DataFrame(rows)
    gated = frame["method"] == "simsiam_gating"
    for prefix in ("", "published_"):
        accuracy = frame[f"{prefix}knn_top1"]
        frame[f"{prefix}against_baseline"] = (accuracy - accuracy.iloc[0]).where(gated)
    for name, column in (
        ("knn_top1", "difference_knn"),
        ("flop_reduction", "difference_reduction"),
    ):
        difference = frame[name] - frame[f"published_{name}"]
        frame[column] = difference if comparable else float("nan")
    frame["budget_percent"] = frame["budget_percent"].astype("Int64")
    return frame


def operating_point(
    metrics: Mapping[str, float], budgets: Sequence[float], within_points: float
) -> float | None:
    """Cheapest budget whose 1-NN accuracy is close enough to the baseline's.

    Args:
        metrics: the run's flat metrics.
        budgets: t_d of the run.
        within_points: allowed loss in percentage points.

    Returns:
        The budget with the largest measured FLOP reduction among those allowed; None where
        none is, or accuracies are missing.
    """
    if "simsiam.knn_top1" not in metrics:
        return None
    least = metrics["simsiam.knn_top1"] - within_points / 100
    allowed = [b for b in budgets if metrics[f"{_name(round(100 * b))}.knn_top1"] >= least]
    if not allowed:
        return None
    return max(allowed, key=lambda b: metrics[f"{_name(round(100 * b))}.flop_reduction"])


def _name(percent: int) -> str:
    return f"budget_{percent:02d}"


def _row(
    metrics: Mapping[str, float], published: pd.DataFrame, percent: int | None
) -> dict[str, Any]:
    method = "simsiam" if percent is None else "simsiam_gating"
    key = "simsiam" if percent is None else _name(percent)
    printed = published[published["method"] == method]
    if percent is not None:
        printed = printed[printed["budget_percent"] == percent]

    def measured(name: str) -> float:
        return 100 * metrics.get(f"{key}.{name}", float("nan"))

    def of_thesis(name: str) -> float:
        return float(printed[name].iloc[0]) if len(printed) else float("nan")

    reduction = measured("flop_reduction")
    share = 1.0 if percent is None else 1 - reduction / 100
    return {
        "method": method,
        "budget_percent": percent,
        "knn_top1": measured("knn_top1"),
        "flop_reduction": reduction,
        "macs": metrics["dense_macs"] * share,
        **{name: measured(f"channels.{name}") for name in ("always_on", "always_off", "dependent")},
        "published_knn_top1": of_thesis("knn_top1"),
        "published_flop_reduction": of_thesis("flop_reduction"),
        "published_macs": of_thesis("macs"),
    }
