"""Descriptors that somebody else made, checked before anything is computed from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ssl_kedro.core.errors import InputError
from ssl_kedro.retrieval.whitening import unit_rows

_ROWS = 65_536
# Lengths of unit rows stored in half precision differ from 1 by less.
_ROUNDING = 2e-3


class DescriptorError(InputError):
    """Descriptors that do not fit the ground truth, or are not descriptors."""

    def __init__(self, key: str, file: str, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"descriptors.{key} = {file!r}", found, expected, remedy)


def checked_descriptors(
    arrays: Mapping[str, tuple[np.ndarray, int]], files: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Descriptors at unit length, (N, D), in the type they came in.

    Rows that have unit length already, up to rounding, stay as they are to the last bit.

    Args:
        arrays: by role ("database", "queries"): the array and how many rows it should have.
        files: by role: where it came from, for messages.

    Raises:
        DescriptorError: an array that is not (rows, D) of numbers, the wrong number of rows,
            unequal D, values that are not finite, or rows of zeros.
    """
    for key, (array, count) in arrays.items():
        _check_one(key, files[key], array, count)
    widths = {key: array.shape[1] for key, (array, _) in arrays.items()}
    if len(set(widths.values())) > 1:
        key = list(widths)[-1]
        raise DescriptorError(
            key,
            files[key],
            f"{widths[key]} dimensions",
            f"as many as the others have ({widths})",
            "describe queries and database by the same encoder and whitening",
        )
    return {key: _unit(array) for key, (array, _) in arrays.items()}


def _unit(array: np.ndarray) -> np.ndarray:
    rows = np.asarray(array) if array.dtype.kind == "f" else np.asarray(array, dtype=np.float32)
    lengths = np.linalg.norm(rows.astype(np.float64, copy=False), axis=1)
    return rows if np.abs(lengths - 1).max() < _ROUNDING else unit_rows(rows)


def _check_one(key: str, file: str, array: np.ndarray, count: int) -> None:
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] < 1:
        raise DescriptorError(
            key,
            file,
            f"an array of shape {array.shape} and type {array.dtype}",
            f"numbers of shape ({count}, D)",
            "save one row an image with numpy.save",
        )
    if len(array) != count:
        raise DescriptorError(
            key,
            file,
            f"{len(array)} rows",
            f"{count}, one for each image of the ground truth, in its order",
            "check that descriptors and ground truth belong to the same data set, and that "
            "database and queries are not exchanged",
        )
    for at in range(0, count, _ROWS):
        block = np.asarray(array[at : at + _ROWS], dtype=np.float32)
        for fault, what in (
            (~np.isfinite(block).all(axis=1), "values that are not finite"),
            (~block.any(axis=1), "nothing but zeros"),
        ):
            if fault.any():
                first = int(np.flatnonzero(fault)[0])
                raise DescriptorError(
                    key,
                    file,
                    f"{what} in row {at + first}",
                    "finite numbers, not all zero, in every row",
                    "extract that image again, or find out why the encoder gives such values",
                )
