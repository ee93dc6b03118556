"""Exact search by inner product, in memory that does not grow with the database.

Convention: descriptors are float32, unit rows, database (N, D), which may be a memory map, and
queries (Q, D). Equal similarities stand in the order of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

# Rows of the database in memory at a time, and of similarities in one product.
_BLOCK_BYTES = 256e6
_QUERIES = 1024


def similarities(database: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Inner products, (N, Q) float64.

    In double precision: among thousands of images some lie so near to each other that rounding
    to single precision changes their order, and with it the published benchmarks' scores.

    Raises:
        ValueError: shapes do not fit, or a value is not a number.
    """
    _check(database, queries)
    found = np.empty((len(database), len(queries)), dtype=np.float64)
    asked = torch.from_numpy(np.array(queries, dtype=np.float64)).T
    for first, block in _blocks(database, np.float64):
        torch.mm(block, asked, out=torch.from_numpy(found[first : first + len(block)]))
    _check_numbers(found)
    return found


def full_rankings(found: np.ndarray) -> np.ndarray:
    """Database indices by falling similarity, (N, Q) int32.

    Args:
        found: similarities (N, Q).
    """
    order = torch.sort(torch.from_numpy(found), dim=0, descending=True, stable=True).indices
    return np.asarray(order.to(torch.int32).numpy())


def nearest(database: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first results of each query: similarities (Q, k) float32 and indices (Q, k) int64.

    In single precision, which is enough to choose neighbours by.

    Args:
        database: (N, D).
        queries: (Q, D); may be the database itself.
        count: k, 1 to N.

    Raises:
        ValueError: shapes do not fit, k out of range, or a value is not a number.
    """
    _check(database, queries)
    if not 1 <= count <= len(database):
        raise ValueError(f"expected 1 to {len(database)} results, found {count}")
    scores = np.empty((len(queries), count), dtype=np.float32)
    indices = np.empty((len(queries), count), dtype=np.int64)
    for first in range(0, len(queries), _QUERIES):
        rows = slice(first, first + _QUERIES)
        asked = torch.from_numpy(np.array(queries[rows], dtype=np.float32))
        found = _nearest_of(database, asked, count)
        scores[rows], indices[rows] = (part.numpy() for part in found)
    _check_numbers(scores)
    return scores, indices


def _nearest_of(
    database: np.ndarray, asked: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best so far over the blocks of the database."""
    scores = torch.empty(len(asked), 0)
    indices = torch.empty(len(asked), 0, dtype=torch.int64)
    for first, block in _blocks(database):
        of_block, places = _top(asked @ block.T, min(count, len(block)))
        # What came first stands first among equals, and `_first` keeps their order.
        scores = torch.cat([scores, of_block], dim=1)
        indices = torch.cat([indices, places + first], dim=1)
        scores, indices = _first(scores, indices, count)
    return scores, indices


def _top(found: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest of each row, ties by place: topk alone leaves open which of equals it takes."""
    scores, places = found.topk(count, dim=1)
    last = scores[:, -1:]
    # Rows where the last place is shared with values that were not taken.
    shared = (found == last).sum(dim=1) > (scores == last).sum(dim=1)
    for row in torch.nonzero(shared)[:, 0].tolist():
        order = torch.sort(found[row], descending=True, stable=True)
        scores[row], places[row] = order.values[:count], order.indices[:count]
    by_place = places.argsort(dim=1)
    return _first(scores.gather(1, by_place), places.gather(1, by_place), count)


def _first(
    scores: torch.Tensor, indices: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest scores of each row in falling order, earlier columns first among equals."""
    kept = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :count]
    return scores.gather(1, kept), indices.gather(1, kept)


def _blocks(
    database: np.ndarray, kind: type[np.floating[Any]] = np.float32
) -> Iterator[tuple[int, torch.Tensor]]:
    rows = max(1, int(_BLOCK_BYTES / (8 * max(database.shape[1], _QUERIES))))
    for first in range(0, len(database), rows):
        yield first, torch.from_numpy(np.array(database[first : first + rows], dtype=kind))


def _check(database: np.ndarray, queries: np.ndarray) -> None:
    if database.ndim != 2 or queries.ndim != 2 or database.shape[1] != queries.shape[1]:
        raise ValueError(
            f"expected a database (N, D) and queries (Q, D) of one D, found {database.shape} and "
            f"{queries.shape}"
        )


def _check_numbers(found: np.ndarray) -> None:
    if np.isnan(found).any():
        raise ValueError("a similarity is not a number: expected finite descriptors")
