from __future__ import annotations

import io
import math
from typing import NamedTuple

import pandas as pd

from ssl_kedro.reporting.number_format import DASH, MINUS, signed_with_std
from ssl_kedro.reporting.table import (
    LESS_PUBLISHED,
    PUBLISHED,
    RUN,
    Column,
    beside_published,
    budget,
    computed,
    shown,
    word,
)

NAN = float("nan")


class Row(NamedTuple):
    model: str
    percent: int | None
    values: list[float]
    figure: float
    comparable: bool = True


def mean(row: Row) -> float:
    return sum(row.values) / len(row.values)


COLUMNS: tuple[Column[Row], ...] = (
    Column("model", lambda row: row.model, "Model", text=word, left=True),
    Column("budget_percent", lambda row: row.percent, "Budget", text=budget, dtype="Int64"),
    Column("accuracy", mean, "1-NN", RUN),
    Column("accuracy_std", lambda row: max(row.values) - mean(row)),
    *beside_published("accuracy", "1-NN", mean, lambda row: row.figure),
)
ROWS = [
    Row("plain", None, [70.0], 80.0, comparable=False),
    Row("gated", 30, [60.0, 62.0], 63.5),
    Row("other", 30, [50.0, 50.0], NAN),
]
GROUPS = {"": "", RUN: RUN, PUBLISHED: "Published (X)", LESS_PUBLISHED: LESS_PUBLISHED}


def from_file(rows: list[Row]) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(computed(COLUMNS, rows).to_csv(index=False)))


def test_one_declaration_computes_the_file() -> None:
    frame = computed(COLUMNS, ROWS)
    assert frame.columns.tolist() == [
        "model",
        "budget_percent",
        "accuracy",
        "accuracy_std",
        "published_accuracy",
        "difference_accuracy",
    ]
    assert frame["budget_percent"].fillna(-1).tolist() == [-1, 30, 30]
    assert frame["accuracy"].tolist() == [70, 61, 50]
    # Not comparable; 61 - 63.5; no figure.
    assert [math.isnan(value) for value in frame["difference_accuracy"]] == [True, False, True]
    assert frame.loc[1, "difference_accuracy"] == -2.5


def test_the_same_declaration_shows_it() -> None:
    table = shown(COLUMNS, from_file(ROWS), GROUPS, ["budget_percent"], "Of X.")
    nn = "1\N{NON-BREAKING HYPHEN}NN"
    assert list(table.columns) == ["Model", "Budget", nn, nn, nn]
    assert list(table.groups) == [("", 2), (RUN, 1), ("Published (X)", 1), (LESS_PUBLISHED, 1)]
    assert list(table.breaks) == [1]
    assert table.left == 1
    percent = "30\N{NO-BREAK SPACE}%"
    assert [list(row) for row in table.rows] == [
        ["plain", DASH, "70.00 ± 0.00", "80.00", DASH],
        ["gated", percent, "61.00 ± 1.00", "63.50", f"{MINUS}2.50"],
        ["other", percent, "50.00 ± 0.00", DASH, DASH],
    ]


def test_what_nobody_published_takes_no_column() -> None:
    table = shown(COLUMNS, from_file(ROWS[2:]), GROUPS)
    assert [name for name, _ in table.groups] == ["", RUN]
    assert {len(row) for row in table.rows} == {3}


def test_a_table_without_rows_has_its_columns() -> None:
    assert computed(COLUMNS, []).columns.tolist() == [column.name for column in COLUMNS]


def differences(values: list[tuple[float, float, int]]) -> pd.DataFrame:
    names = ("gain", "gain_std", "gain_n")
    return pd.DataFrame([dict(zip(names, value, strict=True)) for value in values])


def test_differences_over_seeds_have_an_interval_and_one_seed_decides_nothing() -> None:
    columns: tuple[Column[object], ...] = (
        Column("gain", lambda _: NAN, "Gain", RUN, signed_with_std, difference=True),
    )
    # Student's quantile of two degrees of freedom is 4.3027: 4.3027 * 1 / sqrt(3) = 2.4842.
    frame = differences([(3.0, 1.0, 3), (-3.0, 1.0, 3), (2.0, 1.0, 3), (9.0, NAN, 1)])
    table = shown(columns, frame, {RUN: RUN})
    assert [row[0] for row in table.rows] == [
        "+3.00 [+0.52, +5.48]",
        f"{MINUS}3.00 [{MINUS}5.48, {MINUS}0.52]",
        f"+2.00 [{MINUS}0.48, +4.48]",
        "+9.00",
    ]
    assert table.decided == {(0, 0), (1, 0)}
    assert table.groups == [(f"{RUN} (95 % interval over seeds)", 1)]
    alone = shown(columns, frame.iloc[3:], {RUN: RUN})
    assert (alone.decided, alone.groups) == (set(), [(f"{RUN} (one seed)", 1)])
