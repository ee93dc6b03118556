"""Panoramas of one size on disk, written as they are decoded: memory does not grow with the number.

A store is made once for a source and a size and read by memory map afterwards; it is made again
only when the source or the size has changed.
"""

from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.files import DamagedFileError, reading
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.stores import MappedStore
from ssl_kedro.images.files import UnreadableImageError, check_skipped
from ssl_kedro.saliency.panoramas import PanoramaSource

# Decoded panoramas that wait to be written, per thread.
_AHEAD = 4


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

        def of(chosen: list[int]) -> dict[str, list[Any]]:
            lists = ("names", "scenes", "splits")
            return {key: [getattr(source, key)[i] for i in chosen] for key in lists}

        identity = {"source": source.fingerprint, **of(indices), "size": list(size)}
        known = self.description()
        if known is not None and known.identity == identity:
            return known
        kept: list[int] = []
        skipped: list[tuple[str, str]] = []

        def decoded(index: int) -> np.ndarray | UnreadableImageError:
            try:
                return source.image(index, *size)
            except UnreadableImageError as error:
                return error

        with (
            self.written((3, *size), "|u1") as (array, description),
            progress_bar(len(indices), f"panoramas of {label}", "images") as bar,
            closing(computed_ahead(decoded, indices, available_cores(), _AHEAD)) as coming,
        ):
            for index, found in zip(indices, coming, strict=True):
                bar.update(1)
                if isinstance(found, UnreadableImageError):
                    skipped.append((source.names[index], str(found)))
                    check_skipped(skipped, len(indices), max_skipped, label, "data.max_skipped")
                    continue
                kept.append(index)
                array.add(found[None])
            if indices and not kept:
                check_skipped(skipped, len(indices), -1.0, label, "data.max_skipped")
            made = StoredPanoramas(
                **of(kept), indices=kept, skipped=skipped, size=size, identity=identity
            )
            description.update(asdict(made))
        return made
