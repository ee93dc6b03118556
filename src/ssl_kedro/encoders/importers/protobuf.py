"""The wire format of protocol buffers, as far as TensorFlow's checkpoints use it.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned integer of 7 bits a byte, low ones first, and the place behind it.

    Raises:
        ValueError: the data end within it, or it is longer than 64 bits.
    """
    value = 0
    for count in range(_MAX_VARINT):
        if place + count >= len(data):
            raise ValueError("a number that is cut off")
        byte = data[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, place + count + 1
    raise ValueError("a number of more than 64 bits")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values, in the order of the message; ints unsigned.

    Raises:
        ValueError: not a message, or cut off.
    """
    place = 0
    while place < len(message):
        tag, place = read_varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = read_varint(message, place)
            yield number, value
            continue
        if wire == _BYTES:
            size, place = read_varint(message, place)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"a field of the unknown wire type {wire}")
        if size > len(message) - place:
            raise ValueError("a field that is cut off")
        found = message[place : place + size]
        place += size
        yield number, found if wire == _BYTES else int.from_bytes(found, "little")


def signed(value: int) -> int:
    """An int64 or int32 that was read as unsigned."""
    return value - (1 << 64) if value >= 1 << 63 else value
