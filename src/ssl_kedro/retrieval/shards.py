"""One database in several pieces on disk, each searched alone and the results merged.

A shard is an ``.npy`` file of consecutive rows; its name says where they begin, so that
processes on several machines write theirs without knowing of each other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.cluster import HERE, Workers
from ssl_kedro.core.errors import UserError
from ssl_kedro.core.files import DamagedFileError, reading, replaced_file
from ssl_kedro.core.rows import ForOthers, rows_between
from ssl_kedro.retrieval.index import fill, search_index, trained_index
from ssl_kedro.retrieval.search import check_shapes, nearest_exact, ordered

_NAME = re.compile(r"shard_(\d{12})\.npy")


class ShardError(UserError, ValueError):
    """Shards that do not add up to one database.

    Cause: a shard is missing, overlaps another, or was made by another encoder.
    Remedy: write the shard that the message names again, or remove the one too many.
    """


def write_shard(folder: Path, first: int, rows: np.ndarray) -> Path:
    """Write consecutive rows, replacing an older file only when complete.

    Args:
        folder: of all shards of a database.
        first: index of the first row in the database.
        rows: (M, D), finite.

    Raises:
        ShardError: no rows, not rows of numbers, or a first index that cannot be.
    """
    if rows.ndim != 2 or not rows.size or first < 0:
        raise ShardError(
            f"expected one row or more (M, D) from an index of 0 or more on, found {rows.shape} "
            f"from {first} on"
        )
    if not np.isfinite(rows).all():
        raise ShardError(
            f"rows from {first} on: found a value that is not a number, expected finite "
            "descriptors; see which images gave it"
        )
    path = folder / f"shard_{first:012d}.npy"
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.asarray(rows, dtype=np.float32), allow_pickle=False)
    return path


@dataclass(frozen=True)
class ShardedDescriptors:
    """Shards of one database, in order; read as one array by slices and by indices of rows.

    Args:
        firsts: index of each shard's first row.
        shards: (M_s, D) each, memory-mapped.
    """

    firsts: tuple[int, ...]
    shards: tuple[np.ndarray, ...]

    @classmethod
    def opened(cls, folder: Path, count: int | None = None) -> "ShardedDescriptors":
        """All shards of a folder.

        Args:
            folder: where they lie.
            count: rows they should hold together; None = as many as there are.

        Raises:
            ShardError: no shards, gaps or overlaps, unequal D, or fewer rows than expected.
        """
        found = sorted(
            (int(m[1]), p) for p in folder.glob("*.npy") if (m := _NAME.fullmatch(p.name))
        )
        if not found:
            raise ShardError(f"{folder}: expected files shard_<first row>.npy, found none")
        shards = tuple(_mapped(path) for _, path in found)
        expected = 0
        for (first, path), shard in zip(found, shards, strict=True):
            if shard.ndim != 2 or shard.shape[1] != shards[0].shape[1]:
                raise ShardError(
                    f"{path}: found shape {shard.shape}, expected (M, {shards[0].shape[1]}) as in "
                    f"{found[0][1].name}; extract all shards with the same encoder"
                )
            if first != expected:
                what = "overlap with the shard before" if first < expected else "a gap"
                raise ShardError(
                    f"{path}: found rows from {first} on, {what}; expected rows from {expected} "
                    "on. Write the shard in between again, or remove the one too many"
                )
            expected = first + len(shard)
        if count is not None and expected != count:
            raise ShardError(
                f"{folder}: found {expected} rows in {len(shards)} shards, expected {count}; is "
                "every shard written?"
            )
        return cls(tuple(first for first, _ in found), shards)

    def __len__(self) -> int:
        return self.firsts[-1] + len(self.shards[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole, (N, D)."""
        return len(self), self.shards[0].shape[1]

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        """Rows of the whole: a slice of step 1, or indices (M,) in any order."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise IndexError(f"expected a slice of step 1, found {key}")
            key = np.arange(start, stop)
        key = np.asarray(key)
        if key.size and not (key.min() >= 0 and key.max() < len(self)):
            raise IndexError(f"expected rows 0 to {len(self) - 1}, found {key.min()}, {key.max()}")
        rows = np.empty((len(key), self.shape[1]), dtype=np.float32)
        of_shard = np.searchsorted(self.firsts, key, side="right") - 1
        for at in np.unique(of_shard):
            mine = of_shard == at
            rows[mine] = self.shards[at][key[mine] - self.firsts[at]]
        return rows

    @classmethod
    def cut(cls, rows: np.ndarray, pieces: int, step: int = 1) -> "ShardedDescriptors":
        """Consecutive pieces of one array or memory map, of nearly equal size.

        Args:
            rows: (N, D).
            pieces: at most so many; none is empty.
            step: all but the last hold a multiple of so many rows.
        """
        steps = -(-len(rows) // step)
        cuts = np.linspace(0, steps, min(pieces, steps) + 1).astype(int)
        bounds = np.minimum(cuts * step, len(rows))
        shards = tuple(
            rows_between(rows, int(first), int(stop)) for first, stop in pairwise(bounds)
        )
        return cls(tuple(int(first) for first in bounds[:-1]), shards)

    def indexes(self, factory: str, **training: int) -> list[Any]:
        """A faiss index of each shard, all with the cells and codes that one training gave.

        It is the training that an index of the whole would have, on the same rows, so that a
        vector has one code wherever it lies and similarities from two shards compare.

        Args:
            factory: faiss factory string.
            training: "train_points" and "seed"; see :func:`~.index.trained_index`.
        """
        import faiss  # noqa: PLC0415  heavy, and not needed for exact search

        trained = trained_index(self, factory, **training)
        made = [faiss.clone_index(trained) for _ in self.shards]
        for index, shard in zip(made, self.shards, strict=True):
            fill(index, shard)
        return made


def search_shards(
    descriptors: ShardedDescriptors,
    queries: np.ndarray,
    count: int,
    *,
    indexes: Sequence[Any] | None = None,
    probes: int = 16,
    workers: Workers = HERE,
) -> tuple[np.ndarray, np.ndarray]:
    """The first results over all shards: similarities (Q, k) and database indices (Q, k).

    Args:
        descriptors: the shards.
        queries: (Q, D).
        count: k, 1 to N.
        indexes: of each shard; None = exact search.
        probes: cells that a query visits in each index.
        workers: that search the shards exactly; indexes are searched in this process.

    Returns:
        As from one search of the whole: equal similarities in the order of the database. Exact
        search gives the same bits; so do indexes of one training, but where codes are equal at
        the last place an index alone may choose another of them. -1 where an index finds fewer.

    Raises:
        ValueError: shapes do not fit, k out of range, or as many indexes as shards are not given.
    """
    check_shapes(descriptors, queries)
    if not 1 <= count <= len(descriptors):
        raise ValueError(f"expected 1 to {len(descriptors)} results, found {count}")
    if indexes is not None and len(indexes) != len(descriptors.shards):
        raise ValueError(
            f"expected an index of each of {len(descriptors.shards)} shards, found {len(indexes)}"
        )
    wanted = [min(count, len(shard)) for shard in descriptors.shards]
    if indexes is None:
        asked = zip(descriptors.shards, repeat(queries), wanted, strict=False)
        answers = dict(workers.results(_nearest_in, ((ForOthers.of(s), q, k) for s, q, k in asked)))
    else:
        answers = {
            at: search_index(index, queries, k, probes=probes)
            for at, (index, k) in enumerate(zip(indexes, wanted, strict=True))
        }
    scores, found = [], []
    for at, first in enumerate(descriptors.firsts):
        of_shard, places = answers[at]
        scores.append(of_shard.astype(np.float64))
        found.append(np.where(places >= 0, places + first, -1))
    merged, places = np.concatenate(scores, axis=1), np.concatenate(found, axis=1)
    merged[places < 0] = -np.inf
    kept, indices = ordered(merged, places, count)
    return kept.astype(np.float32), indices


def _nearest_in(piece: tuple[ForOthers, np.ndarray, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, queries, count = piece
    return nearest_exact(rows.opened(), queries, count)


def _mapped(path: Path) -> np.ndarray:
    try:
        with reading(path, "rows as write_shard writes them", "Write this shard again"):
            return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except DamagedFileError as error:
        raise ShardError(str(error)) from error.__cause__
