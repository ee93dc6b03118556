"""Exact search by inner product, in memory that does not grow with the database.

Convention: descriptors are float32, unit rows, database (N, D), which may be a memory map, and
queries (Q, D). Equal similarities stand in the order of the database.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.devices import limited_threads

# Rows of the database in memory at a time, and of similarities in one product.
_BLOCK_BYTES = 64e6
_QUERIES = 1024
# Candidates beyond those asked for, at first; a query that needs more gets this many times more.
_SPARE, _MORE = 12, 8
# Pairs multiplied at a time: what a processor's cache holds.
_PAIR_BYTES = 1e6


class Rows(Protocol):
    """Descriptors (N, D) wherever they lie: an array, a memory map, or shards of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any) -> np.ndarray: ...


def similarities(database: Rows, queries: np.ndarray) -> np.ndarray:
    """Inner products, (N, Q) float64.

    In double precision: among thousands of images some lie so near to each other that rounding
    to single precision changes their order, and with it the published benchmarks' scores.

    Raises:
        ValueError: shapes do not fit, or a value is not a finite number.
    """
    check_shapes(database, queries)
    found = np.empty((len(database), len(queries)), dtype=np.float64)
    asked = torch.from_numpy(np.array(queries, dtype=np.float64)).T
    rows = _rows_at_once(database)

    def multiply(first: int) -> None:
        torch.set_num_threads(1)  # of this thread: more may decide the last bits
        block = torch.from_numpy(np.array(database[first : first + rows], dtype=np.float64))
        torch.mm(block, asked, out=torch.from_numpy(found[first : first + len(block)]))

    at_once, firsts = torch.get_num_threads(), range(0, len(database), rows)
    with limited_threads(1):  # afterwards new threads have again what they had before
        for _ in computed_ahead(multiply, firsts, at_once, 1):
            pass
    _check_numbers(found)
    return found


def full_rankings(found: np.ndarray) -> np.ndarray:
    """Database indices by falling similarity, (N, Q) int32.

    Args:
        found: similarities (N, Q).
    """
    # Rows of memory that follow each other are sorted three times as fast.
    rows = torch.from_numpy(np.ascontiguousarray(found.T))
    order = torch.sort(rows, dim=1, descending=True, stable=True).indices
    return np.asarray(order.T.to(torch.int32).numpy())


def nearest(database: Rows, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first results of each query: similarities (Q, k) float32 and indices (Q, k) int64.

    The same, bit for bit, for any blocking of the database and any number of threads; see
    :func:`nearest_exact`.

    Args:
        database: (N, D).
        queries: (Q, D); may be the database itself.
        count: k, 1 to N.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or k is out of range.
    """
    if not 1 <= count <= len(database):
        raise ValueError(f"expected 1 to {len(database)} results, found {count}")
    scores, indices = nearest_exact(database, queries, count)
    return scores.astype(np.float32), indices


def nearest_exact(database: Rows, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`nearest`, with the similarities in float64, by which results are ordered.

    A matrix product gives equal rows unequal values, in the last bits, by where in the block they
    stand. So its float32 values only choose candidates: more than asked for, until the last of
    them lies farther below the k-th than rounding can reach (D 2^-23 |x| |q| for the two). Those
    are then compared by products of one pair at a time, in float64, which depend on the pair alone.
    """
    check_shapes(database, queries)
    scores = np.empty((len(queries), count))
    indices = np.empty((len(queries), count), dtype=np.int64)
    for first in range(0, len(queries), _QUERIES):
        asked = np.array(queries[first : first + _QUERIES], dtype=np.float32)
        _check_numbers(asked)
        part = slice(first, first + len(asked))
        scores[part], indices[part] = _settled(database, asked, count)
    return scores, indices


def pair_products(database: Rows, queries: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Inner product of each query and each row named for it, (Q, R) float64.

    Each is summed alone, in one order, whatever stands beside it.

    Args:
        database: (N, D); only the rows named are read.
        queries: (Q, D).
        indices: of rows, (Q, R).
    """
    named, products = indices.ravel(), np.empty(indices.size)
    owners = np.repeat(np.arange(len(indices)), indices.shape[1])
    step = max(1, int(_PAIR_BYTES / (16 * max(1, database.shape[1]))))
    for at in range(0, len(named), step):
        part = slice(at, at + step)
        rows = np.asarray(database[named[part]], dtype=np.float64)
        asked = np.asarray(queries[owners[part]], dtype=np.float64)
        products[part] = np.einsum("ij,ij->i", rows, asked)
    return products.reshape(indices.shape)


def ordered(scores: np.ndarray, indices: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first ``count`` of each row by falling score, lower index first among equals."""
    order = np.lexsort((indices, -scores), axis=1)[:, :count]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(indices, order, axis=1)


def check_shapes(database: Rows, queries: np.ndarray) -> None:
    """Raise ValueError where database and queries are not rows of one dimension."""
    if len(database.shape) != 2 or queries.ndim != 2 or database.shape[1] != queries.shape[1]:
        raise ValueError(
            f"expected a database (N, D) and queries (Q, D) of one D, found {database.shape} and "
            f"{queries.shape}"
        )


def _settled(database: Rows, asked: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Results of some queries, with as many candidates as it takes to be certain of them."""
    spare = _SPARE
    kept, found, certain = _certain(database, asked, count, count + spare)
    while not certain.all():
        spare *= _MORE
        left = np.flatnonzero(~certain)
        # What has many equals is often one of them itself: each is asked for once.
        rows, which = np.unique(asked[left], axis=0, return_inverse=True)
        step = max(1, int(_BLOCK_BYTES / (16 * min(count + spare, len(database)))))
        parts = [
            _certain(database, rows[at : at + step], count, count + spare)
            for at in range(0, len(rows), step)
        ]
        of_left = [np.concatenate(part)[which.ravel()] for part in zip(*parts, strict=True)]
        kept[left], found[left], certain[left] = of_left
    return kept, found


def _certain(
    database: Rows, asked: np.ndarray, count: int, wanted: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Results from so many candidates, and for which queries no other row can be among them."""
    wanted = min(wanted, len(database))
    rough, candidates, length = _candidates(database, torch.from_numpy(asked), wanted)
    kept, found = ordered(pair_products(database, asked, candidates), candidates, count)
    if wanted == len(database):
        return kept, found, np.ones(len(asked), dtype=bool)
    reach = database.shape[1] * 2.0**-23 * length * np.linalg.norm(asked, axis=1)
    return kept, found, kept[:, -1] - rough[:, -1] > reach


def _candidates(
    database: Rows, asked: torch.Tensor, count: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Best so far over the blocks: float32 values (Q, count), indices, and the longest row."""
    scores = torch.empty(len(asked), 0)
    indices = torch.empty(len(asked), 0, dtype=torch.int64)
    longest = 0.0
    for first, block in _blocks(database):
        length = float(torch.linalg.vector_norm(block, dim=1).max())
        _check_numbers(np.array(length))  # not a number where one in the block is not
        longest = max(longest, length)
        of_block, places = (asked @ block.T).topk(min(count, len(block)), dim=1)
        scores = torch.cat([scores, of_block], dim=1)
        indices = torch.cat([indices, places + first], dim=1)
        scores, kept = scores.topk(min(count, scores.shape[1]), dim=1)
        indices = indices.gather(1, kept)
    return scores.numpy(), indices.numpy(), longest


def _rows_at_once(database: Rows) -> int:
    return max(1, int(_BLOCK_BYTES / (8 * max(database.shape[1], _QUERIES))))


def _blocks(database: Rows) -> Iterator[tuple[int, torch.Tensor]]:
    rows = _rows_at_once(database)
    # One piece of memory for all: fresh pages for each take longer than reading a map.
    block = np.empty((min(rows, len(database)), database.shape[1]), dtype=np.float32)
    for first in range(0, len(database), rows):
        part = database[first : first + rows]
        block[: len(part)] = part
        yield first, torch.from_numpy(block[: len(part)])


def _check_numbers(found: np.ndarray) -> None:
    if not np.isfinite(found).all():
        raise ValueError("a similarity is not a number: expected finite descriptors")
