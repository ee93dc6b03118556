"""Tables 6.4 to 6.6: variants of dual gating beside it, 1-NN on features as they are."""

from __future__ import annotations

from itertools import chain

from ssl_kedro.pipelines.dual_gating.part import (
    BUDGET,
    MODEL,
    SEEDS,
    Part,
    Row,
    measured,
    paired,
)
from ssl_kedro.reporting.table import LESS_PUBLISHED, PUBLISHED, RUN, Column, beside_published

LESS_DUAL = "Less dual gating"
# Name of a measure -> its heading, and metric and branch of the runs.
_MEASURES = {
    "dense_knn_top1": ("Dense 1-NN", "knn_top1", "dense"),
    "gated_knn_top1": ("Gated 1-NN", "knn_top1", "gated"),
    "flop_reduction": ("FLOP reduction", "flop_reduction", "gated"),
}


def _of_run(name: str, heading: str, metric: str, branch: str) -> tuple[Column[Row], ...]:
    """A measure, and the difference to dual gating."""
    return (
        *measured(name, metric, branch, heading, RUN),
        *paired(
            f"{name}_against_dual",
            lambda row: row.less("dual", metric, branch),
            heading,
            LESS_DUAL,
            counted=False,
        ),
    )


def _published(name: str, heading: str, metric: str, branch: str) -> tuple[Column[Row], ...]:
    return beside_published(
        name, heading, lambda row: row.mean(metric, branch), lambda row: row.published(name)
    )


_COLUMNS: tuple[Column[Row], ...] = (
    MODEL,
    BUDGET,
    SEEDS,
    *chain.from_iterable(_of_run(name, *where) for name, where in _MEASURES.items()),
    Column("published_dataset", lambda row: row.published_dataset),
    *chain.from_iterable(_published(name, *where) for name, where in _MEASURES.items()),
)


def _part(number: str, variant: str, title: str) -> Part:
    return Part(
        f"table_{number.replace('.', '_')}",
        ("dual", variant),
        f"Table {number}: {title}",
        _COLUMNS,
        groups=("", RUN, PUBLISHED, LESS_PUBLISHED),
        compared=("", LESS_DUAL),
        number=number,
    )


PARTS = (
    _part("6.4", "barlow_dual", "Barlow Twins in the dual setting"),
    _part("6.5", "two_encoders", "two encoders instead of one"),
    _part("6.6", "without_invariance", "without the invariance term"),
)
