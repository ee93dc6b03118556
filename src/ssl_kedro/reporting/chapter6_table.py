"""Table 6.1: dense baseline, gated baseline and dual gating, measured beside published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssl_kedro.reporting.published import published_table

METHOD_NAMES = {
    "vicreg": "VICReg (Baseline-1)",
    "vicreg_gating": "VICReg-Gating (Baseline-2)",
    "dual_gating": "VICReg-Dual-Gating",
}
_KEYS = {"vicreg_gating": "vicreg_gating", "dual_gating": "dual"}


def table_6_1(
    metrics: Mapping[str, float],
    budgets: Sequence[float],
    dataset: str,
    *,
    comparable: bool,
) -> pd.DataFrame:
    """One row a model and branch; percent and percentage points.

    Args:
        metrics: the run's flat metrics (fractions); accuracies may be missing.
        budgets: t_d of the run.
        dataset: data set of the thesis whose figures stand beside.
        comparable: whether the run used that data set; differences are left empty otherwise,
            because they would compare different images.

    Returns:
        Columns model, method, branch, budget_percent, linear_top1, linear_std, knn_top1,
        flop_reduction, against_baseline_1, against_baseline_2, published_linear_top1,
        published_linear_std, published_flop_reduction, difference_linear,
        difference_flop_reduction.
    """
    published = published_table("6.1")
    published = published[published["dataset"] == dataset]
    rows = [_row(metrics, published, "vicreg", "dense", None)]
    for budget in sorted(budgets):
        for method, branch in (
            ("vicreg_gating", "gated"),
            ("dual_gating", "dense"),
            ("dual_gating", "gated"),
        ):
            rows.append(_row(metrics, published, method, branch, round(100 * budget)))
    frame = pd.DataFrame(rows)
    baselines = _baselines(frame)
    against_1 = frame["linear_top1"] - baselines[None]
    frame["against_baseline_1"] = against_1.where(frame["method"] != "vicreg")
    matching = frame["budget_percent"].map(baselines.get)
    is_gated_dual = (frame["method"] == "dual_gating") & (frame["branch"] == "gated")
    frame["against_baseline_2"] = (frame["linear_top1"] - matching).where(is_gated_dual)
    for name in ("linear_top1", "flop_reduction"):
        column = "difference_linear" if name == "linear_top1" else f"difference_{name}"
        difference = frame[name] - frame[f"published_{name}"]
        frame[column] = difference if comparable else float("nan")
    frame["budget_percent"] = frame["budget_percent"].astype("Int64")
    return frame


def _baselines(frame: pd.DataFrame) -> dict[int | None, float]:
    """Linear accuracy of Baseline-1 (key None) and of Baseline-2 by budget."""
    found: dict[int | None, float] = {None: float(frame.loc[0, "linear_top1"])}  # type: ignore[arg-type]
    gated = frame[frame["method"] == "vicreg_gating"]
    for percent, value in zip(gated["budget_percent"], gated["linear_top1"], strict=True):
        found[int(percent)] = float(value)
    return found


def _row(
    metrics: Mapping[str, float],
    published: pd.DataFrame,
    method: str,
    branch: str,
    percent: int | None,
) -> dict[str, Any]:
    key = f"vicreg.{branch}"
    same = (published["method"] == method) & (published["branch"] == branch)
    if percent is not None:
        key = f"{_KEYS[method]}.budget_{percent:02d}.{branch}"
        same &= published["budget_percent"] == percent
    printed = published[same]

    def measured(name: str) -> float:
        return 100 * metrics.get(f"{key}.{name}", float("nan"))

    def published_value(name: str) -> float:
        return float(printed[name].iloc[0]) if len(printed) else float("nan")

    return {
        "model": METHOD_NAMES[method],
        "method": method,
        "branch": branch,
        "budget_percent": percent,
        "linear_top1": measured("linear_top1_mean"),
        "linear_std": measured("linear_top1_std"),
        "knn_top1": measured("knn_top1"),
        "flop_reduction": measured("flop_reduction"),
        "published_linear_top1": published_value("linear_top1"),
        "published_linear_std": published_value("linear_std"),
        "published_flop_reduction": published_value("flop_reduction"),
    }
