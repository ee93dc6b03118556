"""Pickled tensors among objects of other libraries, read without those libraries.

A pickle is a program that names classes and functions to call. Here a name never leads to the
real thing: each becomes a stand-in made for this one file, which takes any arguments and does
nothing. Only the few names that PyTorch writes for tensors have a meaning, and they too lead to
plain records, which become tensors after the pickle has ended and its claims are checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch
from torch import Tensor

# What unpickling and pickletools raise on damaged files.
DAMAGE = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization's older format
_PROTOCOL = 1001
_MAX_PICKLE = 1 << 28  # bytes of instructions; published files have less than one million
_MAX_DEPTH = 100


class InertObject:
    """In the place of an object of another library; ``name`` says of which class."""

    name = ""

    def __new__(cls, *_: Any, **__: Any) -> InertObject:
        """Any arguments, none of them looked at."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> InertObject:
        """Itself: the result of calling what stands for nothing."""
        return self

    def append(self, _: Any) -> None:
        """Nothing is kept."""

    def extend(self, _: Any) -> None:
        """Nothing is kept."""

    def add(self, _: Any) -> None:
        """Nothing is kept."""

    def __repr__(self) -> str:
        return f"<stand-in for {self.name}>"


class _Storage:
    """Where a tensor's numbers are, as the pickle claims it."""

    def __init__(self, kind: Any, key: str, numel: int) -> None:
        self.kind, self.key, self.numel = kind, key, numel


class _Record:
    """A tensor, as the pickle claims it."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments

    def __setstate__(self, _: Any) -> None:
        pass


def read_inert(path: Path) -> Any:
    """Content of a file of ``torch.save``, with stand-ins for all that is not plain.

    Returns:
        Dictionaries, lists, numbers, strings, tensors on the CPU and :class:`InertObject`.

    Raises:
        ValueError, and the other exceptions of ``DAMAGE``: the file is damaged.
    """
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    return _read_older(path)


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError(f"{len(names)} entries data.pkl for 1")
        folder = names[0].removesuffix("data.pkl")
        infos = {info.filename: info for info in archive.infolist()}
        # A compressed entry could claim to hold any amount; torch.save never compresses.
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
            raise ValueError("compressed entries, which torch.save does not write")
        order = folder + "byteorder"
        if order in infos and archive.read(order) != b"little":
            raise ValueError("numbers in big-endian order")
        content = _plain_program(io.BytesIO(archive.read(names[0])))

        def read(storage: _Storage, size: int) -> bytes:
            data = archive.read(f"{folder}data/{storage.key}")
            if len(data) != size:
                raise ValueError(f"{len(data)} bytes for {size} in storage {storage.key}")
            return data

        return _Builder(read).built(content)


def _read_older(path: Path) -> Any:
    with path.open("rb") as file:
        if _plain_program(file) != _MAGIC or _plain_program(file) != _PROTOCOL:
            raise ValueError("neither a zip archive nor PyTorch's older format")
        system = _plain_program(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("numbers in big-endian order")
        content = _plain_program(file)
        keys = _plain_program(file)
        if not isinstance(keys, list):
            raise ValueError("no list of storages")
        sizes = {storage.key: storage for storage in _storages(content)}
        places: dict[str, tuple[int, int]] = {}
        end = path.stat().st_size
        for key in keys:
            header = file.read(8)
            numel = struct.unpack("<q", header)[0]
            storage = sizes.get(str(key))
            if storage is None:
                raise ValueError(f"a storage {key!r} that no tensor names")
            size = numel * _dtype(storage).itemsize
            if not 0 <= size <= end - file.tell():
                raise ValueError(f"a storage of {numel} numbers past the end of the file")
            places[str(key)] = (file.tell(), size)
            file.seek(size, io.SEEK_CUR)

        def read(storage: _Storage, size: int) -> bytes:
            place, found = places[storage.key]
            if found != size:
                raise ValueError(f"{found} bytes for {size} in storage {storage.key}")
            file.seek(place)
            return file.read(size)

        return _Builder(read).built(content)


def _plain_program(file: BinaryIO) -> Any:
    """Run one pickle with stand-ins for every name, and stop behind it."""
    start = file.tell()
    for code, argument, place in pickletools.genops(file):
        reached = int(place or 0)
        if reached - start > _MAX_PICKLE:
            raise ValueError("a pickle that is too long")
        if code.name.startswith("EXT"):
            raise ValueError(f"the instruction {code.name}")
        # The unpickler allocates its memo up to the number that it is given.
        if code.name.endswith("PUT") and int(argument or 0) > reached:
            raise ValueError(f"a memo of {argument} entries")
    end = file.tell()
    file.seek(start)
    program = file.read(end - start)
    return _Unpickler(io.BytesIO(program), encoding="utf-8").load()


class _Unpickler(pickle.Unpickler):
    """Finds nothing but what it makes itself, anew for every pickle."""

    def __init__(self, file: BinaryIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self._made: dict[str, Any] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in self._made:
            self._made[name] = _meaning(name)
        return self._made[name]

    def persistent_load(self, pid: Any, /) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ValueError("a reference to something that is not a storage")
        if len(pid) == 6 and pid[5] is not None:
            raise ValueError("a storage that is a view of another one")
        if not isinstance(pid[4], int) or pid[4] < 0:
            raise ValueError(f"a storage of {pid[4]!r} numbers")
        return _Storage(pid[1], str(pid[2]), pid[4])


def _meaning(name: str) -> Any:
    """A new object that stands for a name; nothing is looked up."""
    if name == "collections.OrderedDict":
        return type("Mapping", (dict,), {"__setstate__": lambda *_: None})
    if name == "torch._utils._rebuild_tensor_v2":
        return _once(lambda *arguments: _Record(arguments))
    if name == "torch._utils._rebuild_parameter":
        return _once(lambda tensor, *_: tensor)
    return type("StandIn", (InertObject,), {"name": name})


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    """A callable of its own, so that a pickle cannot change one that others use."""

    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _storages(content: Any) -> Iterator[_Storage]:
    """All storages that the records below a value name."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _Record):
            if value.arguments and isinstance(value.arguments[0], _Storage):
                yield value.arguments[0]
        else:
            waiting.extend(_children(value))


def _dtype(storage: _Storage) -> torch.dtype:
    name = storage.kind.name if _is_stand_in(storage.kind) else repr(storage.kind)
    dtype = _DTYPES.get(name.removeprefix("torch."))
    if dtype is None:
        raise ValueError(f"a storage of the unknown type {name}")
    return dtype


def _is_stand_in(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, InertObject)


class _Builder:
    """Turns records into tensors, once the pickle has ended."""

    def __init__(self, read: Callable[[_Storage, int], bytes]) -> None:
        self._read = read
        self._data: dict[str, Tensor] = {}

    def built(self, value: Any, depth: int = 0) -> Any:
        """Plain values, tensors and stand-ins."""
        if depth > _MAX_DEPTH:
            raise ValueError("values nested too deeply")
        if isinstance(value, _Record):
            return self._tensor(*value.arguments)
        if isinstance(value, dict):
            return {k: self.built(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list):
            return [self.built(v, depth + 1) for v in value]
        if isinstance(value, tuple):
            return tuple(self.built(v, depth + 1) for v in value)
        if _is_stand_in(value):
            return value()
        return value

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        if not isinstance(storage, _Storage):
            self._refuse("a tensor without a storage")
        whole = (offset, *size, *stride)
        if len(size) != len(stride) or any(not isinstance(n, int) or n < 0 for n in whole):
            self._refuse(f"a tensor of offset {offset}, shape {size}, strides {stride}")
        if math.prod(size) > storage.numel:  # as strides of 0 could claim any amount
            self._refuse(f"a tensor of shape {size} in a storage of {storage.numel} numbers")
        empty = any(n == 0 for n in size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if not empty and last >= storage.numel:
            self._refuse(f"a tensor past the end of storage {storage.key}")
        return self._values(storage).as_strided(size, stride, offset).clone()

    def _values(self, storage: _Storage) -> Tensor:
        if storage.key not in self._data:
            dtype = _dtype(storage)
            data = bytearray(self._read(storage, storage.numel * dtype.itemsize))
            found = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self._data[storage.key] = found
        values = self._data[storage.key]
        if values.dtype != _dtype(storage) or values.numel() != storage.numel:
            self._refuse(f"two claims about storage {storage.key}")
        return values

    @staticmethod
    def _refuse(found: str) -> NoReturn:
        raise ValueError(found)
