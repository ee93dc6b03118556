"""The report's section of Table 6.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssl_kedro.reporting.chapter6_results import has_several_seeds
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, percent, plain, signed, with_std


def table_6_1_section(
    metrics: Mapping[str, float], table: pd.DataFrame, setup: Mapping[str, Any]
) -> Section:
    """Table 6.1 with the published figures beside it.

    Args:
        metrics: flat metrics of the run.
        table: the frame of Table 6.1.
        setup: of the run, with "published", "comparable" and "stem".
    """
    groups = [
        ("", 3),
        ("This run", 3),
        ("Linear less baseline", 2),
        (f"Published ({setup['published']}, width 64, 500 epochs)", 2),
    ]
    columns = ["Model", "Branch", "Budget", "Linear", "1-NN", "FLOP reduction"]
    columns += ["1", "2", "Linear", "FLOP reduction"]
    if setup["comparable"]:
        groups.append(("Run less published", 2))
        columns += ["Linear", "FLOP reduction"]
    rows = [_table_row(row)[: len(columns)] for row in table.to_dict("records")]
    budgets = list(table["budget_percent"].fillna(0))
    breaks = [i for i in range(1, len(budgets)) if budgets[i] != budgets[i - 1]]
    explained = (
        ""
        if setup["comparable"]
        else f" This run did not use {setup['published']}, so it takes no difference to the "
        "published figures: they stand beside for scale."
    )
    over = "training seeds" if has_several_seeds(metrics) else "the probe's runs"
    caption = (
        "Top-1 accuracies and FLOPs (MACs) reductions in percent, differences in percentage "
        f"points, costs with the “{setup['stem']}” stem; ± is the standard deviation over "
        f"{over}. Published: thesis, Table 6.1.{explained}"
    )
    return Section(
        "Table 6.1: linear evaluation",
        tables=[Table(columns, rows, left=2, groups=groups, breaks=breaks, caption=caption)],
    )


def _table_row(row: Mapping[Any, Any]) -> list[str]:
    budget = row["budget_percent"]
    return [
        row["model"],
        row["branch"],
        DASH if pd.isna(budget) else percent(int(budget) / 100, 0),
        with_std(row["linear_top1"], row["linear_std"]),
        plain(row["knn_top1"]),
        plain(row["flop_reduction"]),
        signed(row["against_baseline_1"]),
        signed(row["against_baseline_2"]),
        with_std(row["published_linear_top1"], row["published_linear_std"]),
        plain(row["published_flop_reduction"]),
        signed(row["difference_linear"]),
        signed(row["difference_flop_reduction"]),
    ]
