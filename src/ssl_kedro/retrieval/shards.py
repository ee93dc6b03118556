"""One database in several pieces on disk, each searched alone and the results merged.

A shard is an ``.npy`` file of consecutive rows; its name says where they begin, so that
processes on several machines write theirs without knowing of each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_kedro.core.files import replaced_file
from ssl_kedro.retrieval.index import fill, search_index, trained_index
from ssl_kedro.retrieval.search import nearest

_NAME = re.compile(r"shard_(\d{12})\.npy")


class ShardError(ValueError):
    """Shards that do not add up to one database."""


def write_shard(folder: Path, first: int, rows: np.ndarray) -> Path:
    """Write consecutive rows, replacing an older file only when complete.

    Args:
        folder: of all shards of a database.
        first: index of the first row in the database.
        rows: (M, D).
    """
    path = folder / f"shard_{first:012d}.npy"
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.asarray(rows, dtype=np.float32), allow_pickle=False)
    return path


@dataclass(frozen=True)
class ShardedDescriptors:
    """Shards of one database, in order.

    Args:
        firsts: index of each shard's first row.
        shards: (M_s, D) each, memory-mapped.
    """

    firsts: tuple[int, ...]
    shards: tuple[np.ndarray, ...]

    @classmethod
    def opened(cls, folder: Path, count: int | None = None) -> ShardedDescriptors:
        """All shards of a folder.

        Args:
            folder: where they lie.
            count: rows they should hold together; None = as many as there are.

        Raises:
            ShardError: no shards, gaps or overlaps, unequal D, or fewer rows than expected.
        """
        found = sorted((int(m[1]), p) for p in folder.glob("*.npy") if (m := _NAME.match(p.name)))
        if not found:
            raise ShardError(f"{folder}: expected files shard_<first row>.npy, found none")
        shards = tuple(np.load(path, mmap_mode="r", allow_pickle=False) for _, path in found)
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

    def indexes(self, factory: str, *, train_points: int = 200_000, seed: int = 0) -> list[Any]:
        """A faiss index of each shard, all with the cells and codes that one training gave.

        What is trained on is a random part of the first shard: rows should not be sorted by
        content.
        """
        import faiss  # noqa: PLC0415  heavy, and not needed for exact search

        trained = trained_index(self.shards[0], factory, train_points=train_points, seed=seed)
        made = []
        for shard in self.shards:
            index = faiss.clone_index(trained)
            fill(index, shard)
            made.append(index)
        return made


def search_shards(
    descriptors: ShardedDescriptors,
    queries: np.ndarray,
    count: int,
    *,
    indexes: Sequence[Any] | None = None,
    probes: int = 16,
) -> tuple[np.ndarray, np.ndarray]:
    """The first results over all shards: similarities (Q, k) and database indices (Q, k).

    Args:
        descriptors: the shards.
        queries: (Q, D).
        count: k.
        indexes: of each shard; None = exact search.
        probes: cells that a query visits in each index.

    Returns:
        As from one search of the whole: equal similarities in the order of the database.
    """
    scores, found = [], []
    for at, (first, shard) in enumerate(zip(descriptors.firsts, descriptors.shards, strict=True)):
        wanted = min(count, len(shard))
        if indexes is None:
            of_shard, places = nearest(shard, queries, wanted)
        else:
            of_shard, places = search_index(indexes[at], queries, wanted, probes=probes)
        scores.append(of_shard)
        found.append(np.where(places >= 0, places + first, -1))
    merged, places = np.concatenate(scores, axis=1), np.concatenate(found, axis=1)
    merged = np.where(places >= 0, merged, -np.inf)
    order = torch.sort(torch.from_numpy(merged), dim=1, descending=True, stable=True).indices
    kept = order[:, :count].numpy()
    return np.take_along_axis(merged, kept, axis=1), np.take_along_axis(places, kept, axis=1)
