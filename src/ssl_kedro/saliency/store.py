"""Panoramas of one size on disk, written as they are decoded: memory does not grow with the number.

A store is made once for a source and a size and read by memory map afterwards; it is made again
only when the source or the size has changed. Where the making was killed, the next goes on with
what is stored already.
"""

import hashlib
import json
import shutil
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.files import DamagedFileError, StorageError, reading, storage_told
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.stores import MappedStore
from ssl_kedro.images.files import UnreadableImageError, check_skipped
from ssl_kedro.images.partial import PartialStore
from ssl_kedro.saliency.panoramas import PanoramaSource

# Decoded panoramas that wait to be written, per thread.
_AHEAD = 4
_LISTS = ("names", "scenes", "splits")


@dataclass(frozen=True)
class StoredPanoramas:
    """What a store holds, in the order of its images.

    Args:
        names, scenes, splits: of the panoramas.
        indices: of each in its source.
        skipped: (name, reason) of those that could not be decoded.
        size: height and width in px.
        identity: what they were made from.
    """

    names: list[str]
    scenes: list[str]
    splits: list[str]
    indices: list[int] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    identity: dict[str, Any] = field(default_factory=dict)


class PanoramaStore(MappedStore):
    """A folder that holds the panoramas of a source, all of one size."""

    def description(self) -> StoredPanoramas | None:
        """What it holds, None where it holds nothing, or not all."""
        described = self.described() or {}
        try:
            with reading(self.folder, "panoramas and their description", "They are made again"):
                size = (described["size"][0], described["size"][1])
                skipped = [(name, reason) for name, reason in described["skipped"]]
                found = StoredPanoramas(**{**described, "size": size, "skipped": skipped})
                whole = self.images().shape == (len(found.names), 3, *found.size)
        except DamagedFileError:  # another description, or none
            return None
        return found if whole else None

    def images(self) -> np.ndarray:
        """uint8 (N, 3, H, W), a read-only memory map."""
        return self.array()

    def fill(
        self,
        source: PanoramaSource,
        indices: list[int],
        size: tuple[int, int],
        *,
        label: str,
        max_skipped: float = 0.01,
    ) -> StoredPanoramas:
        """Decode and write some panoramas of a source, unless they are there; what there is then.

        Args:
            source: the panoramas.
            indices: which of them, in this order.
            size: height and width in px.
            label: for the progress bar and messages.
            max_skipped: share that may be unreadable.

        Raises:
            ConfigError: more unreadable panoramas than allowed, or no readable one.
        """
        lists = {key: [getattr(source, key)[i] for i in indices] for key in _LISTS}
        identity = {"source": source.fingerprint, **lists, "size": list(size)}
        known = self.description()
        if known is not None and known.identity == identity:
            return known
        part = self.folder.with_name(f".{self.folder.name}.{_key(identity)}.part")
        for other in self.folder.parent.glob(f".{self.folder.name}.*.part"):
            if other != part:  # of what the source was before
                shutil.rmtree(other, ignore_errors=True)
        try:
            with storage_told(self.folder, temporary=part):
                return self._written(source, indices, identity, part, label, max_skipped)
        except (ConfigError, StorageError):
            # What is mended is another source, and a full disk is not to stay full.
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _written(
        self,
        source: PanoramaSource,
        indices: list[int],
        identity: dict[str, Any],
        part: Path,
        label: str,
        max_skipped: float,
    ) -> StoredPanoramas:
        """What is not in the part yet is decoded; then it gets its name."""
        height, width = identity["size"]

        def check(reasons: Mapping[int, str], most: float = max_skipped) -> list[tuple[str, str]]:
            skipped = [(source.names[indices[at]], why) for at, why in reasons.items()]
            check_skipped(skipped, len(indices), most, label, "data.max_skipped")
            return skipped

        with (
            PartialStore(part, (3, height, width)) as made,
            progress_bar(len(indices), f"panoramas of {label}", "images", initial=made.done) as bar,
            closing(_decoded(source, indices[made.done :], (height, width))) as coming,
        ):
            for found in coming:
                bar.update(1)
                if isinstance(found, UnreadableImageError):
                    made.add(np.empty((0, 3, height, width), np.uint8), [(0, str(found))])
                    check(made.unreadable)
                else:
                    made.add(found[None], ())
            skipped = check(made.unreadable)
            kept = [index for at, index in enumerate(indices) if at not in made.unreadable]
            if indices and not kept:
                check(made.unreadable, -1.0)
            lists = {key: [getattr(source, key)[i] for i in kept] for key in _LISTS}
            described = StoredPanoramas(
                **lists, indices=kept, skipped=skipped, size=(height, width), identity=identity
            )
            made.finish(self.folder, None, asdict(described), self.description_name)
        return described


def _decoded(
    source: PanoramaSource, indices: list[int], size: tuple[int, int]
) -> Generator[np.ndarray | UnreadableImageError, None, None]:
    """Panoramas in their order; those of videos by one thread, which never has to go back."""

    def one(index: int) -> np.ndarray | UnreadableImageError:
        try:
            return source.image(index, *size)
        except UnreadableImageError as error:
            return error

    for in_order, run in groupby(indices, key=source.in_order):
        threads = 1 if in_order else available_cores()
        with closing(computed_ahead(one, run, threads, _AHEAD)) as coming:
            yield from coming


def _key(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
