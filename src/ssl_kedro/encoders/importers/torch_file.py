"""Files that ``torch.save`` wrote, read without running anything that they contain.

Files of tensors and plain values are read by PyTorch. Where a publisher put objects of other
libraries among the weights they are read here, with stand-ins in the place of those objects
(:mod:`ssl_kedro.core.pickles`). The names that PyTorch writes for tensors lead to records of what
a pickle claims, which become tensors after it has ended and its claims are checked.
"""

import dataclasses
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_kedro.core.errors import first_line
from ssl_kedro.core.pickles import DAMAGE, Allowed, InertObject, unpickled
from ssl_kedro.encoders.importers.kind import CHECK_KIND, WeightsError
from ssl_kedro.encoders.importers.pickled_arrays import ARRAYS, KeptState, PickledArray

_REFETCH = "fetch the file from its publisher again"
_TYPES = {
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
_MAX_DEPTH = 100
_FAULTS = (*DAMAGE, RuntimeError, OSError, AssertionError, zipfile.BadZipFile)


def read_torch(path: Path, *, foreign_objects: bool = False) -> Any:
    """Content of a file of ``torch.save``, on the CPU.

    Args:
        path: in PyTorch's zip format or the older one.
        foreign_objects: where the publisher stored objects of other libraries among the
            weights, put inert stand-ins in their place instead of refusing the file.
            Nothing is imported or called for them either.

    Raises:
        WeightsError: not such a file, damaged, or with objects that are not allowed.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = error
    except _FAULTS as error:
        raise _damaged(path, error) from error
    if not foreign_objects:
        raise WeightsError(
            path,
            f"a pickle that needs more than tensors and plain values ({first_line(refused)[:200]})",
            "tensors, numbers, strings, lists and dictionaries only",
            "do not load it with another tool unless you trust who made it; take the file "
            "that the publisher gives out, or save its state dict alone",
        ) from refused
    try:
        return read_inert(path)
    except _FAULTS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> WeightsError:
    return WeightsError(
        path, f"a damaged file ({first_line(error)[:200]})", "one that torch.save wrote", _REFETCH
    )


def entry(content: Any, name: str, path: Path) -> dict[str, Any]:
    """A dictionary inside a file's dictionary.

    Raises:
        WeightsError: there is none of this name.
    """
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        keys = list(content)[:10] if isinstance(content, dict) else type(content).__name__
        raise WeightsError(path, f"{keys}", f"a dictionary with the entry {name!r}", CHECK_KIND)
    return found


def tensors_of(state: Any, path: Path) -> dict[str, Tensor]:
    """A state dict's tensors by name; inert stand-ins and plain values are left out.

    Raises:
        WeightsError: no dictionary with tensors.
    """
    tensors = {}
    if isinstance(state, dict) and not isinstance(state, InertObject):
        tensors = {str(k): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        found = f"no tensors ({type(state).__name__})"
        raise WeightsError(path, found, "a dictionary of tensors by name", CHECK_KIND)
    return tensors


def read_inert(path: Path) -> Any:
    """Content of a file of ``torch.save``, with stand-ins for all that is not plain.

    Returns:
        Dictionaries, lists, numbers, strings, tensors on the CPU, NumPy's arrays and
        :class:`InertObject`, with the attributes of scikit-learn's PCA.

    Raises:
        ValueError, and the other exceptions of ``DAMAGE``: the file is damaged.
    """
    return _read_zip(path) if zipfile.is_zipfile(path) else _read_older(path)


@dataclass(frozen=True)
class _Storage:
    """Where a tensor's numbers are, as the pickle claims it."""

    kind: Any
    key: str
    numel: int

    @property
    def dtype(self) -> torch.dtype:
        name = self.kind.name if _is_stand_in(self.kind) else repr(self.kind)
        dtype = _TYPES.get(name.removeprefix("torch."))
        if dtype is None:
            raise ValueError(f"a storage of the unknown type {name}")
        return dtype


def _ignored(*_: Any) -> None:
    """In the place of a method that takes what a pickle gives it."""


class _Record:
    """A tensor, as the pickle claims it."""

    __setstate__ = _ignored

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments


def _storage(claim: Any) -> _Storage:
    """Meaning of a reference to what lies outside the pickle."""
    if not isinstance(claim, tuple) or len(claim) not in (5, 6) or claim[0] != "storage":
        raise ValueError("a reference to something that is not a storage")
    if len(claim) == 6 and claim[5] is not None:
        raise ValueError("a storage that is a view of another one")
    if not isinstance(claim[4], int) or claim[4] < 0:
        raise ValueError(f"a storage of {claim[4]!r} numbers")
    return _Storage(claim[1], str(claim[2]), claim[4])


_ALLOWED = Allowed(
    names={
        "collections.OrderedDict": lambda: type("Mapping", (dict,), {"__setstate__": _ignored}),
        "torch._utils._rebuild_tensor_v2": lambda: lambda *arguments: _Record(arguments),
        "torch._utils._rebuild_parameter": lambda: lambda tensor, *_: tensor,
        **ARRAYS,
    },
    foreign=True,
    outside=_storage,
)


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError(f"{len(names)} entries data.pkl for 1")
        folder = names[0].removesuffix("data.pkl")
        # A compressed entry could claim to hold any amount; torch.save never compresses.
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("compressed entries, which torch.save does not write")
        order = folder + "byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("numbers in big-endian order")
        content = unpickled(io.BytesIO(archive.read(names[0])), _ALLOWED)
        return _Builder(lambda key: archive.read(f"{folder}data/{key}")).built(content)


def _read_older(path: Path) -> Any:
    with path.open("rb") as file:
        if unpickled(file) != _MAGIC or unpickled(file) != _PROTOCOL:
            raise ValueError("neither a zip archive nor PyTorch's older format")
        system = unpickled(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("numbers in big-endian order")
        named: dict[str, _Storage] = {}

        def outside(claim: Any) -> _Storage:
            storage = _storage(claim)
            named[storage.key] = storage
            return storage

        content = unpickled(file, dataclasses.replace(_ALLOWED, outside=outside))
        keys = unpickled(file)
        if not isinstance(keys, list):
            raise ValueError("no list of storages")
        data: dict[str, bytes] = {}
        end = path.stat().st_size
        for key in map(str, keys):
            numel = struct.unpack("<q", file.read(8))[0]
            if key not in named:
                raise ValueError(f"a storage {key!r} that no tensor names")
            size = numel * named[key].dtype.itemsize
            if not 0 <= size <= end - file.tell():
                raise ValueError(f"a storage of {numel} numbers past the end of the file")
            data[key] = file.read(size)
        return _Builder(data.__getitem__).built(content)


def _is_stand_in(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, InertObject)


class _Builder:
    """Turns records into tensors and arrays, once the pickle has ended.

    Args:
        read: key of a storage -> its bytes.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._data: dict[str, Tensor] = {}

    def built(self, value: Any, depth: int = 0) -> Any:
        """Plain values, tensors and stand-ins."""
        if depth > _MAX_DEPTH:
            raise ValueError("values nested too deeply")
        if isinstance(value, _Record):
            return self._tensor(*value.arguments)
        if isinstance(value, PickledArray):
            return value.values()
        if isinstance(value, KeptState):
            value.state = self.built(value.state, depth + 1)
            return value
        if isinstance(value, dict):
            return {k: self.built(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple):
            items = [self.built(v, depth + 1) for v in value]
            return items if isinstance(value, list) else tuple(items)
        return value() if _is_stand_in(value) else value

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        whole = (offset, *size, *stride)
        if len(size) != len(stride) or any(not isinstance(n, int) or n < 0 for n in whole):
            raise ValueError(f"a tensor of offset {offset}, shape {size}, strides {stride}")
        if math.prod(size) > storage.numel:  # as strides of 0 could claim any amount
            raise ValueError(f"a tensor of shape {size} in a storage of {storage.numel} numbers")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if all(size) and last >= storage.numel:
            raise ValueError(f"a tensor past the end of storage {storage.key}")
        return self._values(storage).as_strided(size, stride, offset).clone()

    def _values(self, storage: _Storage) -> Tensor:
        if storage.key not in self._data:
            data, dtype = bytearray(self._read(storage.key)), storage.dtype
            size = storage.numel * dtype.itemsize
            if len(data) != size:
                raise ValueError(f"{len(data)} bytes for {size} in storage {storage.key}")
            found = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self._data[storage.key] = found
        values = self._data[storage.key]
        if values.dtype != storage.dtype or values.numel() != storage.numel:
            raise ValueError(f"two claims about storage {storage.key}")
        return values
