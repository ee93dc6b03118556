"""Approximate search by faiss: trained and filled from descriptors on disk, block by block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ssl_kedro.core.cluster import HERE, Workers
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.extras import require
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.rows import ForOthers
from ssl_kedro.core.seeding import derived_seed, numpy_generator
from ssl_kedro.retrieval.search import Rows, ordered, pair_products

# A scan of a million vectors of 512 numbers reads 2 GB; see docs/scaling.md for what it takes.
_EXACT_UP_TO = 1_000_000
# Rows added at a time, as large as a rotation's product takes: it gives other last bits to others.
FILL_BLOCK = 16_384
# faiss warns below so many training points a cell, and results suffer.
_POINTS_A_CELL = 39
_EXAMPLES = '"Flat", "IVF4096,PQ64", "OPQ64,IVF4096,PQ64" or "HNSW32"'


def recommended_factory(count: int, dimensions: int) -> str:
    """Factory string for a database: exact up to a million vectors, then inverted lists.

    Cells are the power of two nearest to 4 sqrt(N), as faiss' guidelines have it. Codes take one
    byte a sub-vector: as many as the largest divisor of D up to 64. Where D has none of 8 or
    more, a rotation into more dimensions, a multiple of 64 or of 8, which changes no inner
    product, stands in front (PCA would: it moves the origin). No learnt
    rotation (OPQ): it takes more than ten times the training, and refined results need it less.

    Args:
        count: N.
        dimensions: D.
    """
    if count <= _EXACT_UP_TO:
        return "Flat"
    cells = 2 ** round(np.log2(4 * np.sqrt(count)))
    size, kept = _code_bytes(dimensions), dimensions
    if size < min(8, dimensions):
        kept += -dimensions % (64 if dimensions > 64 else 8)
        size = _code_bytes(kept)
    rotation = "" if kept == dimensions else f"RR{kept},"
    return f"{rotation}IVF{cells},PQ{size}"


def empty_index(factory: str, dimensions: int) -> Any:
    """A faiss index of a factory string, for inner products, neither trained nor filled.

    Codes are not ordered for polysemous search, as faiss would do unasked: it takes a second and
    a half a byte of code, and no search here makes use of it.

    Raises:
        ConfigError: faiss does not know the string, or it does not fit the dimensions.
    """
    require(f"index = {factory!r}", "faiss")
    import faiss  # noqa: PLC0415  heavy, and not needed for exact search

    try:
        made = faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            "index",
            factory,
            f'"exact" or a faiss factory string that fits {dimensions} dimensions, such as '
            f"{_EXAMPLES}; faiss says: {str(error).strip().splitlines()[-1]}",
        ) from None
    inner = _inner(faiss, made)
    if hasattr(inner, "do_polysemous_training"):
        inner.do_polysemous_training = False
    return made


def trained_index(
    descriptors: Rows, factory: str, *, train_points: int = 200_000, seed: int = 0
) -> Any:
    """An index trained on a random part of the rows, still empty.

    Args:
        descriptors: (N, D) float32, may be a memory map or shards; only the rows chosen are read.
        factory: faiss factory string.
        train_points: rows to train on, at most.
        seed: of their choice and of faiss' own clustering.

    Raises:
        ConfigError: an unknown factory string, or fewer rows than it needs.
    """
    import faiss  # noqa: PLC0415

    made = empty_index(factory, descriptors.shape[1])
    if made.is_trained:
        return made
    needed = _needed_points(faiss, made)
    count = min(train_points, len(descriptors))
    if count < needed:
        raise ConfigError(
            "index",
            factory,
            f"an index that {count} training vectors are enough for: this one needs {needed}; "
            f"take fewer cells, or raise search.train_points ({train_points})",
        )
    inner = _inner(faiss, made)
    if isinstance(inner, faiss.IndexIVF):
        # Of the clustering of cells; that of codes has a fixed seed of its own.
        inner.cp.seed = derived_seed(seed, "faiss") % 2**31
    generator = numpy_generator(seed, "index training")
    chosen = np.sort(generator.choice(len(descriptors), count, replace=False))
    made.train(_finite(descriptors[chosen]))
    return made


def build_index(
    descriptors: Rows,
    factory: str,
    *,
    block: int = FILL_BLOCK,
    pieces: Sequence[np.ndarray] = (),
    workers: Workers = HERE,
    **training: int,
) -> Any:
    """A trained index that holds all rows; see :func:`trained_index` and :func:`fill`.

    Args:
        descriptors: (N, D).
        factory: faiss factory string.
        block: rows read at a time.
        pieces: the same rows, cut into consecutive pieces that workers fill copies with. These are
            put together in order: the index is what filling it here would give, where pieces end
            with blocks. Kinds that faiss cannot put together (HNSW) are filled here.
        workers: for the pieces.
        training: see :func:`trained_index`.
    """
    import faiss  # noqa: PLC0415

    made = trained_index(descriptors, factory, **training)
    if len(pieces) < 2 or not _joins(made):
        fill(made, descriptors, block)
        return made
    empty, parts = faiss.serialize_index(made), {}
    made = faiss.deserialize_index(empty)  # of the very class that the copies have
    given = ((empty, ForOthers.of(piece), block) for piece in pieces)
    joined, numbered = 0, isinstance(_inner(faiss, made), faiss.IndexIVF)
    for number, part in workers.results(_filled, given):
        parts[number] = part
        while joined in parts:  # as soon as those before are there: few wait in memory
            more = faiss.deserialize_index(parts.pop(joined))
            made.merge_from(more, made.ntotal if numbered else 0)
            joined += 1
    return made


def _filled(piece: tuple[np.ndarray, ForOthers, int]) -> np.ndarray:
    import faiss  # noqa: PLC0415

    empty, rows, block = piece
    index = faiss.deserialize_index(empty)
    fill(index, rows.opened(), block)
    return np.asarray(faiss.serialize_index(index))


def _joins(index: Any) -> bool:
    """Whether faiss can put filled copies together."""
    import faiss  # noqa: PLC0415

    if isinstance(faiss.downcast_index(index), faiss.IndexRefine):
        return False  # was not tried
    try:
        copy = faiss.deserialize_index(faiss.serialize_index(index))
        copy.check_compatible_for_merge(faiss.clone_index(copy))
    except RuntimeError:
        return False
    return True


def fill(index: Any, descriptors: Rows, block: int = FILL_BLOCK) -> None:
    """Add all rows, reading so many of them at a time.

    Raises:
        ValueError: a row is not of finite numbers; faiss would leave it out without a word.
    """
    with progress_bar(len(descriptors), "index", "vectors") as bar:
        for first in range(0, len(descriptors), block):
            rows = _finite(descriptors[first : first + block], first)
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
        probes: cells of an inverted file that are looked at; for HNSW the breadth of search
            (at least k there).

    Raises:
        ValueError: queries of another dimension or not of finite numbers, or k below 1.
    """
    if count < 1:
        raise ValueError(f"expected 1 result or more, found {count}")
    if queries.ndim != 2 or queries.shape[1] != index.d:
        raise ValueError(f"expected queries (Q, {index.d}), found {queries.shape}")
    asked = _finite(queries)
    with _probing(index, probes, count):
        scores, found = index.search(asked, count)
    return scores, found


def refined(
    descriptors: Rows, queries: np.ndarray, candidates: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of each query's candidates by exact similarity, read from the descriptors.

    Args:
        descriptors: (N, D), may be a memory map or shards: only the candidates' rows are read.
        queries: (Q, D).
        candidates: indices from a coarse search, (Q, R), -1 where none.
        count: k, at most R.

    Returns:
        Similarities (Q, k) and indices (Q, k); -inf and -1 where there are fewer candidates.

    Raises:
        ValueError: k is not between 1 and R.
    """
    if not 1 <= count <= candidates.shape[1]:
        raise ValueError(
            f"expected 1 to {candidates.shape[1]} results, as there are candidates; found {count}"
        )
    exact = pair_products(descriptors, queries, np.maximum(candidates, 0))
    exact[candidates < 0] = -np.inf
    scores, found = ordered(exact, candidates, count)
    return scores.astype(np.float32), found


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


def _needed_points(faiss: Any, index: Any) -> int:
    """Training vectors below which cells or codes are not worth having; 0 where there are none."""
    inner = _inner(faiss, index)
    cells = inner.nlist if isinstance(inner, faiss.IndexIVF) else 0
    if isinstance(inner, faiss.IndexHNSW):
        inner = faiss.downcast_index(inner.storage)
    codes = inner.pq.ksub if hasattr(inner, "pq") else 0
    return max(_POINTS_A_CELL * cells, codes)


def _inner(faiss: Any, index: Any) -> Any:
    """What searches, inside rotations and refinements."""
    inner = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform | faiss.IndexRefine):
        wraps = isinstance(inner, faiss.IndexPreTransform)
        inner = faiss.downcast_index(inner.index if wraps else inner.base_index)
    return inner


def _code_bytes(dimensions: int) -> int:
    return max(size for size in range(1, 65) if dimensions % size == 0)


def _finite(rows: np.ndarray, first: int = 0) -> np.ndarray:
    """Rows as faiss takes them, all finite."""
    taken = np.ascontiguousarray(rows, dtype=np.float32)
    good = np.isfinite(taken).all(axis=1)
    if not good.all():
        raise ValueError(
            f"row {first + int(np.argmin(good))} has a value that is not a number: expected "
            "finite descriptors"
        )
    return taken


@contextmanager
def _probing(index: Any, probes: int, count: int) -> Iterator[None]:
    """Look at so many cells during a search; the index is left as it was."""
    import faiss  # noqa: PLC0415

    owner = _inner(faiss, index)
    if isinstance(owner, faiss.IndexIVF):
        name, value = "nprobe", min(probes, owner.nlist)
    elif isinstance(owner, faiss.IndexHNSW):
        owner, name, value = owner.hnsw, "efSearch", max(probes, count)
    else:
        yield
        return
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
