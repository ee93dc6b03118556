"""From a part's name to its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from ssl_kedro.reporting import chapter6_questions, chapter6_tables
from ssl_kedro.reporting.chapter6_results import flat_metrics
from ssl_kedro.reporting.chapter6_table import table_6_1

_OF_RUNS: dict[str, Callable[..., pd.DataFrame]] = {
    "table_6_4": chapter6_tables.table_6_4,
    "table_6_5": chapter6_tables.table_6_5,
    "table_6_6": chapter6_tables.table_6_6,
}
_QUESTIONS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "question_1": chapter6_questions.question_1,
    "question_2": chapter6_questions.question_2,
    "question_3": chapter6_questions.question_3,
    "question_4": chapter6_questions.question_4,
}


def part_frame(
    part: str,
    rows: pd.DataFrame,
    *,
    budgets: Sequence[float],
    dataset: str,
    comparable: bool,
    published_names: Mapping[str, str],
    own_teacher: bool = True,
) -> pd.DataFrame:
    """Table of one part of chapter 6.

    Args:
        part: "table_6_1" to "table_6_6" or "question_1" to "question_4".
        rows: the runs, or for "table_6_2" the transfers.
        budgets: t_d of the run.
        dataset: data set of the thesis whose figures stand beside.
        comparable: whether the run used that data set.
        published_names: for Table 6.2, the thesis' name of each data set that has one.
        own_teacher: for Table 6.3, whether the run's dense baseline taught the students.

    Raises:
        ValueError: there is no such part.
    """
    if part == "table_6_1":
        return table_6_1(flat_metrics(rows, {}), budgets, dataset, comparable=comparable)
    if part == "table_6_2":
        return chapter6_tables.table_6_2(rows, published_names)
    if part == "table_6_3":
        return chapter6_tables.table_6_3(
            rows, dataset, comparable=comparable, own_teacher=own_teacher
        )
    if part in _OF_RUNS:
        return _OF_RUNS[part](rows, dataset, comparable=comparable)
    if part in _QUESTIONS:
        return _QUESTIONS[part](rows)
    raise ValueError(f"there is no table for {part!r}")
