"""Frames of a video as they are predicted for, and overlays of frames into a file.

Pictures are uint8 (3, H, W), RGB. Reading runs ahead of the reader in a thread, some batches of
frames at most, so that a video of any length needs the same memory.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from ssl_kedro.saliency.video import Video, VideoFrame, VideoFrames, opencv

T = TypeVar("T")


def taken_rate(video: Video, frames_per_second: float | None) -> float:
    """Frames a second that :func:`taken_frames` gives: what is asked, at most what there is."""
    own = video.frames_a_second
    return own if frames_per_second is None else min(frames_per_second, own)


def taken_frames(path: Path, frames_per_second: float | None = None) -> Iterator[VideoFrame]:
    """Frames of a video in their order: all, or as many as keep its duration.

    Args:
        path: of the file.
        frames_per_second: r; None, or not less than the file has, = every frame. Else those of
            :class:`VideoFrames`, as many as bring the duration at r nearest to the video's, and
            one at least.

    Raises:
        SaliencyDataError: as for :class:`Video`.
        UnreadableImageError: a frame cannot be decoded.
    """
    video = Video(path)
    rate = taken_rate(video, frames_per_second)
    if rate == video.frames_a_second:
        return iter(video)
    # One more would stand for less than half of its interval, and lengthen the video.
    most = max(1, math.floor(video.duration_s * rate + 0.5))
    return islice(VideoFrames(path, rate), most)


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
        if height % 2 or width % 2:
            raise ValueError(f"expected an even height and width, found {height} x {width}")
        self._shape = (3, height, width)
        self._cv2 = cv2 = opencv()
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
