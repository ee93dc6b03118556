"""Table 6.3: distilled students beside the gated encoder, with all that is trained for each."""

import math
from collections.abc import Iterator
from dataclasses import replace

from ssl_kedro.pipelines.dual_gating.part import BUDGET, MODEL, SEEDS, Part, measured
from ssl_kedro.pipelines.dual_gating.row import OWN_TEACHER, Row, each_model
from ssl_kedro.pipelines.gated.variants import DUAL_GATING
from ssl_kedro.reporting.differences import mean_and_std
from ssl_kedro.reporting.table import (
    LESS_PUBLISHED,
    PUBLISHED,
    RUN,
    Column,
    beside_published,
    seconds,
    tera,
    word,
)

# Who teaches SEED in the thesis: a ResNet-50 of 800 epochs on ImageNet-1K.
_PUBLISHED_FILE = "moco_v2"
_ITSELF, _ALL = "Training, itself", "Training, all it needs"


def _is_student(row: Row) -> bool:
    return DUAL_GATING[row.model].student


def _rows(row: Row) -> Iterator[Row]:
    for one in each_model(row, ("simreg", "seed", "dual")):
        yield replace(one, branch="dense" if _is_student(one) else "gated")


def _total(row: Row, metric: str) -> float:
    """Mean cost of all that a user trains to end up with the model, added up seed by seed.

    A student needs the dense baseline as its teacher, dual gating for its channel counts, and its
    own distillation. What another teacher cost is not known.
    """
    spent = [row.by_seed(metric)]
    if _is_student(row):
        if row.teacher != OWN_TEACHER:
            return math.nan
        spent += [row.by_seed(metric, "dense", "vicreg"), row.by_seed(metric, "gated", "dual")]
    seeds = set.intersection(*(set(values) for values in spent))
    return mean_and_std(sum(values[seed] for values in spent) for seed in sorted(seeds))[0]


def _published_teacher(row: Row) -> str | None:
    """Who taught the published student, on which images."""
    found = row.published_row()
    teacher = "none" if found.empty else str(found["teacher"].iloc[0])
    return None if teacher == "none" else f"{teacher}, {found['pretrained_on'].iloc[0]}"


def _teacher(row: Row) -> str | None:
    """Who taught the student of this run."""
    return row.teacher if _is_student(row) else None


def _taught_the_same(row: Row) -> bool:
    """Whether the published model's teacher saw the images, or is the file, that this run's was."""
    found = row.published_row()["pretrained_on"]
    if not row.comparable or found.empty:
        return False
    return row.teacher == (OWN_TEACHER if str(found.iloc[0]) == row.dataset else _PUBLISHED_FILE)


PARTS = (
    Part(
        "table_6_3",
        ("vicreg", "dual", "simreg", "seed"),
        "Table 6.3: distilled students and the gated encoder",
        (
            MODEL,
            Column("branch", lambda row: row.branch),
            BUDGET,
            Column("teacher", _teacher, "Teacher", RUN, word),
            *measured("knn_normalised_top1", "knn_normalised_top1", "", "1-NN", RUN),
            *measured("flop_reduction", "flop_reduction", "", "FLOP reduction", RUN),
            SEEDS,
            Column(
                "training_seconds",
                lambda row: mean_and_std(row.by_seed("training_seconds").values())[0],
                "Seconds",
                _ITSELF,
                seconds,
            ),
            Column(
                "total_training_seconds",
                lambda row: _total(row, "training_seconds"),
                "Seconds",
                _ALL,
                seconds,
            ),
            Column(
                "total_training_macs",
                lambda row: _total(row, "training_macs"),
                "TMACs",
                _ALL,
                tera,
            ),
            Column("published_dataset", lambda row: row.published_dataset),
            Column("published_teacher", _published_teacher, "Teacher", PUBLISHED, word),
            *beside_published(
                "knn_top1",
                "1-NN",
                lambda row: row.mean("knn_normalised_top1"),
                lambda row: row.published("knn_top1"),
                "difference_knn",
                _taught_the_same,
            ),
        ),
        groups=("", RUN, _ITSELF, _ALL, PUBLISHED, LESS_PUBLISHED),
        rows=_rows,
        number="6.3",
        note=(
            "1-NN is measured on L2-normalised features. A student needs its teacher (VICReg; with "
            "another one, whose cost is not known, the total is a dash), the gates that give its "
            "channel counts (dual gating) and its own distillation; dual gating needs only itself. "
            "TMACs: 10¹² multiply-accumulates, a backward pass counted as two forward passes. "
            "A student whose teacher saw other images than the thesis' has no difference."
        ),
    ),
)
