"""From maps to one unit vector an image (thesis 3.3.1).

A pooling turns an image's map into one vector or several, one a region. Each is brought to
unit length, PCA-whitened and brought to unit length again; an image is their sum, at unit
length. Vectors of all images lie below each other, (M, C); ``starts`` (N + 1,) says where
each image's begin.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.errors import InputError
from ssl_kedro.retrieval import pooling
from ssl_kedro.retrieval.whitening import Whitening, unit_rows

Pooling = Literal["rmac", "gem", "mac", "spoc"]

# Images whose regions are whitened at a time.
_IMAGES_A_BLOCK = 256
# Rows that are checked at a time.
_ROWS = 65_536
# Lengths of unit rows stored in half precision differ from 1 by less.
_ROUNDING = 2e-3


@dataclass(frozen=True)
class PoolingConfig(Config):
    """How a map becomes vectors.

    Args:
        kind: "rmac" = maxima over regions; "gem" = generalised mean; "mac" = maximum; "spoc" =
            mean. The last three give one vector a map.
        levels: L of R-MAC.
        power: p of GeM.
    """

    kind: Pooling = "rmac"
    levels: Annotated[int, Range(at_least=1, at_most=8)] = 3
    power: Annotated[float, Range(at_least=0.1, at_most=10)] = 3.0


def pooled(maps: Tensor, config: PoolingConfig) -> Tensor:
    """Vectors of each map, (N, C, h, w) -> (N, R, C)."""
    if config.kind == "rmac":
        return pooling.region_maxima(maps, config.levels)
    if config.kind == "gem":
        return pooling.generalised_mean(maps, config.power)[:, None]
    if config.kind == "mac":
        return pooling.maximum(maps)[:, None]
    return pooling.average(maps)[:, None]


def vector_blocks(vectors: np.ndarray, rows: int = 8192) -> Iterator[np.ndarray]:
    """Vectors (M, C) in blocks of so many rows, each in memory."""
    for at in range(0, len(vectors), rows):
        yield np.array(vectors[at : at + rows], dtype=np.float32)


def aggregated(
    vectors: np.ndarray,
    starts: np.ndarray,
    whitening: Whitening | None,
    dimensions: int | None = None,
) -> np.ndarray:
    """One unit vector an image, (N, d) float32.

    Args:
        vectors: of all regions, (M, C).
        starts: first vector of each image, and M, (N + 1,).
        whitening: None = the vectors' own dimension: unit length, sum, unit length.
        dimensions: d; None = all that the whitening has.

    Returns:
        Rows of length 1; zeros for an image without vectors, or with zero vectors only.
    """
    (found,) = aggregated_at(vectors, starts, whitening, [dimensions]).values()
    return found


def aggregated_at(
    vectors: np.ndarray,
    starts: np.ndarray,
    whitening: Whitening | None,
    dimensions: Sequence[int | None],
) -> dict[int | None, np.ndarray]:
    """Descriptors at several dimensions, read and projected once; see :func:`aggregated`."""
    width = vectors.shape[1] if whitening is None else whitening.dimensions
    sides = {d: width if d is None else d for d in dimensions}
    found = {d: np.zeros((len(starts) - 1, side), dtype=np.float32) for d, side in sides.items()}
    for first in range(0, len(starts) - 1, _IMAGES_A_BLOCK):
        bounds = np.asarray(starts[first : first + _IMAGES_A_BLOCK + 1])
        block = torch.from_numpy(np.array(vectors[bounds[0] : bounds[-1]], dtype=np.float32))
        owner = torch.from_numpy(np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)))
        if whitening is None:
            unit = torch.nn.functional.normalize(block, dim=1)
        else:
            unit = whitening.prepared(block)
            # An empty region (a dead map) has no direction, which whitening would invent.
            alive = unit.abs().amax(dim=1, keepdim=True) > 0 if len(unit) else unit[:, :1] > 0
            unit = whitening.applied(unit, max(sides.values())) * alive
        for d, side in sides.items():
            regions = torch.nn.functional.normalize(unit[:, :side], dim=1)
            sums = torch.zeros(len(bounds) - 1, side).index_add_(0, owner, regions)
            rows = slice(first, first + len(bounds) - 1)
            found[d][rows] = torch.nn.functional.normalize(sums, dim=1).numpy()
    return found


def concatenated(descriptors: list[np.ndarray]) -> np.ndarray:
    """Descriptors of several encoders side by side, at unit length, (N, sum of D).

    Raises:
        ValueError: unequal numbers of images.
    """
    counts = {len(member) for member in descriptors}
    if len(counts) != 1:
        raise ValueError(f"expected descriptors of equally many images, found {sorted(counts)}")
    joined = np.concatenate([np.asarray(member) for member in descriptors], axis=1)
    return unit_rows(joined).astype(np.float32)


class DescriptorError(InputError):
    """Descriptors that do not fit the ground truth, or are not descriptors.

    Cause: an array has another number of rows or dimensions, or values that are not finite.
    Remedy: save one row an image, in the order of the ground truth, all by one encoder.
    """


def checked_descriptors(
    given: Mapping[str, tuple[np.ndarray, int, str | None]],
) -> tuple[np.ndarray, ...]:
    """Descriptors that somebody else made, at unit length, (N, D), in the type they came in.

    Rows that have unit length already, up to rounding, stay as they are to the last bit.

    Args:
        given: by role ("database", "queries"): the array, how many rows it should have, and the
            file that it came from, for messages.

    Raises:
        DescriptorError: an array that is not (rows, D) of numbers, the wrong number of rows,
            unequal D, values that are not finite, or rows of zeros.
    """
    for role, (array, count, file) in given.items():
        _check_one(f"descriptors.{role} = {file!r}", array, count)
    widths = {role: array.shape[1] for role, (array, _, _) in given.items()}
    role = [*given][-1]
    if len(set(widths.values())) > 1:
        raise DescriptorError(
            f"descriptors.{role} = {given[role][2]!r}",
            f"{widths[role]} dimensions",
            f"as many as the others have ({widths})",
            "describe queries and database by the same encoder and whitening",
        )
    return tuple(_unit(array) for array, _, _ in given.values())


def _unit(array: np.ndarray) -> np.ndarray:
    rows = np.asarray(array) if array.dtype.kind == "f" else np.asarray(array, dtype=np.float32)
    lengths = np.linalg.norm(rows.astype(np.float64, copy=False), axis=1)
    return rows if np.abs(lengths - 1).max() < _ROUNDING else unit_rows(rows)


def _check_one(where: str, array: np.ndarray, count: int) -> None:
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] < 1:
        raise DescriptorError(
            where,
            f"an array of shape {array.shape} and type {array.dtype}",
            f"numbers of shape ({count}, D)",
            "save one row an image with numpy.save",
        )
    if len(array) != count:
        raise DescriptorError(
            where,
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
                raise DescriptorError(
                    where,
                    f"{what} in row {at + int(fault.argmax())}",
                    "finite numbers, not all zero, in every row",
                    "extract that image again, or find out why the encoder gives such values",
                )
