"""Table 6.1: dense baseline, gated baseline and dual gating; figures 6.1 and 6.2 of them."""

import math
from collections.abc import Iterator
from dataclasses import replace

from ssl_kedro.pipelines.dual_gating.part import BUDGET, Part
from ssl_kedro.pipelines.dual_gating.row import Row, each_model
from ssl_kedro.pipelines.gated.variants import DUAL_GATING
from ssl_kedro.reporting.number_format import signed_with_std
from ssl_kedro.reporting.table import LESS_PUBLISHED, PUBLISHED, RUN, Column, beside_published, word

_NAMES = {
    "vicreg": "VICReg (Baseline-1)",
    "vicreg_gating": "VICReg-Gating (Baseline-2)",
    "dual": "VICReg-Dual-Gating",
}
_BRANCHES = {"vicreg": ("dense",), "vicreg_gating": ("gated",), "dual": ("dense", "gated")}
_LESS_BASELINE = "Linear less baseline"


def _rows(row: Row) -> Iterator[Row]:
    for one in each_model(row, tuple(_NAMES)):
        for branch in _BRANCHES[one.model]:
            yield replace(one, branch=branch)


def _linear(row: Row) -> float:
    return row.mean("linear_top1")


def _reduction(row: Row) -> float:
    return row.mean("flop_reduction")


def _less_1(row: Row) -> float:
    """Linear accuracy less that of the dense baseline."""
    if row.model == "vicreg":
        return math.nan
    return _linear(row) - _linear(replace(row, model="vicreg", percent=None, branch="dense"))


def _less_2(row: Row) -> float:
    """Linear accuracy of the gated branch less that of the gated baseline."""
    if (row.model, row.branch) != ("dual", "gated"):
        return math.nan
    return _linear(row) - _linear(replace(row, model="vicreg_gating"))


_LINEAR = beside_published(
    "linear_top1",
    "Linear",
    _linear,
    lambda row: row.published("linear_top1", row.branch),
    "difference_linear",
)
_REDUCTION = beside_published(
    "flop_reduction",
    "FLOP reduction",
    _reduction,
    lambda row: row.published("flop_reduction", row.branch),
)
PARTS = (
    Part(
        "table_6_1",
        ("vicreg", "vicreg_gating", "dual"),
        "Table 6.1: linear evaluation",
        (
            Column("model", lambda row: _NAMES[row.model], "Model", text=word, left=True),
            Column("method", lambda row: DUAL_GATING[row.model].method),
            Column("branch", lambda row: row.branch, "Branch", text=word, left=True),
            BUDGET,
            Column("linear_top1", _linear, "Linear", RUN, std="linear_std"),
            Column("linear_std", lambda row: row.linear_std),
            Column("knn_top1", lambda row: row.mean("knn_top1"), "1-NN", RUN),
            Column("flop_reduction", _reduction, "FLOP reduction", RUN),
            replace(_LINEAR[0], std="published_linear_std"),
            Column("published_linear_std", lambda row: row.published("linear_std", row.branch)),
            _REDUCTION[0],
            Column("against_baseline_1", _less_1, "1", _LESS_BASELINE, signed_with_std),
            Column("against_baseline_2", _less_2, "2", _LESS_BASELINE, signed_with_std),
            _LINEAR[1],
            _REDUCTION[1],
        ),
        groups=("", RUN, _LESS_BASELINE, PUBLISHED, LESS_PUBLISHED),
        rows=_rows,
        number="6.1",
    ),
    Part("figure_6_1", ("dual",)),
    Part("figure_6_2", ("vicreg", "dual")),
)
