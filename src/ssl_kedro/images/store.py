"""One array for all images: in memory, or a memory map that later runs reuse.

A memory map is a folder ``<cache_dir>/<key>/`` with ``images.npy`` (uint8 (N, 3, S, S)) and
``store.json`` (labels, class names, skipped files). The key is a hash of everything the
pixels depend on.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ssl_kedro.core.errors import first_few, shown
from ssl_kedro.core.files import MappedStore
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.images.decode import resized_square
from ssl_kedro.images.image_set import ImageSet, SkippedFile
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.subsets import limited

# Raised whenever the same plan gives other pixels or other files than before.
_FORMAT = 1
_MEBIBYTE = 2**20
_SHOW_PROGRESS_ABOVE = 2000
_ABANDONED_AFTER_S = 3600.0


# Some consecutive images of a source: uint8 (K, 3, S, S), those that could be read, and for each
# of the others its index in the block and the reason.
Block: TypeAlias = tuple[np.ndarray, Sequence[tuple[int, str]]]


@dataclass(frozen=True)
class Plan:
    """What to store.

    Args:
        identity: JSON values that everything about the pixels depends on.
        count: number of images if all can be read.
        labels: int64 (count,), or None.
        class_names: in the order of the labels.
        blocks: of the images, in order; made as they are taken.
        paths: (count,), of the files; empty for a source without files.
        always_mapped: a memory map whatever the size.
    """

    identity: tuple[Any, ...]
    count: int
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    blocks: Iterable[Block]
    paths: Sequence[str] = ()
    always_mapped: bool = False


def stored(plan: Plan, config: DataConfig) -> ImageSet:
    """The images of a plan, made now or found in ``cache_dir``.

    Raises:
        ImageSourceError: the cache folder cannot be written or has too little room.
    """
    if not plan.always_mapped and _bytes(plan, config) <= config.memory_limit_mb * _MEBIBYTE:
        return _in_memory(plan, config)
    folder = Path(config.cache_dir) / _key(plan, config)
    store = MappedStore(folder, description="store.json")
    if (found := _opened(store, plan, config)) is not None:
        return found
    _check_room(plan, config)
    try:
        _remove_abandoned(folder.parent)
        _write(plan, config, store)
    except OSError as error:
        raise config.error(
            "cache_dir",
            found=f"that the memory map of {config.source} cannot be written there "
            f"({error.__cause__ or error})",
            expected=f"a writable folder with {_bytes(plan, config) / 1e9:.1f} GB of free space",
            remedy="free space, or set data.cache_dir to another folder",
        ) from error
    written = _opened(store, plan, config)
    if written is None:
        raise config.error(
            "cache_dir",
            found=f"that {folder.name} was changed while it was written",
            expected="a folder no other program changes",
            remedy="run again",
        )
    return written


def _bytes(plan: Plan, config: DataConfig) -> int:
    return plan.count * 3 * config.size**2


def _key(plan: Plan, config: DataConfig) -> str:
    text = json.dumps([_FORMAT, config.source, config.size, plan.count, plan.identity])
    return f"{config.source}-{config.size}px-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def _in_memory(plan: Plan, config: DataConfig) -> ImageSet:
    images = np.empty((plan.count, 3, config.size, config.size), dtype=np.uint8)
    filled = 0

    def add(block: np.ndarray) -> None:
        nonlocal filled
        images[filled : filled + len(block)] = block
        filled += len(block)

    labels, skipped = _made(plan, config, add)
    return ImageSet(images[:filled], labels, plan.class_names, config.source, skipped)


def _made(
    plan: Plan, config: DataConfig, add: Callable[[np.ndarray], None]
) -> tuple[np.ndarray | None, tuple[SkippedFile, ...]]:
    """Hand all images to ``add``; their labels, and the files that could not be read."""
    reasons: dict[int, str] = {}
    bar = progress_bar(
        plan.count, f"{config.source} images", "images", disable=plan.count <= _SHOW_PROGRESS_ABOVE
    )
    with bar:
        done = 0
        for images, unreadable in plan.blocks:
            add(images)
            reasons |= {done + index: reason for index, reason in unreadable}
            bar.update(len(images) + len(unreadable))
            done += len(images) + len(unreadable)
    skipped = tuple(SkippedFile(shown(plan.paths[i]), shown(why)) for i, why in reasons.items())
    _check_skipped(plan, config, skipped)
    return None if plan.labels is None else np.delete(plan.labels, list(reasons)), skipped


def _check_skipped(plan: Plan, config: DataConfig, skipped: Sequence[SkippedFile]) -> None:
    if len(skipped) > config.max_skipped * plan.count:
        named = first_few([f"{file.path} ({file.reason})" for file in skipped], separator="; ")
        raise config.error(
            "root",
            found=f"{len(skipped)} of {plan.count} files that cannot be read: {named}",
            expected=f"at most {config.max_skipped:.2%} (data.max_skipped = {config.max_skipped})",
            remedy="repair or remove these files, or raise data.max_skipped to go on without them",
        )


def _write(plan: Plan, config: DataConfig, store: MappedStore) -> None:
    with store.written((3, config.size, config.size), "|u1") as (images, description):
        labels, skipped = _made(plan, config, images.add)
        description |= {
            "format": _FORMAT,
            "source": config.source,
            "labels": None if labels is None else labels.tolist(),
            "class_names": list(plan.class_names),
            "skipped": [asdict(file) for file in skipped],
        }


def _opened(store: MappedStore, plan: Plan, config: DataConfig) -> ImageSet | None:
    """The memory map in a folder; None where there is none or it was damaged."""
    description = store.described()
    if description is None:
        return None
    try:
        images, labels = store.array(), description["labels"]
        found = ImageSet(
            images,
            None if labels is None else np.array(labels, dtype=np.int64),
            tuple(description["class_names"]),
            config.source,
            tuple(SkippedFile(**file) for file in description["skipped"]),
        )
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    shape = (plan.count - len(found.skipped), 3, config.size, config.size)
    if images.shape != shape:
        return None
    _check_skipped(plan, config, found.skipped)
    return found


def _check_room(plan: Plan, config: DataConfig) -> None:
    """Fail before hours of decoding where the disk cannot hold the result."""
    cache = Path(config.cache_dir).absolute()
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free, needed = shutil.disk_usage(place).free, _bytes(plan, config)
    if needed > free:
        raise config.error(
            "cache_dir",
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


def resized_images(images: np.ndarray, size: int) -> np.ndarray:
    """Images cropped to the central square and resized, antialiased bilinear.

    Args:
        images: uint8 (N, 3, H, W).
        size: side of the result in pixels.

    Returns:
        uint8 (N, 3, size, size), C-contiguous.
    """
    if images.shape[2:] == (size, size):
        return np.ascontiguousarray(images)
    result = np.empty((len(images), 3, size, size), dtype=np.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        result[index] = np.asarray(resized_square(picture, size)).transpose(2, 0, 1)
    return result


def images_from_arrays(
    config: DataConfig,
    images: np.ndarray,
    labels: np.ndarray | None,
    class_names: tuple[str, ...],
    *,
    training: bool,
    seed: int,
    identity: tuple[object, ...],
) -> ImageSet:
    """Limit, resize and store images.

    Args:
        config: of the source.
        images: uint8 (N, 3, H, W), a view or memory map where they are many: parts are copied.
        labels: int64 (N,), or None.
        class_names: in the order of the labels.
        training: which limit applies.
        seed: of the limit.
        identity: JSON values that the images depend on.
    """
    chosen = limited(labels, len(images), config, training, seed)
    step = max(1, 8 * _MEBIBYTE // (3 * config.size**2))
    parts = (images[chosen[start : start + step]] for start in range(0, len(chosen), step))
    plan = Plan(
        identity=(*identity, training, chosen.tolist() if len(chosen) < len(images) else "all"),
        count=len(chosen),
        labels=None if labels is None else labels[chosen],
        class_names=class_names,
        blocks=((resized_images(part, config.size), ()) for part in parts),
    )
    return stored(plan, config)
