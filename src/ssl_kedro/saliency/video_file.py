"""Frames out of a video file, and overlays and maps of frames into files.

Frames are uint8 (3, H, W), RGB. Reading runs ahead of the reader in a thread, some batches of
frames at most, so that a video of any length needs the same memory.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import numpy as np

from ssl_kedro.images.errors import UnreadableImageError

T = TypeVar("T")

VIDEO_EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})
# Frames of a container that states no rate, or nonsense, cannot be placed in time.
_FASTEST = 1000.0


@dataclass(frozen=True)
class VideoFacts:
    """What the header of a video says, and its first frame confirms.

    Args:
        size: width and height of a frame in px, as shown.
        frames_per_second: of the file.
        frames: how many there are said to be; 0 = not known, and damaged files have fewer.
    """

    size: tuple[int, int]
    frames_per_second: float
    frames: int


@dataclass(frozen=True)
class Frame:
    """One frame.

    Args:
        number: in the video, from 0.
        time_s: at which it begins.
        picture: uint8 (3, H, W).
    """

    number: int
    time_s: float
    picture: np.ndarray


def video_facts(path: Path) -> VideoFacts:
    """Size, rate and length of a video.

    Raises:
        UnreadableImageError: it cannot be opened, has no frame that can be decoded, or no rate.
    """
    with _opened(path) as (capture, facts):
        if not capture.grab():
            raise UnreadableImageError("a video without a frame that can be decoded")
        return facts


def frames(path: Path, frames_per_second: float | None = None) -> Generator[Frame, None, None]:
    """Frames of a video in their order.

    With a rate r below that of the file f, the frame shown at k/r seconds is taken for each
    k, as many as bring the duration at r nearest to the video's, and one at least.

    Args:
        path: of the file.
        frames_per_second: r; None, or more than the file has, = every frame.

    Raises:
        UnreadableImageError: as for :func:`video_facts`. A file that breaks off gives the
            frames before the break.
    """
    import cv2  # noqa: PLC0415  heavy, and only videos need it

    with _opened(path) as (capture, facts):
        rate = taken_rate(facts, frames_per_second)
        step = facts.frames_per_second / rate
        taken, waiting = 0, None
        number = -1
        while capture.grab():
            number += 1
            if waiting is None and number == math.floor(taken * step + 1e-9):
                retrieved, pixels = capture.retrieve()
                if not retrieved:
                    break
                rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
                waiting = Frame(number, number / facts.frames_per_second, rgb)
            # A frame that would stand for less than half of its interval would lengthen the video.
            if waiting is not None and (taken == 0 or number + 1 >= (taken + 0.5) * step):
                yield waiting
                taken, waiting = taken + 1, None


def taken_rate(facts: VideoFacts, frames_per_second: float | None) -> float:
    """Frames a second that :func:`frames` gives: what is asked, at most what there is."""
    if frames_per_second is None:
        return facts.frames_per_second
    return min(frames_per_second, facts.frames_per_second)


def ahead(items: Iterator[T], count: int) -> Generator[T, None, None]:
    """Items of an iterator that a thread runs, up to ``count`` before they are asked for."""
    end = object()
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1) as thread:
        try:
            for _ in range(count):
                pending.append(thread.submit(next, items, end))
            while (item := pending.popleft().result()) is not end:
                pending.append(thread.submit(next, items, end))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
            close: Callable[[], None] | None = getattr(items, "close", None)
            if close is not None:
                close()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, VideoFacts]]:
    import cv2  # noqa: PLC0415  heavy, and only videos need it

    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise UnreadableImageError("not a video of a known format, or a broken header")
        width, height, rate, count = (
            capture.get(key)
            for key in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
            )
        )
        if not 0 < rate <= _FASTEST:
            raise UnreadableImageError(f"a video that states {rate:g} frames a second")
        yield capture, VideoFacts((int(width), int(height)), rate, max(0, int(count)))
    finally:
        capture.release()


class VideoWriter:
    """An MP4 file (MPEG-4 part 2, which OpenCV writes without further libraries).

    Args:
        path: ends in .mp4.
        height: of the frames, even.
        width: of the frames, even.
        frames_per_second: of the file.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, height: int, width: int, frames_per_second: float) -> None:
        import cv2  # noqa: PLC0415  heavy, and only videos need it

        if height % 2 or width % 2:
            raise ValueError(f"expected an even height and width, found {height} x {width}")
        self._shape = (3, height, width)
        self._cv2 = cv2
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._file = cv2.VideoWriter(str(path), code, frames_per_second, (width, height))
        if not self._file.isOpened():
            raise OSError(f"{path}: OpenCV cannot write an MP4 video there")

    def add(self, picture: np.ndarray) -> None:
        """Append a frame, uint8 (3, H, W) RGB.

        Raises:
            ValueError: another shape than the file's.
        """
        if picture.shape != self._shape:
            raise ValueError(f"expected a frame of shape {self._shape}, found {picture.shape}")
        pixels = np.ascontiguousarray(picture.transpose(1, 2, 0))
        self._file.write(self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2BGR))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.release()


class MapFile:
    """An ``.npy`` file of float32 (T, H, W) that grows map by map.

    How many frames a video has is only known at its end: the header is written again then,
    and numpy leaves room in it for that. ``np.load(..., mmap_mode="r")`` reads it without
    filling the memory.

    Args:
        path: of the file.
        height: H.
        width: W.
    """

    def __init__(self, path: Path, height: int, width: int) -> None:
        self._shape = (height, width)
        self._count = 0
        self._file: BinaryIO = path.open("wb")
        self._write_header()
        self._start = self._file.tell()

    def add(self, values: np.ndarray) -> None:
        """Append a map (H, W).

        Raises:
            ValueError: another shape than the file's.
        """
        if values.shape != self._shape:
            raise ValueError(f"expected a map of shape {self._shape}, found {values.shape}")
        self._file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()
            if self._file.tell() != self._start:
                raise RuntimeError("the header of the array grew over its first values")

    def _write_header(self) -> None:
        shape = (self._count, *self._shape)
        described = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, described)
