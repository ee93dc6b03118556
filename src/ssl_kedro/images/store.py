"""One array for all images: in memory, or a memory map that later runs reuse.

A memory map is a folder ``<cache_dir>/<key>/`` with ``images.npy`` (uint8 (N, 3, S, S)) and
``store.json`` (labels, class names, skipped files). The key is a hash of everything the
pixels depend on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.stores import MappedStore
from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.errors import ImageSourceError
from ssl_kedro.images.image_set import ImageSet, SkippedFile

# Raised whenever the same plan gives other pixels or other files than before.
_FORMAT = 1
_MEBIBYTE = 2**20
_SHOW_PROGRESS_ABOVE = 2000
_ABANDONED_AFTER_S = 3600.0


@dataclass(frozen=True)
class Block:
    """Some consecutive images of a source.

    Args:
        images: uint8 (K, 3, S, S), those that could be read.
        readable: bool (M,), M >= K, for each image of the block whether it is in ``images``.
        skipped: the others.
    """

    images: np.ndarray
    readable: np.ndarray
    skipped: tuple[SkippedFile, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What to store.

    Args:
        source: name of the source.
        identity: JSON values that everything about the pixels depends on.
        count: number of images if all can be read.
        labels: int64 (count,), or None.
        class_names: in the order of the labels.
        blocks: makes the images, in order.
        check: called with the skipped files once all are known; raises if too many;
            None for a source without files.
        always_mapped: a memory map whatever the size.
    """

    source: str
    identity: tuple[Any, ...]
    count: int
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]
    check: Callable[[tuple[SkippedFile, ...]], None] | None = None
    always_mapped: bool = False


def array_blocks(
    count: int, images: Callable[[slice], np.ndarray], size: int
) -> Callable[[], Iterator[Block]]:
    """Blocks of a source that makes any range of its images and has no unreadable ones."""

    def blocks() -> Iterator[Block]:
        step = max(1, 8 * _MEBIBYTE // (3 * size * size))
        for start in range(0, count, step):
            made = images(slice(start, min(start + step, count)))
            yield Block(made, np.ones(len(made), dtype=bool))

    return blocks


def stored(plan: Plan, config: DataConfig) -> ImageSet:
    """The images of a plan, made now or found in ``cache_dir``.

    Raises:
        ImageSourceError: the cache folder cannot be written or has too little room.
    """
    if not plan.always_mapped and _bytes(plan, config) <= config.memory_limit_mb * _MEBIBYTE:
        return _in_memory(plan, config)
    folder = Path(config.cache_dir) / _key(plan, config)
    store = MappedStore(folder, description="store.json")
    found = _opened(store, plan)
    if found is not None:
        return found
    _check_room(plan, config)
    try:
        _remove_abandoned(folder.parent)
        _write(plan, config, store)
    except OSError as error:
        raise ImageSourceError(
            "cache_dir",
            config.cache_dir,
            found=f"that the memory map of {plan.source} cannot be written there ({error})",
            expected=f"a writable folder with {_bytes(plan, config) / 1e9:.1f} GB of free space",
            remedy="free space, or set data.cache_dir to another folder",
        ) from error
    written = _opened(store, plan)
    if written is None:
        raise ImageSourceError(
            "cache_dir",
            config.cache_dir,
            found=f"that {folder.name} was changed while it was written",
            expected="a folder no other program changes",
            remedy="run again",
        )
    return written


def _bytes(plan: Plan, config: DataConfig) -> int:
    return plan.count * 3 * config.size**2


def _key(plan: Plan, config: DataConfig) -> str:
    text = json.dumps([_FORMAT, plan.source, config.size, plan.count, plan.identity])
    return f"{plan.source}-{config.size}px-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def _progressing(plan: Plan) -> Iterator[Block]:
    """Blocks of a plan behind a progress bar, if there are many images."""
    hidden = plan.count <= _SHOW_PROGRESS_ABOVE
    with closing(
        progress_bar(plan.count, f"{plan.source} images", "images", disable=hidden)
    ) as bar:
        for block in plan.blocks():
            yield block
            bar.update(len(block.readable))


def _in_memory(plan: Plan, config: DataConfig) -> ImageSet:
    images = np.empty((plan.count, 3, config.size, config.size), dtype=np.uint8)
    filled = 0
    readable: list[np.ndarray] = []
    skipped: list[SkippedFile] = []
    for block in _progressing(plan):
        images[filled : filled + len(block.images)] = block.images
        filled += len(block.images)
        readable.append(block.readable)
        skipped.extend(block.skipped)
    _check_skipped(plan, skipped)
    labels = _kept(plan.labels, readable)
    return ImageSet(images[:filled], labels, plan.class_names, plan.source, tuple(skipped))


def _check_skipped(plan: Plan, skipped: Iterable[SkippedFile]) -> None:
    if plan.check is not None:
        plan.check(tuple(skipped))


def _kept(labels: np.ndarray | None, readable: Iterable[np.ndarray]) -> np.ndarray | None:
    return None if labels is None else labels[np.concatenate(list(readable))]


def _write(plan: Plan, config: DataConfig, store: MappedStore) -> None:
    readable: list[np.ndarray] = []
    skipped: list[SkippedFile] = []
    with store.written((3, config.size, config.size), "|u1") as (images, description):
        for block in _progressing(plan):
            images.add(block.images)
            readable.append(block.readable)
            skipped.extend(block.skipped)
        _check_skipped(plan, skipped)
        labels = _kept(plan.labels, readable)
        description |= {
            "format": _FORMAT,
            "source": plan.source,
            "labels": None if labels is None else labels.tolist(),
            "class_names": list(plan.class_names),
            "skipped": [asdict(file) for file in skipped],
        }


def _opened(store: MappedStore, plan: Plan) -> ImageSet | None:
    """The memory map in a folder; None where there is none or it was damaged."""
    description = store.described()
    if description is None:
        return None
    images, labels = store.array(), description["labels"]
    skipped = tuple(SkippedFile(**file) for file in description["skipped"])
    if len(images) + len(skipped) != plan.count:
        return None
    _check_skipped(plan, skipped)
    return ImageSet(
        images,
        None if labels is None else np.array(labels, dtype=np.int64),
        tuple(description["class_names"]),
        plan.source,
        skipped,
    )


def _check_room(plan: Plan, config: DataConfig) -> None:
    """Fail before hours of decoding where the disk cannot hold the result."""
    place = Path(config.cache_dir).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free, needed = shutil.disk_usage(place).free, _bytes(plan, config)
    if needed > free:
        raise ImageSourceError(
            "cache_dir",
            config.cache_dir,
            found=f"{free / 1e9:.1f} GB of free space",
            expected=f"{needed / 1e9:.1f} GB for the memory map of {plan.count} images",
            remedy="free space, set data.cache_dir to another folder, or set data.limit",
        )


def _remove_abandoned(cache: Path) -> None:
    """Remove what killed processes left: temporary folders nobody wrote to for an hour."""
    for folder in cache.glob(".*.tmp"):
        newest = max((path.stat().st_mtime for path in [folder, *folder.iterdir()]), default=0.0)
        if time.time() - newest > _ABANDONED_AFTER_S:
            shutil.rmtree(folder, ignore_errors=True)
