"""One array for all images: in memory, or a memory map that later runs reuse.

A memory map is a folder ``<cache_dir>/<key>/`` with ``images.npy`` (uint8 (N, 3, S, S), or
rows of whole pictures: :mod:`ssl_kedro.core.form`),
``labels.npy`` (int64 (N,), where there are labels) and ``store.json`` (class names, skipped files).
The key is a hash of everything the pixels depend on. Until it is whole it is called
``.<key>.part``, and whoever needs it next finishes it (:mod:`ssl_kedro.images.partial`).
"""

import errno
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from filelock import FileLock

from ssl_kedro.core.errors import UserError, first_few, first_line, shown
from ssl_kedro.core.files import free_bytes, size_of
from ssl_kedro.core.form import Form
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.stores import MappedStore
from ssl_kedro.images.image_set import ImageSet, SkippedFile
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.partial import PartialStore

# Raised whenever the same plan gives other pixels or other files than before.
_FORMAT = 2
_MEBIBYTE = 2**20
_SHOW_PROGRESS_ABOVE = 2000
_ABANDONED_AFTER_S = 7 * 86400.0
# NumPy's own error of a full disk has no number.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None)


# Some consecutive images of a source: uint8 (K, *row_shape of the form), those that could be read,
# and for each of the others its index in the block and the reason.
Block: TypeAlias = tuple[np.ndarray, Sequence[tuple[int, str]]]


@dataclass(frozen=True)
class Plan:
    """What to store.

    Args:
        identity: JSON values that everything about the pixels depends on.
        count: number of images if all can be read.
        labels: int64 (count,), or None.
        class_names: in the order of the labels.
        blocks: from a number of images to the blocks of those that follow them, in order, made as
            they are taken: where a run that was killed has stopped.
        paths: (count,), of the files; empty for a source without files.
        always_mapped: a memory map whatever the size.
        lost: files that were found unreadable before the images were counted.
        form: what is kept of each image; None = squares of ``data.size``.
    """

    identity: tuple[Any, ...]
    count: int
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    blocks: Callable[[int], Iterable[Block]]
    paths: Sequence[str] = ()
    always_mapped: bool = False
    lost: tuple[SkippedFile, ...] = ()
    form: Form | None = None


def stored(plan: Plan, config: DataConfig) -> ImageSet:
    """The images of a plan, made now or found in ``cache_dir``.

    Raises:
        ImageSourceError: the cache folder cannot be written or has too little room, or the source
            cannot be read to its end; what is stored so far stays then.
    """
    if not plan.always_mapped and _bytes(plan, config) <= config.memory_limit_mb * _MEBIBYTE:
        return _in_memory(plan, config)
    store = MappedStore(Path(config.cache_dir) / _key(plan, config), description="store.json")
    if (found := _opened(store, plan, config)) is not None:
        return found
    try:
        return _written(store, plan, config)
    except OSError as error:
        raise config.error(
            "cache_dir",
            found=f"that the memory map of {config.source} cannot be written there ({error})",
            expected=f"a writable folder with {_bytes(plan, config) / 1e9:.1f} GB of free space",
            remedy="free space, or set data.cache_dir to another folder",
        ) from error


def _written(store: MappedStore, plan: Plan, config: DataConfig) -> ImageSet:
    """The memory map, made by this process or by one that is at it already."""
    folder = store.folder
    part = folder.with_name(f".{folder.name}.part")
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    if part.exists():
        logging.getLogger(__name__).info("%s: goes on with what is stored already", folder.name)
    with lock:
        if (found := _opened(store, plan, config)) is not None:
            return found
        _remove_abandoned(folder.parent)
        _check_room(plan, config, part)
        try:
            _write(plan, config, part, folder)
        except OSError as error:
            if error.errno in _NO_ROOM:  # a full disk is not to stay full
                shutil.rmtree(part, ignore_errors=True)
            raise
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
    return plan.count * _form(plan, config).row_bytes


def _form(plan: Plan, config: DataConfig) -> Form:
    return plan.form or Form(config.size)


def _key(plan: Plan, config: DataConfig) -> str:
    form = _form(plan, config)
    # What was stored before there was a choice keeps its name.
    other = [] if form == Form(config.size) else [asdict(form)]
    text = json.dumps([_FORMAT, config.source, config.size, plan.count, plan.identity, *other])
    return f"{config.source}-{config.size}px-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def _in_memory(plan: Plan, config: DataConfig) -> ImageSet:
    images = np.empty((plan.count, *_form(plan, config).row_shape), dtype=np.uint8)
    filled = done = 0
    reasons: dict[int, str] = {}
    with _bar(plan, config, 0) as bar:
        for block, unreadable in _read(plan, config, 0):
            images[filled : filled + len(block)] = block
            filled += len(block)
            reasons |= {done + index: reason for index, reason in unreadable}
            done += len(block) + len(unreadable)
            _check_skipped(plan, config, reasons)
            bar.update(len(block) + len(unreadable))
    _check_skipped(plan, config, reasons)
    skipped = (*_named(plan, reasons), *plan.lost)
    labels = _kept_labels(plan, reasons)
    return ImageSet(images[:filled], labels, plan.class_names, config.source, skipped)


def _read(plan: Plan, config: DataConfig, done: int) -> Iterator[Block]:
    """The blocks of a plan; a fault of what they are read from is not one of the store's disk."""
    try:
        yield from plan.blocks(done)
    except UserError:
        raise
    except OSError as error:  # networks as well
        raise config.error(
            "root",
            found=f"images that cannot be read to their end ({first_line(error)})",
            expected="a source that stays within reach",
            remedy="run again, which goes on with what is stored in a memory map",
        ) from error


def _write(plan: Plan, config: DataConfig, part: Path, folder: Path) -> None:
    with PartialStore(part, _form(plan, config).row_shape) as store:
        with _bar(plan, config, store.done) as bar:
            for images, unreadable in _read(plan, config, store.done):
                store.add(images, unreadable)
                _check_skipped(plan, config, store.unreadable)
                bar.update(len(images) + len(unreadable))
        reasons = store.unreadable
        _check_skipped(plan, config, reasons)
        description = {
            "format": _FORMAT,
            "source": config.source,
            "labelled": plan.labels is not None,
            "class_names": list(plan.class_names),
            "skipped": [asdict(file) for file in _named(plan, reasons)],
        }
        store.finish(folder, _kept_labels(plan, reasons), description)


def _bar(plan: Plan, config: DataConfig, done: int) -> Any:
    few = plan.count <= _SHOW_PROGRESS_ABOVE
    return progress_bar(plan.count, f"{config.source} images", "images", disable=few, initial=done)


def _kept_labels(plan: Plan, reasons: Mapping[int, str]) -> np.ndarray | None:
    return None if plan.labels is None else np.delete(plan.labels, list(reasons))


def _named(plan: Plan, reasons: Mapping[int, str]) -> tuple[SkippedFile, ...]:
    return tuple(SkippedFile(shown(plan.paths[i]), shown(why)) for i, why in reasons.items())


def _check_skipped(plan: Plan, config: DataConfig, reasons: Mapping[int, str]) -> None:
    """Refuse more unreadable files than may be, as soon as there are."""
    if _too_many(plan, config, len(reasons) + len(plan.lost)):
        _check_number(plan, config, (*_named(plan, reasons), *plan.lost))


def _too_many(plan: Plan, config: DataConfig, skipped: int) -> bool:
    return skipped > config.max_skipped * (plan.count + len(plan.lost))


def _check_number(plan: Plan, config: DataConfig, skipped: Sequence[SkippedFile]) -> None:
    if _too_many(plan, config, len(skipped)):
        named = first_few([f"{file.path} ({file.reason})" for file in skipped], separator="; ")
        raise config.error(
            "root",
            found=f"{len(skipped)} of {plan.count + len(plan.lost)} files that cannot be read, and "
            f"maybe more: {named}",
            expected=f"at most {config.max_skipped:.2%} (data.max_skipped = {config.max_skipped})",
            remedy="repair or remove these files, or raise data.max_skipped to go on without them",
        )


def _opened(store: MappedStore, plan: Plan, config: DataConfig) -> ImageSet | None:
    """The memory map in a folder; None where there is none or it was damaged."""
    description = store.described()
    if description is None:
        return None
    try:
        images, labels = store.array(), None
        if description["labelled"]:
            labels = np.load(store.folder / "labels.npy", allow_pickle=False)
        skipped = [SkippedFile(**file) for file in description["skipped"]]
        names = tuple(description["class_names"])
        found = ImageSet(images, labels, names, config.source, (*skipped, *plan.lost))
    except (LookupError, TypeError, ValueError, OverflowError, OSError, EOFError):
        return None
    if images.shape != (plan.count - len(skipped), *_form(plan, config).row_shape):
        return None
    _check_number(plan, config, found.skipped)  # whoever has made it may have allowed more
    return found


def _check_room(plan: Plan, config: DataConfig, part: Path) -> None:
    """Fail before hours of decoding where the disk cannot hold the rest of the result."""
    free, needed = free_bytes(part), _bytes(plan, config) - size_of(part)
    if needed > free:
        raise config.error(
            "cache_dir",
            found=f"{free / 1e9:.1f} GB of free space",
            expected=f"{needed / 1e9:.1f} GB for the memory map of {plan.count} images",
            remedy="free space, set data.cache_dir to another folder, or set data.limit",
        )


def _remove_abandoned(cache: Path) -> None:
    """Remove what nobody has finished: parts, and temporary folders of earlier versions."""
    for folder in [*cache.glob(".*.part"), *cache.glob(".*.tmp")]:
        # Another process may finish it meanwhile; files of such a name are not ours.
        with suppress(OSError):
            newest = max(path.stat().st_mtime for path in [folder, *folder.iterdir()])
            if time.time() - newest > _ABANDONED_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)
