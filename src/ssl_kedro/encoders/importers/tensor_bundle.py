"""TensorFlow's checkpoints, read without TensorFlow.

A checkpoint is a prefix: ``<prefix>.index`` is a sorted table from names to messages (type,
shape, shard, offset, size, checksum), ``<prefix>.data-00000-of-00001`` and so on hold the
numbers. The messages are those of tensorflow/core/protobuf/tensor_bundle.proto, in the wire
format of https://protobuf.dev/programming-guides/encoding/.

The table is LevelDB's, uncompressed (https://github.com/google/leveldb/blob/main/doc/table_format.md):
a footer of 48 bytes points to an index block, whose values point to blocks of data. A block holds
keys that leave out what they share with the key before, then restart points; its kind and checksum
follow it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ssl_kedro.core.errors import first_few
from ssl_kedro.encoders.importers.kind import WeightsError

INDEX = ".index"
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # of types.proto
_MAX_SHARDS = 100_000
_REFETCH = "fetch the checkpoint's files from their publisher again, all of one download"
_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5  # one byte for the kind of compression, four for the checksum
_MAX_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class BundleEntry:
    """One tensor, as the index describes it.

    Args:
        dtype: number in tensorflow/core/framework/types.proto; 1 is float32.
        shape: sides, in TensorFlow's order.
        shard: number of its data file.
        offset: of its first byte there.
        size: bytes.
        checksum: CRC-32C of its bytes, masked.
        sliced: stored in parts, under names of their own.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


def bundle_prefix(path: Path) -> Path:
    """The prefix that a user means with a prefix, an ``.index`` file or a folder.

    Raises:
        WeightsError: a folder with several checkpoints.
    """
    if not path.is_dir():
        return path.with_name(path.name.removesuffix(INDEX))
    indices = sorted(path.glob(f"*{INDEX}"))
    if len(indices) > 1:
        found = f"{len(indices)} checkpoints ({first_few([p.name for p in indices])})"
        raise WeightsError(path, found, "a folder with one", "give the path of its .index file")
    name = indices[0].name if indices else f"model.ckpt{INDEX}"
    return path / name.removesuffix(INDEX)


def bundle_files(path: Path) -> Sequence[Path]:
    """The index, and the data files that are there."""
    prefix = bundle_prefix(path)
    start = f"{prefix.name}.data-"
    siblings = prefix.parent.iterdir() if prefix.parent.is_dir() else ()
    data = sorted(p for p in siblings if p.name.startswith(start))
    return [prefix.with_name(prefix.name + INDEX), *data]


class TensorBundle:
    """An opened checkpoint: ``entries`` by name, in the order of the index.

    Args:
        path: prefix, ``.index`` file, or folder with one checkpoint.

    Raises:
        WeightsError: the index is missing, damaged, or not of such a checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self._prefix = bundle_prefix(path)
        self._index = self._prefix.with_name(self._prefix.name + INDEX)
        try:
            messages = dict(table_entries(self._index.read_bytes()))
            if b"" not in messages:
                raise ValueError("an index without a header")
            self._shards = _shards_of(messages.pop(b""))
            self.entries = {key.decode(): _entry_of(value) for key, value in messages.items()}
        except (ValueError, OSError) as error:
            raise self._error(self._index, str(error), "the index of a checkpoint") from error

    def tensor(self, name: str) -> NDArray[np.generic]:
        """One tensor, its checksum verified.

        Args:
            name: of ``entries``.

        Raises:
            WeightsError: its data file is missing or cut off, its bytes are damaged, or it is
                of a type that weights do not have.
        """
        entry = self.entries[name]
        path = self._prefix.with_name(
            f"{self._prefix.name}.data-{entry.shard:05d}-of-{self._shards:05d}"
        )
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None or entry.sliced:
            what = "stored in slices" if entry.sliced else f"of type {entry.dtype}"
            raise self._error(self._index, f"{name} {what}", "float or integer tensors, whole")
        kind = np.dtype(dtype)
        if min(entry.shape, default=0) < 0 or entry.size != math.prod(entry.shape) * kind.itemsize:
            found = f"{entry.size} bytes for {name} of shape {entry.shape}"
            raise self._error(self._index, found, "its size")
        try:
            with path.open("rb") as file:
                if not 0 <= entry.offset <= path.stat().st_size - entry.size:
                    raise self._error(path, f"the end of the file within {name}", "a whole file")
                file.seek(entry.offset)
                data = file.read(entry.size)
        except OSError as error:
            raise self._error(path, str(error), f"a file that holds {name}") from error
        if masked_crc32c(data) != entry.checksum:
            raise self._error(path, f"a wrong checksum of {name}", "undamaged values")
        return np.frombuffer(bytearray(data), dtype=kind).reshape(entry.shape)

    @staticmethod
    def _error(path: Path, found: str, expected: str) -> WeightsError:
        return WeightsError(path, found, expected, _REFETCH)


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values, in the order of the message; ints unsigned.

    Raises:
        ValueError: not a message, or cut off.
    """
    place = 0
    while place < len(message):
        tag, place = read_varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire in (_VARINT, _BYTES):
            value, place = read_varint(message, place)
            if wire == _VARINT:
                yield number, value
                continue
        elif wire in (_FIXED32, _FIXED64):
            value = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"a field of the unknown wire type {wire}")
        if value > len(message) - place:
            raise ValueError("a field that is cut off")
        found = message[place : place + value]
        place += value
        yield number, found if wire == _BYTES else int.from_bytes(found, "little")


def _shards_of(header: bytes) -> int:
    """Number of data files that a BundleHeaderProto names."""
    found = dict(fields(header))
    shards, big_endian = integer(found.get(1, 1)), integer(found.get(2, 0))
    oldest = dict(fields(_message(found.get(3, b"")))).get(2, 0)
    if big_endian or integer(oldest) > 1:
        raise ValueError("a checkpoint in big-endian order or of a later format")
    if not 1 <= shards <= _MAX_SHARDS:
        raise ValueError(f"a checkpoint of {shards} data files")
    return shards


def _entry_of(message: bytes) -> BundleEntry:
    """A BundleEntryProto."""
    found = dict(fields(message))
    sides = [side for number, side in fields(_message(found.get(2, b""))) if number == 2]
    dtype, shard, offset, size, checksum = (integer(found.get(n, 0)) for n in (1, 3, 4, 5, 6))
    return BundleEntry(
        dtype=dtype,
        shape=tuple(integer(dict(fields(_message(side))).get(1, 0)) for side in sides),
        shard=shard,
        offset=offset,
        size=size,
        checksum=checksum,
        sliced=7 in found,
    )


def integer(value: int | bytes) -> int:
    """An int64 or int32 that was read as unsigned.

    Raises:
        ValueError: a message in its place.
    """
    if isinstance(value, bytes):
        raise ValueError("a message where a number belongs")
    return value - (1 << 64) if value >= 1 << 63 else value


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


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
