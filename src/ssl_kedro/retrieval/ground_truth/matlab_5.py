"""MATLAB 5 files, as far as ground truths use them: numbers, text, cells and structs.

Written after MathWorks' "MAT-File Format" because SciPy's compiled reader ends the interpreter on
some damaged files. Here each count is checked against the bytes that are left before anything is
made, so that a file can claim no more memory than it fills.

An element is a tag (type and size, 8 bytes) and its content, padded to 8 bytes. An array is an
element of type 14 with elements inside: flags (the class), dimensions, name, content.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection
from typing import TypeAlias

import numpy as np

# Numbers (N,) in column order; text; a char matrix' rows or a cell's values; a struct's entries.
Value: TypeAlias = "np.ndarray | str | list[Value] | list[dict[str, Value]]"

# Of all variables together, once they are inflated; INSTRE, the largest, takes 8 MB.
MOST_BYTES = 2**29

_HEADER = 128
_ARRAY, _DEFLATED, _INT32, _UINT32 = 14, 15, 5, 6
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)
_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
# MATLAB stores characters as numbers, or as Unicode in these forms.
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


def is_version_5(data: bytes) -> bool:
    """Whether content is a MATLAB 5 file: its header says so in bytes 124 to 128."""
    return data[124:_HEADER] in (b"\x00\x01IM", b"\x01\x00MI")


def variables_of_version_5(data: bytes, wanted: Collection[str]) -> dict[str, Value]:
    """Some variables of a MATLAB 5 file.

    Args:
        data: the file's content.
        wanted: names of variables; others are passed over.

    Raises:
        ValueError: the file is damaged, or a wanted variable is of another class.
    """
    little = data[126:_HEADER] == b"IM"
    found: dict[str, Value] = {}
    start, left = _HEADER, MOST_BYTES
    while start < len(data):
        file = _Elements(data, little)
        kind, begin, end, start = file.element(start, len(data))
        if kind == _DEFLATED:
            inflated = _inflated(data[begin:end], left)
            left -= len(inflated)
            file = _Elements(inflated, little)
            kind, begin, end, _ = file.element(0, len(inflated))
        if kind == _ARRAY:
            name, array_class, shape, content = file.head(begin, end)
            if name in wanted:
                found[name] = file.value(array_class, shape, content, end)
    return found


def _inflated(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(inflated) > most:
        raise ValueError(f"it inflates to more than {MOST_BYTES} bytes")
    if not inflater.eof:
        raise ValueError("it ends within a compressed variable")
    return inflated


class _Elements:
    """Elements of one run of bytes; places are offsets into it."""

    def __init__(self, data: bytes, little: bool) -> None:
        self._data = data
        self._order = "<" if little else ">"
        self._tag = struct.Struct(self._order + "II")

    def element(self, start: int, end: int) -> tuple[int, int, int, int]:
        """Type, begin and end of the content, and where the next element starts."""
        if end - start < 8:
            raise ValueError("it ends within an element")
        kind, size = self._tag.unpack_from(self._data, start)
        if kind >> 16:
            # Up to four bytes stand in the tag itself.
            kind, size, begin, following = kind & 0xFFFF, kind >> 16, start + 4, start + 8
            whole = size <= 4
        else:
            begin = start + 8
            whole = begin + size <= end
            padding = 0 if kind == _DEFLATED else -size % 8
            following = min(begin + size + padding, end)
        if not whole:
            raise ValueError("an element is larger than what holds it")
        return kind, begin, begin + size, following

    def head(self, begin: int, end: int) -> tuple[str, int, tuple[int, ...], int]:
        """Name, class and shape of an array, and where its content starts."""
        flags, at = self._numbers(begin, end, _UINT32)
        shape, at = self._numbers(at, end, _INT32)
        _, name, name_end, at = self.element(at, end)
        if len(flags) < 1 or len(shape) < 2 or (shape < 0).any():
            raise ValueError("an array without class or shape")
        return (
            self._data[name:name_end].decode("latin-1"),
            int(flags[0]) & 0xFF,
            tuple(shape.tolist()),
            at,
        )

    def value(self, array_class: int, shape: tuple[int, ...], at: int, end: int) -> Value:
        """What an array holds, from where its content starts."""
        if array_class == _CELL:
            return self._arrays(at, end, math.prod(shape))
        if array_class == _STRUCT:
            return self._entries(at, end, math.prod(shape))
        if array_class == _CHAR:
            return self._text(at, end, shape)
        if array_class in _NUMERIC:
            return self._numbers(at, end)[0]
        raise ValueError(f"an array of class {array_class}; expected numbers, text, cell or struct")

    def _numbers(self, start: int, end: int, expected: int = 0) -> tuple[np.ndarray, int]:
        kind, begin, stop, following = self.element(start, end)
        if kind not in _NUMBERS or (expected and kind != expected):
            raise ValueError(f"an element of type {kind} in the place of numbers")
        dtype = np.dtype(self._order + _NUMBERS[kind])
        count = (stop - begin) // dtype.itemsize
        values = np.frombuffer(self._data, dtype, count, begin)
        return values.astype(dtype.newbyteorder("=")), following

    def _arrays(self, start: int, end: int, count: int) -> list[Value]:
        """Nameless arrays, one after the other."""
        if count > (end - start) // 8:
            raise ValueError(f"{count} values claimed in {end - start} bytes")
        values: list[Value] = []
        for _ in range(count):
            kind, begin, stop, start = self.element(start, end)
            if kind != _ARRAY:
                raise ValueError(f"an element of type {kind} in the place of an array")
            if begin == stop:
                values.append(np.zeros(0))
                continue
            _, array_class, shape, content = self.head(begin, stop)
            values.append(self.value(array_class, shape, content, stop))
        return values

    def _entries(self, start: int, end: int, count: int) -> list[dict[str, Value]]:
        lengths, at = self._numbers(start, end, _INT32)
        _, begin, stop, at = self.element(at, end)
        if len(lengths) != 1 or lengths[0] < 1:
            raise ValueError("a struct without the length of its fields' names")
        width = int(lengths[0])
        names = [
            self._data[place : min(place + width, stop)].split(b"\0")[0].decode("latin-1")
            for place in range(begin, stop, width)
        ]
        values = self._arrays(at, end, count * len(names))
        return [
            dict(zip(names, values[place : place + len(names)], strict=True))
            for place in range(0, len(values), max(len(names), 1))
        ]

    def _text(self, start: int, end: int, shape: tuple[int, ...]) -> Value:
        kind, begin, stop, _ = self.element(start, end)
        encoding = _TEXT.get(kind)
        if encoding is None:
            raise ValueError(f"an element of type {kind} in the place of text")
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if self._order == "<" else "-be"
        text = self._data[begin:stop].decode(encoding)
        rows = shape[0]
        if rows <= 1:
            return text
        if rows > len(text):
            raise ValueError(f"{rows} rows claimed in {len(text)} characters")
        # Column by column; shorter rows are padded with blanks.
        lines: list[Value] = [text[row::rows].rstrip() for row in range(rows)]
        return lines
