"""TensorFlow's checkpoints, read without TensorFlow.

A checkpoint is a prefix: ``<prefix>.index`` is a sorted table from names to messages (type,
shape, shard, offset, size, checksum), ``<prefix>.data-00000-of-00001`` and so on hold the
numbers. The messages are those of tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_kedro.core.errors import first_few
from ssl_kedro.encoders.importers.protobuf import fields, signed
from ssl_kedro.encoders.importers.report import WeightsError
from ssl_kedro.encoders.importers.sorted_table import masked_crc32c, table_entries

INDEX = ".index"
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # of types.proto
_MAX_SHARDS = 100_000
_REFETCH = "fetch the checkpoint's files from their publisher again, all of one download"


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
        raise WeightsError(
            path,
            f"{len(indices)} checkpoints ({first_few([p.name for p in indices])})",
            "a folder with one",
            "give the path of its .index file",
        )
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
    """An opened checkpoint.

    Args:
        path: prefix, ``.index`` file, or folder with one checkpoint.

    Raises:
        WeightsError: the index is missing, damaged, or not of such a checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self._prefix = bundle_prefix(path)
        self._index = self._prefix.with_name(self._prefix.name + INDEX)
        self.entries: dict[str, BundleEntry] = {}
        try:
            self._shards = self._read_index()
        except (ValueError, OSError) as error:
            raise self._error(self._index, str(error), "the index of a checkpoint") from error

    def _read_index(self) -> int:
        """Fill ``entries``; the number of data files."""
        shards: int | None = None
        for key, value in table_entries(self._index.read_bytes()):
            if key == b"":
                shards = _shards_of(value)
            else:
                self.entries[key.decode()] = _entry_of(value)
        if shards is None:
            raise ValueError("an index without a header")
        return shards

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def names(self) -> list[str]:
        """Of all tensors, in the order of the index."""
        return list(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Sides of a tensor, without reading it."""
        return self.entries[name].shape

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
            raise self._error(
                self._index, f"{entry.size} bytes for {name} of shape {entry.shape}", "its size"
            )
        try:
            with path.open("rb") as file:
                file.seek(0, 2)
                if not 0 <= entry.offset <= file.tell() - entry.size:
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


def _shards_of(header: bytes) -> int:
    """Number of data files that a BundleHeaderProto names."""
    shards, big_endian, oldest = 1, 0, 0
    for number, value in fields(header):
        if number == 1:
            shards = _integer(value)
        elif number == 2:
            big_endian = _integer(value)
        elif number == 3:
            oldest = max((_integer(v) for n, v in fields(_message(value)) if n == 2), default=0)
    if big_endian or oldest > 1:
        raise ValueError("a checkpoint in big-endian order or of a later format")
    if not 1 <= shards <= _MAX_SHARDS:
        raise ValueError(f"a checkpoint of {shards} data files")
    return shards


def _entry_of(message: bytes) -> BundleEntry:
    """A BundleEntryProto."""
    found = dict.fromkeys(range(1, 7), 0)
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in fields(message):
        if number == 2:
            shape = tuple(_side(_message(side)) for n, side in fields(_message(value)) if n == 2)
        elif number == 7:
            sliced = True
        elif number in found:
            found[number] = _integer(value)
    return BundleEntry(
        dtype=found[1],
        shape=shape,
        shard=found[3],
        offset=found[4],
        size=found[5],
        checksum=found[6],
        sliced=sliced,
    )


def _side(message: bytes) -> int:
    return next((_integer(value) for number, value in fields(message) if number == 1), 0)


def _integer(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a message where a number belongs")
    return signed(value)


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value
