"""A table of chapter 6 that another package adds: what gating costs in accuracy."""

from __future__ import annotations

from ssl_kedro.pipelines.dual_gating.part import BUDGET, MODEL, SEEDS, Part
from ssl_kedro.pipelines.dual_gating.row import Row
from ssl_kedro.reporting.number_format import signed_with_std
from ssl_kedro.reporting.table import RUN, Column


def _gap(row: Row) -> float:
    return row.mean("knn_top1", "gated") - row.mean("knn_top1", "dense")


PARTS = (
    Part(
        "table_of_gaps",
        ("dual", "two_encoders"),
        "What gating costs in accuracy",
        (MODEL, BUDGET, SEEDS, Column("gap", _gap, "Gated less dense", RUN, signed_with_std)),
        note="By 1-NN.",
    ),
)
