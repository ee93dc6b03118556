"""Decoded images with their labels."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ssl_kedro.core.form import is_whole, pixels_of
from ssl_kedro.core.rows import rows_of

_BLOCK_BYTES = 32 * 2**20
_HASHED_WHOLE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class SkippedFile:
    """A file that could not be decoded.

    Args:
        path: relative to the source's root, with forward slashes.
        reason: why.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class ImageSet:
    """One part of a source.

    Args:
        images: uint8 (N, 3, H, W), RGB, C-contiguous: an array, or a read-only memory map. Whole
            pictures are rows (N, 3 S S + 4): see :mod:`ssl_kedro.core.form`.
        labels: int64 (N,), indices into ``class_names``; None where unlabelled.
        class_names: in the order of the labels; empty where unlabelled.
        source: name of the source, e.g. "textures".
        skipped: files that could not be decoded.
        passed_over: numbers of files of a kind that is not read, by ending.

    Raises:
        ValueError: shapes or types other than these.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    source: str
    skipped: tuple[SkippedFile, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        square = is_whole(images) or (images.ndim == 4 and images.shape[1] == 3)
        if images.dtype != np.uint8 or not square:
            raise ValueError(
                f"images: expected uint8 (N, 3, H, W), found {images.dtype} {images.shape}"
            )
        if not images.flags.c_contiguous:
            raise ValueError("images: expected a C-contiguous array; use np.ascontiguousarray")
        if labels is not None and (labels.dtype != np.int64 or labels.shape != (len(images),)):
            raise ValueError(
                f"labels: expected int64 ({len(images)},), found {labels.dtype} {labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray) -> "ImageSet":
        """Some of the images with their labels: ``images[:10]``, ``images[[3, 5]]``."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, images=np.ascontiguousarray(self.images[rows]), labels=labels)

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over shape, labels and pixels.

        Of a memory map over 256 MiB only an evenly spaced sample of images of that size is
        hashed, first and last included: a change elsewhere in it goes unnoticed.
        """
        digest = hashlib.sha256(repr(self.images.shape).encode())
        if self.labels is not None:
            digest.update(b"labels")
            digest.update(self.labels.astype("<i8").tobytes())
        count = len(self)
        if isinstance(self.images, np.memmap) and self.images.nbytes > _HASHED_WHOLE_BYTES:
            count = max(2, _HASHED_WHOLE_BYTES * count // self.images.nbytes)
        chosen = np.linspace(0, len(self) - 1, count).round().astype(np.int64)
        for block in self._blocks(chosen):
            digest.update(block.tobytes())
        return digest.hexdigest()[:16]

    def channel_statistics(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and standard deviation of red, green and blue over all pixels, in [0, 1].

        Sums of bytes and of their squares are whole numbers, so the result is exact and does
        not depend on how the images are read.

        Raises:
            ValueError: there are no images.
        """
        if len(self) == 0:
            raise ValueError("channel statistics need at least one image, found none")
        total = np.zeros(3, dtype=np.uint64)
        squares = np.zeros(3, dtype=np.uint64)
        count = 0
        for rows in self._blocks(np.arange(len(self))):
            pixels = pixels_of(rows) if is_whole(rows) else rows
            count += pixels.size // 3
            total += pixels.sum(axis=(0, 2, 3), dtype=np.uint64)
            squares += np.square(pixels, dtype=np.uint16).sum(axis=(0, 2, 3), dtype=np.uint64)
        mean = total / count
        # Clipped because of rounding: a variance of 0 may come out as -1e-12.
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        red, green, blue = (mean / 255).tolist()
        std_red, std_green, std_blue = (deviation / 255).tolist()
        return (red, green, blue), (std_red, std_green, std_blue)

    def _blocks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Some of the images, a few at a time."""
        step = max(1, _BLOCK_BYTES // max(1, int(np.prod(self.images.shape[1:]))))
        for start in range(0, len(rows), step):
            yield rows_of(self.images, rows[start : start + step])
