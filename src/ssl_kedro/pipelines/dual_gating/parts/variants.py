"""Tables 6.4 to 6.6: variants of dual gating beside it, 1-NN on features as they are."""

from itertools import chain

from ssl_kedro.pipelines.dual_gating.part import BUDGET, LESS_DUAL, MODEL, SEEDS, Measure, Part
from ssl_kedro.pipelines.dual_gating.row import Row
from ssl_kedro.reporting.table import LESS_PUBLISHED, PUBLISHED, RUN, Column

_MEASURES = tuple(
    Measure(name, metric, branch, RUN, heading, heading, counted=False)
    for name, metric, branch, heading in (
        ("dense_knn_top1", "knn_top1", "dense", "Dense 1-NN"),
        ("gated_knn_top1", "knn_top1", "gated", "Gated 1-NN"),
        ("flop_reduction", "flop_reduction", "gated", "FLOP reduction"),
    )
)
_COLUMNS: tuple[Column[Row], ...] = (
    MODEL,
    BUDGET,
    SEEDS,
    *chain.from_iterable(measure.columns for measure in _MEASURES),
    Column("published_dataset", lambda row: row.published_dataset),
    *chain.from_iterable(measure.beside_published for measure in _MEASURES),
)
PARTS = tuple(
    Part(
        f"table_6_{number}",
        ("dual", variant),
        f"Table 6.{number}: {title}",
        _COLUMNS,
        groups=("", RUN, PUBLISHED, LESS_PUBLISHED),
        compared=("", LESS_DUAL),
        number=f"6.{number}",
    )
    for number, variant, title in (
        (4, "barlow_dual", "Barlow Twins in the dual setting"),
        (5, "two_encoders", "two encoders instead of one"),
        (6, "without_invariance", "without the invariance term"),
    )
)
