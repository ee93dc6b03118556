"""MATLAB's two container formats, as far as ground truths use them.

MATLAB counts from 1, so every index is lowered by 1 here, and all that follows counts from 0.
Boxes stay as they are. Version 5 files are read by SciPy in a process of their own, version 7.3
files are HDF5 and read by h5py, which is imported when the first such file is read.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ssl_kedro.core.extras import require
from ssl_kedro.core.pickles import DAMAGE
from ssl_kedro.retrieval.ground_truth import matlab_process
from ssl_kedro.retrieval.ground_truth.model import GroundTruthError

# Of one array of an HDF5 file, which can claim more than it holds.
MOST_ENTRIES = 50_000_000

_VARIABLES = ("gnd", "imlist", "qimlist", "qidx", "q_name")
_HDF5 = b"\x89HDF\r\n\x1a\n"
# MATLAB puts 512 bytes of its own before the HDF5 part.
_HDF5_STARTS = (0, 512)
_READER = (sys.executable, "-m", matlab_process.__name__, *_VARIABLES)


def is_version_5(data: bytes) -> bool:
    """Whether content is a MATLAB 5 file: its header says so in bytes 124 to 128."""
    return data[124:128] in (b"\x00\x01IM", b"\x01\x00MI")


def is_version_73(data: bytes) -> bool:
    """Whether content is an HDF5 file, as MATLAB 7.3 writes."""
    return any(data[start : start + len(_HDF5)] == _HDF5 for start in _HDF5_STARTS)


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever h5py and the conversions raise on damaged files as one error.

    Found by damaging files at random.
    """
    try:
        yield
    except (*DAMAGE, OSError, ArithmeticError, RuntimeError) as error:
        raise GroundTruthError(
            f"a MATLAB file that cannot be read ({str(error) or type(error).__name__})",
            "a whole file with gnd, imlist, and qimlist or qidx",
            "fetch the file from its publisher again, or use its JSON version",
        ) from error


def table_of_version_5(data: bytes) -> dict[str, object]:
    """Variables of a MATLAB 5 file; see :mod:`~.ground_truth.read`.

    Raises:
        GroundTruthError: the file is damaged, or a variable is not what it should be.
    """
    with _reading():
        return {key: _value(key, found) for key, found in _variables_of_version_5(data).items()}


def _variables_of_version_5(data: bytes) -> dict[str, Any]:
    """Values as :mod:`~.matlab_process` gives them; a ValueError however it ends otherwise."""
    try:
        ended = subprocess.run(
            _READER,
            input=data,
            capture_output=True,
            check=False,
            timeout=matlab_process.MOST_SECONDS,
            # Each thread of the linear algebra, of which there is none, would reserve memory.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"not within {matlab_process.MOST_SECONDS} seconds") from error
    if ended.returncode:
        raise ValueError(f"the process that read it ended with code {ended.returncode}")
    answer = json.loads(ended.stdout)
    if "error" in answer:
        raise ValueError(answer["error"])
    return dict(answer["variables"])


def table_of_version_73(data: bytes) -> dict[str, object]:
    """Variables of a MATLAB 7.3 file; see :mod:`~.ground_truth.read`.

    Raises:
        GroundTruthError: the file is damaged, or a variable is not what it should be.
    """
    require("a MATLAB 7.3 file", "h5py")
    import h5py  # noqa: PLC0415  optional

    with _reading(), h5py.File(io.BytesIO(data), "r") as file:
        found = {key: _variable_of_version_73(file, key) for key in _VARIABLES if key in file}
        return {key: _value(key, variable) for key, variable in found.items()}


def _value(key: str, found: Any) -> object:
    """A variable as plain data, whatever the container."""
    if key == "gnd":
        return [{name: _field(name, _row(v)) for name, v in entry.items()} for entry in found]
    if key == "qidx":
        return _from_zero(_row(found))
    if isinstance(found, str):
        return [found]
    # An empty text is stored as no numbers.
    return ["" if cell == [] else cell for cell in found]


def _row(values: object) -> np.ndarray:
    row = np.asarray(values)
    if row.ndim != 1:
        raise ValueError(f"found {type(values).__name__} in the place of numbers")
    return row


def _variable_of_version_73(file: Any, key: str) -> Any:
    """As :mod:`~.matlab_process` gives it, with arrays for numbers."""
    if key == "gnd":
        columns = {name: _cells(file, column) for name, column in file[key].items()}
        if len({len(cells) for cells in columns.values()}) > 1:
            raise ValueError("the fields of gnd are of unequal length")
        entries = zip(*columns.values(), strict=True)
        return [dict(zip(columns, entry, strict=True)) for entry in entries]
    if key == "qidx":
        return _numbers(file[key])
    return ["".join(map(chr, _numbers(value))) for value in _objects(file, file[key])]


def _cells(file: Any, column: Any) -> list[np.ndarray]:
    """A struct array's field: references, or the value itself where the array has one entry."""
    if column.dtype.kind == "O":
        return [_numbers(value) for value in _objects(file, column)]
    return [_numbers(column)]


def _objects(file: Any, references: Any) -> list[Any]:
    if references.attrs.get("MATLAB_empty", 0):
        return []
    if references.dtype.kind != "O":
        raise ValueError("expected a cell array")
    _check_count(references.size)
    return [file[reference] for reference in references[()].ravel()]


def _numbers(dataset: Any) -> np.ndarray:
    # An empty array is stored as its size.
    if dataset.attrs.get("MATLAB_empty", 0):
        return np.zeros(0, dtype=np.uint16)
    _check_count(dataset.size)
    return np.asarray(dataset[()]).ravel()


def _field(name: str, values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64) if name == "bbx" else _from_zero(values)


def _from_zero(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        raise ValueError(f"indices of type {values.dtype}")
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise ValueError("indices that are not whole numbers")
    return np.asarray(whole - 1)


def _check_count(count: int) -> None:
    # Without the array's name: HDF5 searches the whole file for it.
    if count > MOST_ENTRIES:
        raise ValueError(f"an array claims {count} entries, more than {MOST_ENTRIES}")
