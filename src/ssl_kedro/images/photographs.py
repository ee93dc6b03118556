"""Images that are decoded when they are needed: too many, or too large, to keep.

Each is brought to one size as it is read; a box cuts a part out before that. Reading runs
ahead of the reader in threads (Pillow decodes outside Python's lock), so that a network works
while the next images are decoded, and only a few batches are in memory at a time.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.errors import shown
from ssl_kedro.core.names import Names
from ssl_kedro.images.decode import Resize, decoded_image, decoded_part
from ssl_kedro.images.files import UnreadableImageError

# Images of one shape that follow each other come in batches; this many wait, per worker.
_AHEAD = 8


class Photographs(ABC):
    """A sequence of images by index.

    Args:
        names: of the images.
        boxes: (N, 4), left, top, right, bottom in px, NaN rows for whole images; None = all
            whole.

    Raises:
        ValueError: a box for each image is needed.
    """

    names: Sequence[str]

    def __init__(self, names: Sequence[str], boxes: np.ndarray | None = None) -> None:
        if boxes is not None and boxes.shape != (len(names), 4):
            raise ValueError(f"expected boxes of shape ({len(names)}, 4), found {boxes.shape}")
        self.names = tuple(map(shown, names))
        self.boxes = boxes

    def __len__(self) -> int:
        return len(self.names)

    def box(self, index: int) -> list[float] | None:
        """Left, top, right, bottom of one image in px, None where it is whole."""
        if self.boxes is None or np.isnan(self.boxes[index]).any():
            return None
        return [float(value) for value in self.boxes[index]]

    @abstractmethod
    def decoded(self, index: int, resize: Resize) -> np.ndarray:
        """One image, or its box, uint8 (3, H, W).

        Raises:
            UnreadableImageError: it cannot be decoded.
        """

    @abstractmethod
    def part(self, first: int, stop: int) -> "Photographs":
        """Those from ``first`` to before ``stop``, with nothing of the others: another process'."""

    def _boxes(self, first: int, stop: int) -> np.ndarray | None:
        return None if self.boxes is None else self.boxes[first:stop]

    @abstractmethod
    def _content(self, index: int) -> bytes:
        """What changes when the image does."""

    def fingerprint(self) -> str:
        """Changes with names, boxes and content of the images."""
        found = hashlib.sha256()
        for index, name in enumerate(self.names):
            told = f"{name}\x1f{self.box(index)}\x1e"
            found.update(told.encode("utf-8", "surrogateescape"))
            found.update(self._content(index))
        return found.hexdigest()[:16]


class FilePhotographs(Photographs):
    """Image files.

    Args:
        paths: of the files.
        names: to call them by.
        boxes: as for :class:`Photographs`.
    """

    def __init__(
        self, paths: Sequence[Path], names: Sequence[str], boxes: np.ndarray | None = None
    ) -> None:
        super().__init__(names, boxes)
        if len(paths) != len(names):
            raise ValueError(f"expected a file for each of {len(names)} names, found {len(paths)}")
        self.paths = tuple(paths)

    def decoded(self, index: int, resize: Resize) -> np.ndarray:
        """See :meth:`Photographs.decoded`."""
        return decoded_part(self.paths[index], resize, self.box(index))

    def part(self, first: int, stop: int) -> "FilePhotographs":
        """See :meth:`Photographs.part`; another process may stand in another folder."""
        paths = [path.absolute() for path in self.paths[first:stop]]
        return FilePhotographs(paths, self.names[first:stop], self._boxes(first, stop))

    def _content(self, index: int) -> bytes:
        return _state(self.paths[index])


def _state(path: Path) -> bytes:
    """What changes when a file does."""
    try:
        state = path.stat()
    except OSError:  # a link to nothing, which reading will report
        return b"missing"
    return f"{state.st_size} {state.st_mtime_ns}".encode()


class ArrayPhotographs(Photographs):
    """Images in memory.

    Args:
        images: uint8 (N, 3, H, W).
        names: to call them by.
        boxes: as for :class:`Photographs`.
    """

    def __init__(
        self, images: np.ndarray, names: Sequence[str], boxes: np.ndarray | None = None
    ) -> None:
        super().__init__(names, boxes)
        if images.shape[:1] != (len(names),) or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"expected images of shape ({len(names)}, 3, H, W), found {images.shape}"
            )
        self._images = images

    def decoded(self, index: int, resize: Resize) -> np.ndarray:
        """See :meth:`Photographs.decoded`."""
        image = Image.fromarray(self._images[index].transpose(1, 2, 0))
        if (box := self.box(index)) is not None:
            left, top, right, bottom = map(round, box)
            image = image.crop((left, top, right, bottom))
        shape = resize.shape(*image.size)
        if shape != image.size:
            image = image.resize(shape, Image.Resampling.BILINEAR)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))

    def part(self, first: int, stop: int) -> "ArrayPhotographs":
        """See :meth:`Photographs.part`."""
        names, boxes = self.names[first:stop], self._boxes(first, stop)
        return ArrayPhotographs(self._images[first:stop], names, boxes)

    def _content(self, index: int) -> bytes:
        return bytes(self._images[index].tobytes())


class SquareFiles(Photographs):
    """Image files as a training sees them: the central square of each; no boxes.

    Names take the memory of their letters, so that there may be millions.

    Args:
        root: folder of the files.
        names: paths below it, with forward slashes.
    """

    names: Names

    def __init__(self, root: Path, names: Names) -> None:
        self.root, self.names, self.boxes = root, names, None

    def decoded(self, index: int, resize: Resize) -> np.ndarray:
        """See :meth:`Photographs.decoded`: (3, side, side)."""
        return decoded_image(self.root / self.names[index], resize.side)

    def part(self, first: int, stop: int) -> "SquareFiles":
        """See :meth:`Photographs.part`."""
        return SquareFiles(self.root.absolute(), Names.of(self.names[first:stop]))

    def _content(self, index: int) -> bytes:
        return _state(self.root / self.names[index])


@dataclass(frozen=True)
class Batch:
    """Images of one shape that follow each other.

    Args:
        indices: in the collection, (B,), ascending.
        images: uint8 (B, 3, H, W).
    """

    indices: np.ndarray
    images: np.ndarray


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded."""

    index: int
    reason: str


def batches(
    photographs: Photographs, resize: Resize, batch_size: int, workers: int | None = None
) -> Iterator[Batch | Unreadable]:
    """All images in their order; those that cannot be decoded come as what is wrong with them.

    Args:
        photographs: the images.
        resize: to which size.
        batch_size: images of one shape in a batch, at most.
        workers: threads that decode; None = one for each core.
    """

    def decoded(index: int) -> tuple[int, np.ndarray] | Unreadable:
        try:
            return index, photographs.decoded(index, resize)
        except UnreadableImageError as error:
            return Unreadable(index, str(error))

    waiting: list[tuple[int, np.ndarray]] = []
    workers = workers or available_cores()
    for found in computed_ahead(decoded, range(len(photographs)), workers, _AHEAD):
        if isinstance(found, Unreadable):
            yield found
            continue
        waiting.append(found)
        if found[1].shape != waiting[0][1].shape:
            yield _batch(waiting[:-1])
            waiting = waiting[-1:]
        if len(waiting) == batch_size:
            yield _batch(waiting)
            waiting = []
    if waiting:
        yield _batch(waiting)


def _batch(decoded: Sequence[tuple[int, np.ndarray]]) -> Batch:
    indices, images = zip(*decoded, strict=True)
    return Batch(np.array(indices), np.stack(images))
