"""A table as one declaration of columns, which makes its CSV file and shows it on a page.

A column says how it is computed from a row's measurements and how the page prints it::

    columns = (
        Column("model", lambda row: row.model, "Model", text=word, left=True),
        *beside_published("knn_top1", "1-NN", measured, published),
    )
    frame = computed(columns, rows)          # the CSV file
    table = shown(columns, frame, {"": "", RUN: RUN, PUBLISHED: "Published (CIFAR-10)"})
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pandas as pd

from ssl_kedro.evaluation.paired import half_interval
from ssl_kedro.reporting.html import Table
from ssl_kedro.reporting.number_format import (
    DASH,
    percent,
    plain,
    signed,
    signed_with_std,
    three_digits,
    with_std,
)

R = TypeVar("R")
# Groups of columns that most tables have; what is published is shown only where it is known.
RUN, PUBLISHED, LESS_PUBLISHED = "This run", "Published", "Run less published"


def word(value: Any, _: float = math.nan) -> str:
    """Text as it is."""
    return str(value)


def budget(value: Any, _: float = math.nan) -> str:
    """Whole percent."""
    return percent(int(value) / 100, 0)


def seconds(value: float, _: float = math.nan) -> str:
    """Whole seconds; a decimal below ten."""
    return f"{value:,.0f}" if value >= 10 else plain(value, 1)


def tera(value: float, _: float = math.nan) -> str:
    """Units of 10^12."""
    return three_digits(value / 1e12)


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column.

    Args:
        name: in the CSV file.
        value: of a row; NaN or None where it has none.
        heading: on the page; "" = in the CSV file alone.
        group: of columns that stand together on the page.
        text: prints a value and its deviation, which is ``<name>_std`` unless ``std`` says
            otherwise, where the table has that column; what is missing is a dash.
        std: name of the column with the deviation.
        dtype: pandas type in the frame, where it must be given.
        left: words that begin the table, aligned to the left.
        lower_is_better: a plus is then no gain.
        difference: of two models. It has its interval over seeds, as many as ``<name>_n`` or
            ``seeds`` says, and is tinted where that does not hold 0; over one seed it stays plain.
        over: what such a difference is over, in the plural, if not seeds.
    """

    name: str
    value: Callable[[R], Any]
    heading: str = ""
    group: str = ""
    text: Callable[[Any, float], str] = with_std
    std: str = ""
    dtype: str = ""
    left: bool = False
    lower_is_better: bool = False
    difference: bool = False
    over: str = "seeds"


def beside_published(
    name: str,
    heading: str,
    measured: Callable[[R], float],
    published: Callable[[R], float],
    difference: str = "",
    comparable: Callable[[Any], bool] = lambda row: bool(row.comparable),
) -> tuple[Column[R], ...]:
    """Columns of the published figure and of the run less it.

    Args:
        name: of the measured column.
        heading: of both on the page.
        measured: value of a row.
        published: figure of the thesis for that row, NaN without one.
        difference: name of the difference; "" = ``difference_<name>``.
        comparable: whether the row's difference means something.
    """

    def less(row: R) -> float:
        return measured(row) - published(row) if comparable(row) else math.nan

    return (
        Column(f"published_{name}", published, heading, PUBLISHED),
        Column(difference or f"difference_{name}", less, heading, LESS_PUBLISHED, signed_with_std),
    )


def computed(columns: Sequence[Column[R]], rows: Iterable[R]) -> pd.DataFrame:
    """The CSV file's frame."""
    made = [{column.name: column.value(row) for column in columns} for row in rows]
    frame = pd.DataFrame(made, columns=[column.name for column in columns])
    return frame.astype({column.name: column.dtype for column in columns if column.dtype})


def shown(
    columns: Sequence[Column[Any]],
    frame: pd.DataFrame,
    groups: Mapping[str, str],
    breaks: Sequence[str] = (),
    caption: str = "",
) -> Table:
    """The frame as a table of the page.

    Args:
        columns: the declaration.
        frame: computed, or read from its CSV file.
        groups: of columns to show, in this order, with what stands above each.
        breaks: columns that a line separates the rows by, wherever one of them changes.
        caption: below the table.
    """
    visible = [
        column
        for group in groups
        for column in sorted(columns, key=lambda column: not column.left)
        if column.heading and column.group == group and _has_figures(column, frame)
    ]
    keys = list(frame[list(breaks)].fillna(0).itertuples(index=False, name=None))
    spans = {group: sum(column.group == group for column in visible) for group in groups}
    rows = [[_cell(column, row) for column in visible] for row in frame.to_dict("records")]
    told = {group: _over(groups[group], group, visible, frame) for group in groups}
    return Table(
        # "1-NN" must not break at its hyphen.
        [column.heading.replace("-", "\N{NON-BREAKING HYPHEN}") for column in visible],
        [[text for text, _ in row] for row in rows],
        left=next((i for i, c in enumerate(visible) if not c.left), len(visible)),
        groups=[(told[group], span) for group, span in spans.items() if span],
        breaks=[i for i in range(1, len(keys)) if keys[i] != keys[i - 1]] if breaks else [],
        caption=caption,
        lower_is_better=[i for i, column in enumerate(visible) if column.lower_is_better],
        decided={
            (at, of) for at, row in enumerate(rows) for of, (_, sure) in enumerate(row) if sure
        },
    )


def _over(title: str, group: str, columns: Sequence[Column[Any]], frame: pd.DataFrame) -> str:
    """Heading of a group; of differences it says what they are over."""
    found = [column for column in columns if column.group == group and column.difference]
    counts = [_seeds(column.name, row) for column in found for row in frame.to_dict("records")]
    known = [count for count in counts if count]
    if not known:
        return title
    over = found[0].over
    return f"{title} ({'one seed' if max(known) == 1 else f'95 % interval over {over}'})"


def _seeds(name: str, row: Mapping[Any, Any]) -> int:
    """How many seeds a difference is over; 0 where the table does not say."""
    count = row.get(f"{name}_n", row.get("seeds", 0))
    return 0 if pd.isna(count) or pd.isna(row[name]) else int(count)


def _has_figures(column: Column[Any], frame: pd.DataFrame) -> bool:
    optional = column.group in (PUBLISHED, LESS_PUBLISHED)
    return not optional or bool(frame[column.name].notna().any())


def _cell(column: Column[Any], row: Mapping[Any, Any]) -> tuple[str, bool]:
    """Text, and whether it is a difference that more than chance decides."""
    value = row[column.name]
    std = row.get(column.std or f"{column.name}_std", math.nan)
    if pd.isna(value):
        return DASH, False
    seeds = _seeds(column.name, row) if column.difference else 0
    if seeds < 2 or pd.isna(std):
        return column.text(value, std), False
    low, high = (value + end * half_interval(std, seeds) for end in (-1, 1))
    return f"{signed(value)} [{signed(low)}, {signed(high)}]", low > 0 or high < 0
