"""Approximate search by faiss: trained and filled from descriptors on disk, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.seeding import derived_seed, numpy_generator

# Exact search of a million vectors of 512 numbers takes 2 GB and a tenth of a second a query.
_EXACT_UP_TO = 1_000_000
# faiss warns below so many training points a cell, and results suffer.
_POINTS_A_CELL = 39
_EXAMPLES = '"Flat", "IVF4096,PQ64", "OPQ64,IVF4096,PQ64" or "HNSW32"'


def recommended_factory(count: int, dimensions: int) -> str:
    """Factory string for a database: exact up to a million vectors, then inverted lists.

    Cells are the power of two nearest to 4 sqrt(N), as faiss' guidelines have it; codes take
    as many bytes as an eighth of the dimensions, 8 to 64.

    Args:
        count: N.
        dimensions: D.
    """
    if count <= _EXACT_UP_TO:
        return "Flat"
    cells = 2 ** round(np.log2(4 * np.sqrt(count)))
    size = max((b for b in (8, 16, 32, 64) if dimensions % b == 0 and b <= dimensions), default=1)
    return f"OPQ{size},IVF{cells},PQ{size}"


def empty_index(factory: str, dimensions: int) -> Any:
    """A faiss index of a factory string, for inner products, neither trained nor filled.

    Raises:
        ConfigError: faiss does not know the string, or it does not fit the dimensions.
    """
    import faiss  # noqa: PLC0415  heavy, and not needed for exact search

    try:
        return faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            "index",
            factory,
            f'"exact" or a faiss factory string that fits {dimensions} dimensions, such as '
            f"{_EXAMPLES}; faiss says: {str(error).strip().splitlines()[-1]}",
        ) from None


def trained_index(
    descriptors: np.ndarray, factory: str, *, train_points: int = 200_000, seed: int = 0
) -> Any:
    """An index trained on a random part of the rows, still empty.

    Args:
        descriptors: (N, D) float32, may be a memory map.
        factory: faiss factory string.
        train_points: rows to train on, at most.
        seed: of their choice and of faiss' own clustering.

    Raises:
        ConfigError: an unknown factory string, or fewer rows than it needs.
    """
    import faiss  # noqa: PLC0415

    made = empty_index(factory, descriptors.shape[1])
    needed = _needed_points(factory)
    count = min(train_points, len(descriptors))
    if count < needed and not made.is_trained:
        raise ConfigError(
            "index",
            factory,
            f"an index that {count} training vectors are enough for: this one needs {needed}; "
            f"take fewer cells, or raise search.train_points ({train_points})",
        )
    if not made.is_trained:
        _seed(faiss, made, seed)
        generator = numpy_generator(seed, "index training")
        chosen = np.sort(generator.choice(len(descriptors), count, replace=False))
        made.train(np.ascontiguousarray(descriptors[chosen], dtype=np.float32))
    return made


def build_index(
    descriptors: np.ndarray,
    factory: str,
    *,
    train_points: int = 200_000,
    seed: int = 0,
    block: int = 65_536,
) -> Any:
    """A trained index that holds all rows; see :func:`trained_index`."""
    made = trained_index(descriptors, factory, train_points=train_points, seed=seed)
    fill(made, descriptors, block)
    return made


def fill(index: Any, descriptors: np.ndarray, block: int = 65_536) -> None:
    """Add all rows, reading so many of them at a time."""
    with progress_bar(len(descriptors), "index", "vectors") as bar:
        for first in range(0, len(descriptors), block):
            rows = np.ascontiguousarray(descriptors[first : first + block], dtype=np.float32)
            index.add(rows)
            bar.update(len(rows))


def search_index(
    index: Any, queries: np.ndarray, count: int, *, probes: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """The first results of each query: similarities (Q, k) and indices (Q, k), -1 where none.

    Args:
        index: a filled faiss index.
        queries: (Q, D) float32.
        count: k.
        probes: cells of an inverted file that are looked at; for HNSW the breadth of search.

    Raises:
        ValueError: queries of another dimension.
    """
    if queries.ndim != 2 or queries.shape[1] != index.d:
        raise ValueError(f"expected queries (Q, {index.d}), found {queries.shape}")
    with _probing(index, probes):
        scores, found = index.search(np.ascontiguousarray(queries, dtype=np.float32), count)
    return scores, found


def refined(
    descriptors: np.ndarray, queries: np.ndarray, candidates: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of each query's candidates by exact similarity, read from the descriptors.

    Args:
        descriptors: (N, D), may be a memory map: only the candidates' rows are read.
        queries: (Q, D).
        candidates: indices from a coarse search, (Q, R), -1 where none.
        count: k, at most R.

    Returns:
        Similarities (Q, k) and indices (Q, k).
    """
    scores = np.full((len(queries), count), -np.inf, dtype=np.float32)
    found = np.full((len(queries), count), -1, dtype=np.int64)
    for at, (query, mine) in enumerate(zip(queries, candidates, strict=True)):
        rows = np.sort(mine[mine >= 0])
        exact = np.asarray(descriptors[rows], dtype=np.float32) @ query
        order = np.argsort(-exact, kind="stable")[:count]
        scores[at, : len(order)], found[at, : len(order)] = exact[order], rows[order]
    return scores, found


def recall_at(found: np.ndarray, exact: np.ndarray, count: int) -> float:
    """Share of the exact first ``count`` results that are among those found.

    Args:
        found: indices (Q, K), all K of them count.
        exact: indices (Q, count or more).
        count: of the exact results that are asked for.
    """
    hits = [
        len(np.intersect1d(mine, true[:count])) for mine, true in zip(found, exact, strict=True)
    ]
    return float(np.mean(hits)) / count


def _needed_points(factory: str) -> int:
    cells = [int(n) for n in re.findall(r"IVF(\d+)", factory)]
    codes = 256 if "PQ" in factory else 1
    return max([codes, *(_POINTS_A_CELL * n for n in cells)])


def _seed(faiss: Any, index: Any, seed: int) -> None:
    """Set the seed of the clustering of cells; codes have a fixed one of their own."""
    try:
        faiss.extract_index_ivf(index).cp.seed = derived_seed(seed, "faiss") % 2**31
    except RuntimeError:  # no inverted file in it
        return


@contextmanager
def _probing(index: Any, probes: int) -> Iterator[None]:
    """Look at so many cells during a search; the index is left as it was."""
    import faiss  # noqa: PLC0415

    inner = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if isinstance(inner, faiss.IndexIVF):
        before, inner.nprobe = inner.nprobe, min(probes, inner.nlist)
        try:
            yield
        finally:
            inner.nprobe = before
    elif isinstance(inner, faiss.IndexHNSW):
        before, inner.hnsw.efSearch = inner.hnsw.efSearch, probes
        try:
            yield
        finally:
            inner.hnsw.efSearch = before
    else:
        yield
