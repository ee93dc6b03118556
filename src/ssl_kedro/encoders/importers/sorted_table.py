"""The sorted table of TensorFlow's checkpoint index: LevelDB's format, uncompressed.

https://github.com/google/leveldb/blob/main/doc/table_format.md. A footer of 48 bytes points to
an index block, whose values point to blocks of data. A block holds keys that leave out what
they share with the key before, then restart points; its kind and checksum follow it.
"""

from __future__ import annotations

from collections.abc import Iterator

import google_crc32c

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5  # one byte for the kind of compression, four for the checksum
_MAX_VARINT = 10


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned integer of 7 bits a byte, low ones first, and the place behind it.

    Raises:
        ValueError: the data end within it, or it is longer than 64 bits.
    """
    value = 0
    for count, byte in enumerate(data[place : place + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80 and value < 1 << 64:
            return value, place + count + 1
    if len(data) < place + _MAX_VARINT:
        raise ValueError("a number that is cut off")
    raise ValueError("a number of more than 64 bits")


def masked_crc32c(data: bytes) -> int:
    """CRC-32C as TensorFlow and LevelDB store it: rotated by 15 bits, plus a constant."""
    checksum: int = google_crc32c.value(data)
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def table_entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a whole table, in order.

    Args:
        data: content of the file.

    Raises:
        ValueError: not such a table, damaged, or compressed.
    """
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ValueError("no table: its last bytes are not those of one, or it is cut off")
    # Two handles, the first of the block about filters, which has nothing to read.
    _, _, offset, size = _numbers(data[-_FOOTER:], 0, 4)[0]
    last: bytes | None = None
    for _, value in _block(data, offset, size):
        for key, found in _block(data, *_numbers(value, 0, 2)[0]):
            if last is not None and key <= last:
                raise ValueError("keys out of order")
            last = key
            yield key, found


def _numbers(data: bytes, place: int, count: int) -> tuple[list[int], int]:
    """Numbers one behind the other, and the place behind them; two are a block's handle."""
    found = []
    for _ in range(count):
        value, place = read_varint(data, place)
        found.append(value)
    return found, place


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = offset + size
    if end + _TRAILER > len(data) - _FOOTER:
        raise ValueError("a block past the end of the table")
    checksum = int.from_bytes(data[end + 1 : end + _TRAILER], "little")
    if masked_crc32c(data[offset : end + 1]) != checksum:
        raise ValueError(f"a block with a wrong checksum at byte {offset}")
    if data[end] != 0:
        raise ValueError("a compressed block, which TensorFlow does not write")
    block = data[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    stop = len(block) - 4 * (restarts + 1)
    if stop < 0:
        raise ValueError("a block shorter than its restart points")
    key, place = b"", 0
    while place < stop:
        (shared, fresh, length), place = _numbers(block, place, 3)
        if shared > len(key) or fresh + length > stop - place:
            raise ValueError("an entry that does not fit its block")
        key = key[:shared] + block[place : place + fresh]
        place += fresh
        yield key, block[place : place + length]
        place += length
