"""The table of what encoders make of some of the labels, its section of a page and its metrics."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ssl_kedro.evaluation.fine_tuning import FineTuningConfig
from ssl_kedro.pipelines.gated.rows import BRANCH, BUDGET, MODEL, ModelRow, each_branch
from ssl_kedro.pipelines.gated.variants import capitalised_title
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.differences import paired
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import percent, plain
from ssl_kedro.reporting.table import Column, computed, shown

# A network that begins with random weights; what others gain over it is what they are worth.
SCRATCH = "scratch"
_TUNED, _FROZEN = "All weights trained", "Features as they are"


@dataclass(frozen=True)
class _Row(ModelRow):
    """A model with one share of the labels."""

    share: float = 1.0
    labels: int = 0


def _measured(name: str, heading: str, group: str) -> tuple[Column[Any], ...]:
    return (
        Column(name, lambda row: row.mean(name), heading, group),
        Column(f"{name}_std", lambda row: row.std(name)),
    )


def _count(value: Any, _: float) -> str:
    return f"{int(value):,}"


def _title(name: object, _: float = 0.0) -> str:
    return "From scratch" if name == SCRATCH else capitalised_title(name)


COLUMNS: tuple[Column[Any], ...] = (
    Column("labels", lambda row: row.labels, "Labels", text=_count, left=True),
    Column("share", lambda row: 100 * row.share),
    replace(MODEL, text=_title),
    BRANCH,
    BUDGET,
    *_measured("fine_tuned", "Top-1", _TUNED),
    *paired(
        "against_scratch",
        lambda row: row.less(SCRATCH, "fine_tuned", other_branch="dense"),
        "Less from scratch",
        _TUNED,
        counted=False,
    ),
    Column("cost", lambda row: row.mean("cost"), "FLOPs (MACs)", _TUNED, lambda v, _: plain(v, 1)),
    *_measured("linear", "Linear", _FROZEN),
    *_measured("knn", "1-NN", _FROZEN),
    Column("seeds", lambda row: len(row.by_seed("fine_tuned"))),
)


def label_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a share of the labels, model, budget and branch; percent and percentage points.

    Args:
        runs: one row a model, budget, seed, branch and share; fractions.
    """
    typed = runs.assign(budget_percent=runs["budget_percent"].astype("Int64"))
    return computed(COLUMNS, _rows(typed))


def _rows(runs: pd.DataFrame) -> Iterator[_Row]:
    names = tuple(name for name in dict.fromkeys(runs["model"]) if name != SCRATCH)
    for share, of_share in runs.groupby("share"):
        labels = int(of_share["labels"].iloc[0])
        row = _Row(of_share, share=float(str(share)), labels=labels)
        yield from each_branch(row, "fine_tuned", (SCRATCH, *names))


def label_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Fractions by flat keys, "dual.budget_30.gated.labels_10.fine_tuned"; 10 is in percent."""
    found = {}
    for row in table.to_dict("records"):
        budget = row["budget_percent"]
        key = row["model"] if pd.isna(budget) else f"{row['model']}.{budget_name(budget / 100)}"
        for name in ("fine_tuned", "linear", "knn", "cost"):
            found[f"{key}.{row['branch']}.labels_{row['share']:g}.{name}"] = row[name] / 100
    return found


def label_section(config: FineTuningConfig, table: pd.DataFrame | None) -> list[Section]:
    """The table on a page, and how it was made; nothing without."""
    if table is None:
        return []
    seeds = int(table["seeds"].max())
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    gates = {
        "frozen": "Gates keep their weights and decide as they do when deployed",
        "trained": "Gates go on learning under the penalty of their budget",
    }[config.gates]
    said = (
        "All weights and a linear layer are trained with a share of the labels, beside a linear "
        "layer and nearest neighbours on features that stay as they are, with the same labels. "
        "“From scratch” is the dense network with random weights, trained with these labels in as "
        f"many steps; its features as they are say what an untrained network gives. {gates}; the "
        "cost is measured after fine-tuning, as a share of the whole network's."
    )
    caption = (
        f"Top-1 in percent of the evaluation images, differences in percentage points; {spread}. "
        "Classes have as equal numbers of labels as the data allow. SGD, half a cosine, at least "
        f"{config.epochs} epochs and {config.least_steps:,} steps, learning rates {config.lr:g} "
        f"(linear layer), {config.encoder_lr:g} (encoder) and {config.scratch_lr:g} (from "
        f"scratch); shares {', '.join(percent(share, 0) for share in config.shares)}."
    )
    groups = {group: group for group in ("", _TUNED, _FROZEN)}
    shown_table = shown(COLUMNS, table, groups, ["labels"], caption)
    return [Section("Few labels", [said], tables=[shown_table])]
