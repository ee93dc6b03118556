"""Small text tables whose every fault is named by file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
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
    (_, names), *entries = _lines_of_values(path)
    for line, values in entries:
        if len(values) != len(names):
            raise SaliencyDataError(
                path,
                found=f"{len(values)} values",
                expected=f"{len(names)}, as many as the header has names",
                remedy="mend the line; a value that holds the separator needs quotes",
                line=line,
            )
    if not entries:
        raise _empty(path, "a header and no lines")
    rows = tuple(dict(zip(names, values, strict=True)) for _, values in entries)
    return Table(path, names, rows, tuple(line for line, _ in entries))


def read_header(path: Path) -> tuple[str, ...]:
    """Names of the columns; reads the first lines only.

    Raises:
        SaliencyDataError: no such file, empty, or not text.
    """
    return next(_lines_of_values(path))[1]


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


def _lines_of_values(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Numbers and values of the lines that are not blank, the header first, as they are read.

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
            header = next(not_blank(file), None)
            if header is None:
                raise _empty(path, "an empty file")
            file.seek(0)
            numbers.clear()
            delimiter = max(_DELIMITERS, key=header.count)
            reader = csv.reader(not_blank(file), delimiter=delimiter, skipinitialspace=True)
            before = 0
            for values in reader:
                # A quotation mark that is not closed takes in the lines below: its own is named.
                yield numbers[before], tuple(value.strip() for value in values)
                before = reader.line_num
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
