"""Small text tables whose every fault is named by file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ssl_kedro.saliency.sources.errors import SaliencyDataError, named

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Table:
    """Rows under a header.

    Args:
        path: of the file.
        names: of the columns, without the spaces around them.
        rows: of equal length, as text without the spaces around it; blank lines are left out.
        lines: of each row in the file, from 1.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def texts(self, name: str) -> list[str]:
        """One column."""
        at = self.names.index(name)
        return [row[at] for row in self.rows]

    def numbers(self, name: str) -> np.ndarray:
        """One column as float64 (rows,).

        Raises:
            SaliencyDataError: a value that is not a finite number.
        """
        texts = self.texts(name)
        try:
            values = np.array(texts, dtype=np.float64)
        except ValueError:
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
    rows, lines = _rows(path)
    names = rows[0]
    if len(rows) < 2:
        raise _empty(path, "a header and no lines")
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(names):
            raise SaliencyDataError(
                path,
                found=f"{len(row)} values",
                expected=f"{len(names)}, as many as the header has names",
                remedy="mend the line; a value that holds the separator needs quotes",
                line=line,
            )
    return Table(path, names, tuple(rows[1:]), tuple(lines[1:]))


def read_header(path: Path) -> tuple[str, ...]:
    """Names of the columns; reads the first line only.

    Raises:
        SaliencyDataError: no such file, empty, or not text.
    """
    with _text(path) as lines:
        header = lines.readline()
    if not header.strip():
        raise _empty(path, "an empty file" if not header else "an empty first line")
    return _split(path, [header], [1])[0]


def require_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table without columns that are needed, or with one of them twice.

    Raises:
        SaliencyDataError: naming the file and its first line.
    """
    missing = [name for name in wanted if name not in names]
    twice = [name for name in wanted if list(names).count(name) > 1]
    if missing or twice:
        fault = f"no column {named(missing)}" if missing else f"the column {named(twice)} twice"
        raise SaliencyDataError(
            path,
            found=f"{fault} among {', '.join(names)}",
            expected=f"each of {', '.join(wanted)} once",
            remedy="add the column to the header, or name the columns in the parameters",
            line=1,
        )


def _rows(path: Path) -> tuple[list[tuple[str, ...]], list[int]]:
    with _text(path) as file:
        text = file.read().splitlines()
    lines = [number for number, line in enumerate(text, 1) if line.strip()]
    if not lines:
        raise _empty(path, "an empty file")
    return _split(path, [text[number - 1] for number in lines], lines), lines


def _split(path: Path, texts: list[str], lines: list[int]) -> list[tuple[str, ...]]:
    """The values of each line; each is read on its own, since no value goes over two."""
    delimiter = max(_DELIMITERS, key=texts[0].count)
    rows = []
    for text, line in zip(texts, lines, strict=True):
        try:
            [row] = csv.reader([text], delimiter=delimiter, skipinitialspace=True)
        except csv.Error as error:
            raise SaliencyDataError(
                path, f"no values ({error})", "values with commas between", "mend it", line=line
            ) from error
        rows.append(tuple(value.strip() for value in row))
    return rows


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """A text file opened for reading, with every fault as a SaliencyDataError."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield file
    except UnicodeDecodeError as error:
        raise SaliencyDataError(
            path,
            found="bytes that are not UTF-8 text",
            expected="a text file",
            remedy="save it as CSV in UTF-8",
        ) from error
    except OSError as error:
        raise SaliencyDataError(
            path,
            found=error.strerror or "that it cannot be opened",
            expected="a readable file",
            remedy="correct its name or its permissions",
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
