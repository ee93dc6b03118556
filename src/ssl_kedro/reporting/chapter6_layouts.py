"""Which columns of the parts' frames the report shows, under which names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Column(NamedTuple):
    """A column of the page: what it stands under, its name, what it shows and how.

    "value" and "difference" add the deviation, ``<source>_std`` unless named, where the frame
    has it.
    """

    group: str
    name: str
    source: str
    kind: Literal["word", "model", "budget", "value", "difference", "seconds", "tera"] = "value"
    std: str = ""


class Layout(NamedTuple):
    """Columns of a part's table, and of a second one with differences to other models."""

    measured: tuple[Column, ...]
    differences: tuple[Column, ...] = ()


MODEL = (Column("", "Model", "model", "model"), Column("", "Budget", "budget_percent", "budget"))
_RUN, PUBLISHED, LESS_PUBLISHED = "This run", "Published", "Run less published"

_DENSE_AND_GATED = (
    Column("Dense branch", "Linear", "dense_linear"),
    Column("Dense branch", "1-NN", "dense_knn"),
    Column("Gated branch", "Linear", "gated_linear"),
    Column("Gated branch", "1-NN", "gated_knn"),
)


def _less(group: str, other: str, *columns: tuple[str, str]) -> tuple[Column, ...]:
    """Columns (name, measure) of differences to another model."""
    return tuple(
        Column(group, name, f"{measure}_against_{other}", "difference") for name, measure in columns
    )


def _less_dual(*columns: tuple[str, str]) -> tuple[Column, ...]:
    return _less("Less dual gating", "dual", *columns)


_VARIANT = Layout(
    (
        *MODEL,
        Column(_RUN, "Dense 1-NN", "dense_knn_top1"),
        Column(_RUN, "Gated 1-NN", "gated_knn_top1"),
        Column(_RUN, "FLOP reduction", "flop_reduction"),
        Column(PUBLISHED, "Dense 1-NN", "published_dense_knn_top1"),
        Column(PUBLISHED, "Gated 1-NN", "published_gated_knn_top1"),
        Column(PUBLISHED, "FLOP reduction", "published_flop_reduction"),
        Column(LESS_PUBLISHED, "Dense 1-NN", "difference_dense_knn_top1", "difference"),
        Column(LESS_PUBLISHED, "Gated 1-NN", "difference_gated_knn_top1", "difference"),
        Column(LESS_PUBLISHED, "FLOP reduction", "difference_flop_reduction", "difference"),
    ),
    _less_dual(
        ("Dense 1-NN", "dense_knn_top1"),
        ("Gated 1-NN", "gated_knn_top1"),
        ("FLOP reduction", "flop_reduction"),
    ),
)
LAYOUTS: Mapping[str, Layout] = {
    "table_6_2": Layout(
        (
            Column("", "Trained on", "source", "word"),
            Column("", "Evaluated on", "target", "word"),
            Column("", "Model", "model", "model"),
            Column("", "Branch", "branch", "word"),
            Column("", "Budget", "budget_percent", "budget"),
            Column(_RUN, "Linear", "linear_top1", "value", "linear_std"),
            Column(_RUN, "Less VICReg", "against_vicreg", "difference"),
            Column(PUBLISHED, "Linear", "published_linear_top1"),
            Column(PUBLISHED, "Less VICReg", "published_against_vicreg", "difference"),
            Column(LESS_PUBLISHED, "Linear", "difference_linear", "difference"),
        )
    ),
    "table_6_3": Layout(
        (
            *MODEL,
            Column(_RUN, "1-NN", "knn_normalised_top1"),
            Column(_RUN, "FLOP reduction", "flop_reduction"),
            Column("Training, itself", "Seconds", "training_seconds", "seconds"),
            Column("Training, all it needs", "Seconds", "total_training_seconds", "seconds"),
            Column("Training, all it needs", "TMACs", "total_training_macs", "tera"),
            Column(PUBLISHED, "1-NN", "published_knn_top1"),
            Column(PUBLISHED, "Teacher", "published_teacher", "word"),
            Column(LESS_PUBLISHED, "1-NN", "difference_knn", "difference"),
        )
    ),
    "table_6_4": _VARIANT,
    "table_6_5": _VARIANT,
    "table_6_6": _VARIANT,
    "question_1": Layout(
        (
            *MODEL,
            *_DENSE_AND_GATED,
            Column("", "Training time / dual gating", "training_seconds_ratio"),
        ),
        (
            *_less(
                "Less dense VICReg",
                "vicreg",
                ("Dense, linear", "dense_linear"),
                ("Dense, 1-NN", "dense_knn"),
                ("Gated, linear", "gated_linear"),
                ("Gated, 1-NN", "gated_knn"),
            ),
            *_less_dual(("Dense, linear", "dense_linear"), ("Gated, linear", "gated_linear")),
        ),
    ),
    "question_2": Layout(
        (
            *MODEL,
            Column("Channels", "Always off", "always_off"),
            Column("Channels", "Dependent", "dependent"),
            *_DENSE_AND_GATED[2:],
            Column("Gated branch", "FLOP reduction", "flop_reduction"),
        ),
        _less_dual(
            ("Always off", "always_off"),
            ("Dependent", "dependent"),
            ("Linear", "gated_linear"),
            ("1-NN", "gated_knn"),
            ("FLOP reduction", "flop_reduction"),
        ),
    ),
    "question_3": Layout(
        (
            *MODEL,
            *_DENSE_AND_GATED,
            Column("Gated branch", "FLOP reduction", "flop_reduction"),
        ),
        _less_dual(
            ("Dense, linear", "dense_linear"),
            ("Dense, 1-NN", "dense_knn"),
            ("Gated, linear", "gated_linear"),
            ("Gated, 1-NN", "gated_knn"),
            ("FLOP reduction", "flop_reduction"),
        ),
    ),
    "question_4": Layout(
        (
            *MODEL,
            Column("Realised cost", "Mean", "realised_cost"),
            Column("Distance from budget", "Mean", "distance"),
            Column("Distance from budget", "Largest", "distance_max"),
            *_DENSE_AND_GATED[2:],
        ),
        (
            *_less_dual(
                ("Distance", "distance"), ("Linear", "gated_linear"), ("1-NN", "gated_knn")
            ),
            Column(
                "Less dual gating at the same cost",
                "Linear",
                "gated_linear_at_equal_cost",
                "difference",
            ),
        ),
    ),
}
