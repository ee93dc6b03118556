"""Report sections of Tables 6.2 to 6.6 and of the open questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from ssl_kedro.reporting.chapter6_layouts import (
    LAYOUTS,
    LESS_PUBLISHED,
    MODEL,
    PUBLISHED,
    Column,
)
from ssl_kedro.reporting.chapter6_models import SHORT_NAMES
from ssl_kedro.reporting.chapter6_verdicts import VERDICTS
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import (
    DASH,
    percent,
    plain,
    signed_with_std,
    three_digits,
    with_std,
)

_TITLES = {
    "table_6_2": "Table 6.2: transfer to other data sets",
    "table_6_3": "Table 6.3: distilled students and the gated encoder",
    "table_6_4": "Table 6.4: Barlow Twins in the dual setting",
    "table_6_5": "Table 6.5: two encoders instead of one",
    "table_6_6": "Table 6.6: without the invariance term",
    "question_1": "Open question: a dense branch that loses nothing",
    "question_2": "Open question: channel diversity",
    "question_3": "Open question: non-symmetric methods",
    "question_4": "Open question: a budget that is met",
}
_NOTES = {
    "table_6_3": (
        "1-NN is measured on L2-normalised features. A student needs its teacher (VICReg; with "
        "another one, whose cost is not known, the total is a dash), the gates that give its "
        "channel counts (dual gating) and its own distillation; dual gating needs only itself. "
        "TMACs: 10¹² multiply-accumulates, a backward pass counted as two forward passes."
    ),
    "question_1": "Training time is relative to dual gating of the same budget and seed.",
    "question_2": "Channels: shares of all inner channels over the evaluation images.",
    "question_4": (
        "Cost: mean gated MACs, share of the dense encoder's. At the same cost: less the accuracy "
        "of the fixed penalty, interpolated between its budgets at the cost that each seed "
        f"realised; a {DASH} where that lies outside them."
    ),
}


def part_sections(
    part_tables: Mapping[str, pd.DataFrame], context: Mapping[str, Any]
) -> list[Section]:
    """One section for every table and question that was made, in the chapter's order.

    Args:
        part_tables: frames by part, "table_6_2" to "table_6_6" and "question_1" to
            "question_4"; any of them may be missing.
        context: set-up of the run, with "published" (data set of the thesis), "comparable"
            and "stem".
    """
    return [_section(part, part_tables[part], context) for part in LAYOUTS if part in part_tables]


def _section(part: str, frame: pd.DataFrame, context: Mapping[str, Any]) -> Section:
    layout = LAYOUTS[part]
    breaks = ["source", "target"] if part == "table_6_2" else ["budget_percent"]
    columns = [column for column in layout.measured if _is_shown(column, frame)]
    tables = [_table(columns, frame, breaks, _caption(part, frame, context))]
    sources = [column.source for column in layout.differences]
    compared = frame[frame[sources].notna().any(axis=1)] if sources else frame.iloc[:0]
    if len(compared):
        paired = "Differences in percentage points between runs of the same seed"
        over = ", mean ± standard deviation over them." if frame["seeds"].max() > 1 else "."
        tables.append(_table([*MODEL, *layout.differences], compared, breaks, paired + over))
    verdict = [VERDICTS[part](frame)] if part in VERDICTS else []
    return Section(_TITLES[part], verdict, tables=tables)


def _table(
    columns: Sequence[Column], frame: pd.DataFrame, breaks: Sequence[str], caption: str
) -> Table:
    """The frame's rows under these columns, with a line wherever one of ``breaks`` changes."""
    keys = list(frame[list(breaks)].fillna(0).itertuples(index=False, name=None))
    return Table(
        # "1-NN" must not break at its hyphen.
        [column.name.replace("-", "\N{NON-BREAKING HYPHEN}") for column in columns],
        [[_text(column, row) for column in columns] for row in frame.to_dict("records")],
        left=sum(column.kind in ("word", "model") for column in columns[:4]),
        groups=_groups(columns, frame),
        breaks=[i for i in range(1, len(keys)) if keys[i] != keys[i - 1]],
        caption=caption,
        lower_is_better=[i for i, column in enumerate(columns) if _lower_is_better(column)],
    )


def _lower_is_better(column: Column) -> bool:
    return column.source.startswith(("always_off_", "distance_"))


def _is_shown(column: Column, frame: pd.DataFrame) -> bool:
    """Published figures and differences to them only where there are any."""
    optional = column.group in (PUBLISHED, LESS_PUBLISHED)
    return not optional or bool(frame[column.source].notna().any())


def _groups(columns: Sequence[Column], frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Names above the columns; the published ones name their data set."""
    datasets = list(frame.get("published_dataset", pd.Series(dtype=str)).dropna().unique())
    named = f"{PUBLISHED} ({datasets[0]}, width 64, 500 epochs)" if datasets else PUBLISHED
    grouped = [(name, len(list(of))) for name, of in groupby(columns, lambda c: c.group)]
    return [(named if name == PUBLISHED else name, count) for name, count in grouped]


def _text(column: Column, row: Mapping[Any, Any]) -> str:
    """One cell."""
    value = row[column.source]
    std = row.get(column.std or f"{column.source}_std", float("nan"))
    return DASH if pd.isna(value) else _FORMATS[column.kind](value, std)


def _seconds(value: float, _: float) -> str:
    return f"{value:,.0f}" if value >= 10 else plain(value, 1)


_FORMATS: Mapping[str, Callable[[Any, float], str]] = {
    "word": lambda value, _: str(value),
    "model": lambda value, _: SHORT_NAMES[value][0].upper() + SHORT_NAMES[value][1:],
    "budget": lambda value, _: percent(int(value) / 100, 0),
    "value": with_std,
    "difference": signed_with_std,
    "seconds": _seconds,
    "tera": lambda value, _: three_digits(value / 1e12),
}


def _caption(part: str, frame: pd.DataFrame, context: Mapping[str, Any]) -> str:
    """What is shown, over how many seeds, and where the published figures come from."""
    fewest, most = int(frame["seeds"].min()), int(frame["seeds"].max())
    if most > 1:
        count = str(most) if fewest == most else f"{fewest} to {most}"
        spread = f"mean ± standard deviation over {count} seeds"
    elif part == "table_6_2":
        spread = "one seed, ± over the probe's runs"
    else:
        spread = "one seed, hence without deviations"
    sentences = [
        "Accuracies, shares and FLOPs (MACs) reductions in percent, differences in percentage "
        f"points; {spread}."
    ]
    if part not in ("table_6_2", "question_1"):
        sentences.append(f"Costs are those of the “{context['stem']}” stem.")
    sentences += [_NOTES[part]] if part in _NOTES else []
    return " ".join([*sentences, *_published_sentences(part, frame, context)])


def _published_sentences(part: str, frame: pd.DataFrame, context: Mapping[str, Any]) -> list[str]:
    """Where the published figures come from, and why some take no difference."""
    if not part.startswith("table"):
        return []
    number = part.removeprefix("table_").replace("_", ".")
    if part == "table_6_2":
        if frame["published_linear_top1"].isna().all():
            return [f"The thesis (Table {number}) has no figures for these pairs of data sets."]
        return [f"Published: thesis, Table {number}, for the same pair of data sets."]
    shown = frame["published_dataset"].iloc[0]
    found = [f"Published: thesis, Table {number}, {shown}."]
    if shown != context["published"]:
        found.append(
            f"It has no figures for {context['published']}, so the nearest stand beside for scale."
        )
    elif not context["comparable"]:
        found.append(
            f"This run did not use {shown}, so it takes no difference: they stand beside for scale."
        )
    elif part == "table_6_3":
        found.append("Students that the thesis trained on other images take no difference.")
    return found
