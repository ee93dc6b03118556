"""Tables, arrays and grey pictures, read without running anything that they contain.

Every fault of a table is named by file and line. Photographs lose nothing that matters when they
become 8-bit RGB; a map of 16 bits does.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import TextIO

import numpy as np
from PIL import Image

from ssl_kedro.images.files import (
    DECODER_ERRORS,
    UnreadableImageError,
    opened_file,
    opened_image,
    reason_of,
)
from ssl_kedro.saliency.sources.errors import SaliencyDataError

_DELIMITERS = (",", ";", "\t")
# Of a map, far above any that is published: 16384 x 8192.
_MOST_PX = 2**27


class Table:
    """Rows under a header, separated by commas, semicolons or tabs; read when they are used.

    Args:
        path: of the file.

    Raises:
        SaliencyDataError: no such file, empty, not text, or a line with too few or many values.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the columns, without the spaces around them; reads the first lines only."""
        return next(_lines_of_values(self.path))[1]

    @cached_property
    def rows(self) -> list[tuple[int, dict[str, str]]]:
        """Number, from 1, of each line that is not blank, and its values by column, as text."""
        _, *rows = _lines_of_values(self.path)
        for line, values in rows:
            if len(values) != len(self.names):
                raise SaliencyDataError(
                    self.path,
                    found=f"{len(values)} values",
                    expected=f"{len(self.names)}, as many as the header has names",
                    remedy="mend the line; a value that holds the separator needs quotes",
                    line=line,
                )
        if not rows:
            raise _empty(self.path, "a header and no lines")
        return [(line, dict(zip(self.names, values, strict=True))) for line, values in rows]

    def numbers(self, name: str) -> np.ndarray:
        """One column as float64 (rows,).

        Raises:
            SaliencyDataError: a value that is not a finite number.
        """
        values = np.array([_number(row[name]) for _, row in self.rows])
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            line, row = self.rows[wrong[0]]
            raise SaliencyDataError(
                self.path,
                found=f"{row[name]!r} in the column {name}",
                expected="a finite number",
                remedy="mend the line or remove it",
                line=line,
            )
        return values

    def require(self, wanted: Sequence[str]) -> None:
        """Refuse a table without columns that are needed, or with one of them twice.

        Raises:
            SaliencyDataError: naming the file and its first line.
        """
        missing = ", ".join(name for name in wanted if name not in self.names)
        twice = ", ".join(name for name in wanted if self.names.count(name) > 1)
        if missing or twice:
            fault = f"no column {missing}" if missing else f"the column {twice} twice"
            raise SaliencyDataError(
                self.path,
                found=f"{fault} among {', '.join(self.names)}",
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


def mapped_array(path: Path) -> np.ndarray:
    """The numbers in a ``.npy`` file; each is read when it is used.

    Raises:
        SaliencyDataError: not such a file, damaged, or not of real numbers.
    """
    try:
        # Python objects cannot be mapped.
        values = np.lib.format.open_memmap(path, mode="r")
    except (*DECODER_ERRORS, TokenError) as error:
        raise SaliencyDataError(
            path,
            found=f"no array of numbers ({reason_of(error)})",
            expected="an array saved by numpy.save, without Python objects",
            remedy="save the numbers again with numpy.save(path, array, allow_pickle=False)",
        ) from error
    if values.dtype.kind not in "fiub":
        raise SaliencyDataError(
            path,
            found="values that are not real numbers",
            expected="an array of real numbers",
            remedy="save the numbers alone with numpy.save",
        )
    return values


def grey_values(path: Path) -> np.ndarray:
    """Values of a grey picture, (height, width), in the type they are stored in.

    Pictures with three equal channels are grey too, and transparency is left out of account.

    Raises:
        UnreadableImageError: it cannot be decoded, or has colours.
    """
    with opened(path) as image:
        if image.width * image.height > _MOST_PX:
            raise UnreadableImageError(
                f"{path}: {image.width} x {image.height} px, more than the {_MOST_PX} that a map "
                "may have; save it at a smaller size"
            )
        image.load()
        values = np.asarray(image)
        if image.mode in ("RGB", "RGBA", "LA", "La", "P", "PA", "CMYK", "YCbCr"):
            colours = np.asarray(image.convert("RGB"))
            if (colours != colours[..., :1]).any():
                raise UnreadableImageError(
                    f"{path}: a picture with colours, whose order as a map is not known; "
                    "save the map in grey"
                )
            values = colours[..., 0]
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture with its header read; faults are UnreadableImageErrors that name the file."""
    try:
        with opened_file(path) as file, opened_image(file) as image:
            yield image
    except UnreadableImageError:
        raise
    except DECODER_ERRORS as error:
        raise UnreadableImageError(f"{path}: cannot be decoded: {reason_of(error)}") from error
