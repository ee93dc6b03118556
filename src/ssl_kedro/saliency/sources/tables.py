"""Small text tables whose every fault is named by file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ssl_kedro.saliency.sources.errors import SaliencyDataError

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Table:
    """Rows under a header.

    Args:
        path: of the file.
        names: of the columns, without the spaces around them.
        rows: values by column, as text without the spaces around it; blank lines are left out.
        lines: of each row in the file, from 1.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]

    def numbers(self, name: str) -> np.ndarray:
        """One column as float64 (rows,).

        Raises:
            SaliencyDataError: a value that is not a finite number.
        """
        texts = [row[name] for row in self.rows]
        values = np.array([_number(text) for text in texts])
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            at = int(wrong[0])
            raise SaliencyDataError(
                self.path,
                found=f"{texts[at]!r} in the column {name}",
                expected="a finite number",
                remedy="mend the line or remove it",
                line=self.lines[at],
            )
        return values


def read_table(path: Path) -> Table:
    """A file of lines separated by commas, semicolons or tabs, the first of them a header.

    Raises:
        SaliencyDataError: no such file, empty, not text, or a line with too few or many values.
    """
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    with _opened(path) as (names, numbered):
        for line, values in numbered:
            if len(values) != len(names):
                raise SaliencyDataError(
                    path,
                    found=f"{len(values)} values",
                    expected=f"{len(names)}, as many as the header has names",
                    remedy="mend the line; a value that holds the separator needs quotes",
                    line=line,
                )
            lines.append(line)
            rows.append(dict(zip(names, map(str.strip, values), strict=True)))
    if not rows:
        raise _empty(path, "a header and no lines")
    return Table(path, names, tuple(rows), tuple(lines))


def read_header(path: Path) -> tuple[str, ...]:
    """Names of the columns; reads the first lines only.

    Raises:
        SaliencyDataError: no such file, empty, or not text.
    """
    with _opened(path) as (names, _):
        return names


def require_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table without columns that are needed, or with one of them twice.

    Raises:
        SaliencyDataError: naming the file and its first line.
    """
    missing = [name for name in wanted if name not in names]
    twice = [name for name in wanted if names.count(name) > 1]
    if missing or twice:
        fault = (
            f"no column {', '.join(missing)}" if missing else f"the column {', '.join(twice)} twice"
        )
        raise SaliencyDataError(
            path,
            found=f"{fault} among {', '.join(names)}",
            expected=f"each of {', '.join(wanted)} once",
            remedy="add the column to the header, or name the columns in the parameters",
            line=1,
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]]:
    """Names of the columns, and the rows below them with the numbers of their lines.

    Every fault is a SaliencyDataError.
    """
    numbers: list[int] = []

    def not_blank(file: TextIO) -> Iterator[str]:
        for number, line in enumerate(file, 1):
            if line.strip():
                numbers.append(number)
                yield line

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(not_blank(file), "")
            file.seek(0)
            numbers.clear()
            delimiter = max(_DELIMITERS, key=header.count)
            reader = csv.reader(not_blank(file), delimiter=delimiter, skipinitialspace=True)
            names = tuple(map(str.strip, next(reader, ())))
            if not names:
                raise _empty(path, "an empty file")

            def rows() -> Iterator[tuple[int, list[str]]]:
                before = reader.line_num
                for values in reader:
                    # A quote that is not closed takes in the lines below: its own is named.
                    yield numbers[before], values
                    before = reader.line_num

            yield names, rows()
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        not_text = isinstance(error, UnicodeDecodeError)
        reason = getattr(error, "strerror", None) or f"no values ({error})"
        raise SaliencyDataError(
            path,
            found="bytes that are not UTF-8 text" if not_text else reason,
            expected="a readable text file with commas between values",
            remedy="save it as CSV in UTF-8, or correct its name or its permissions",
        ) from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _empty(path: Path, found: str) -> SaliencyDataError:
    return SaliencyDataError(
        path,
        found=found,
        expected="a header and a line for each entry",
        remedy="fetch or write the file again, or remove it",
    )
