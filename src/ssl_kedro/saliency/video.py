"""Frames of a video, one at a time: every one, or those at a given rate.

Every frame is looked at in passing, since positions that a decoder jumps to are not reliable;
those between the wanted ones are not converted, and none is kept, so that memory does not grow
with the length.
"""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from ssl_kedro.core.errors import shown
from ssl_kedro.core.extras import require
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.sources.errors import SaliencyDataError

VIDEO_EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})
# Headers that say no plausible rate or number of frames.
_MOST_FRAMES_A_SECOND = 1000


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Args:
        number: of the frame in the video, from 0.
        shown_s: when the video shows it.
        pixels: uint8 (H, W, 3), RGB, row 0 at the top.
    """

    number: int
    shown_s: float
    pixels: np.ndarray


class Video:
    """A video file and all its frames.

    Args:
        path: of the file; anything that OpenCV decodes.

    Raises:
        SaliencyDataError: not a video, damaged, without frames or without a frame rate.
        NotInstalledError: OpenCV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(_Opened(path)) as stream:
            self.width, self.height, self.frames_a_second, total = stream.header()
            if not stream.passed(1):
                raise _damaged(path, "a video without a frame that can be decoded")
            self.total = total or stream.passed()
        self.duration_s = self.total / self.frames_a_second

    def __iter__(self) -> Iterator[VideoFrame]:
        """Every frame once, to the last that can be decoded, however many the header says.

        Raises:
            UnreadableImageError: a frame cannot be decoded.
        """
        with closing(_Opened(self.path)) as stream:
            while stream.step(self.frames_a_second):
                yield stream.frame()


class VideoFrames(Video):
    """The frames of a video file at times k / rate, k = 0, 1, ...

    Times count from the first frame. Frame k is the first that is shown no earlier than half a
    frame of the video before its time; where one is shown for long (a variable frame rate) it is
    the same for several k. Where the file has no usable timestamps, its nominal rate serves.

    Args:
        path: see :class:`Video`.
        rate: frames in a second; above that of the video frames repeat.
    """

    def __init__(self, path: Path, rate: float) -> None:
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"expected a frame rate above 0, found {rate}")
        self.rate = rate
        self._stream: _Opened | None = None
        self._last = -1
        super().__init__(path)

    def __len__(self) -> int:
        """How many frames there are, by the header."""
        return int((self.total - 1) / self.frames_a_second * self.rate + 1e-6) + 1

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames in their order.

        Raises:
            UnreadableImageError: the video ends before its header says.
        """
        with closing(self):
            yield from map(self.frame, range(len(self)))

    def frame(self, index: int) -> VideoFrame:
        """One frame, fast in ascending order: an earlier one than before starts the file again.

        Raises:
            UnreadableImageError: it cannot be decoded, or the video ends before it.
            IndexError: there is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a video with {len(self)}")
        if self._stream is None or index < self._last:
            self.close()
            self._stream = _Opened(self.path)
        stream, self._last = self._stream, index
        while stream.shown_s < index / self.rate - 0.5 / self.frames_a_second:
            if not stream.step(self.frames_a_second):
                raise UnreadableImageError(
                    f"{self.path}: the video ends after {stream.number + 1} frames "
                    f"({max(stream.shown_s, 0):.2f} s), but its header says "
                    f"{self.duration_s:.2f} s; fetch it again"
                )
        return stream.frame()

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


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


def resized_frame(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A frame at a size, antialiased: uint8 (H, W, 3) to (3, height, width)."""
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


class _Opened:
    """A video that is read from its start: "number" and "shown_s" are of the last frame taken."""

    def __init__(self, path: Path) -> None:
        self._cv2 = opencv()
        self._path = path
        if not path.is_file():
            raise SaliencyDataError(path, "no such file", "a video", "correct its name")
        if shown(path.name) != path.name:
            raise _damaged(path, "a name that is not UTF-8, which OpenCV cannot open")
        self._capture: Any = self._cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise _damaged(
                path,
                "a file that OpenCV cannot open as a video: not a video of a known format, or a "
                "broken header",
            )
        self.number = -1
        self.shown_s = -1.0
        self._first_s = 0.0

    def header(self) -> tuple[int, int, float, int]:
        """Width and height in px, frames in a second, frames in all (0 = not known)."""
        get, cv2 = self._capture.get, self._cv2
        rate = float(get(cv2.CAP_PROP_FPS))
        total = float(get(cv2.CAP_PROP_FRAME_COUNT))
        if not (math.isfinite(rate) and 0 < rate <= _MOST_FRAMES_A_SECOND):
            raise _damaged(self._path, f"a video of {rate:g} frames in a second by its header")
        size = (int(get(cv2.CAP_PROP_FRAME_WIDTH)), int(get(cv2.CAP_PROP_FRAME_HEIGHT)))
        return *size, rate, int(total) if math.isfinite(total) and 0 < total < 1e9 else 0

    def passed(self, most: float = math.inf) -> int:
        """Frames gone through so far, after going on until there are so many, or to the end."""
        while self.number + 1 < most and self._capture.grab():
            self.number += 1
        return self.number + 1

    def step(self, frames_a_second: float) -> bool:
        """Take the next frame, False where there is none."""
        if not self._capture.grab():
            return False
        self.number += 1
        self.shown_s = self._time(frames_a_second)
        return True

    def frame(self) -> VideoFrame:
        """The frame taken, with its pixels."""
        good, pixels = self._capture.retrieve()
        if not good or pixels is None:
            raise UnreadableImageError(
                f"{self._path}: frame {self.number + 1} of the video cannot be decoded"
            )
        pixels = np.asarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB))
        return VideoFrame(self.number, self.shown_s, pixels)

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()

    def _time(self, frames_a_second: float) -> float:
        """When the frame just taken is shown, counted from the first."""
        said = float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000
        if not self.number:
            self._first_s = said if math.isfinite(said) else 0.0
            return 0.0
        said -= self._first_s
        # Some containers say 0 for every frame: then the nominal rate carries on.
        grows = math.isfinite(said) and said > self.shown_s
        return said if grows else self.shown_s + 1 / frames_a_second


def opencv() -> ModuleType:
    """OpenCV, loaded when the first video is asked for.

    Raises:
        NotInstalledError: it is not installed.
    """
    require("reading videos", "cv2")
    return import_module("cv2")


def _damaged(path: Path, found: str) -> SaliencyDataError:
    return SaliencyDataError(
        path,
        found=found,
        expected="a whole video that OpenCV can decode",
        remedy="fetch it again, or convert it to MP4 (H.264)",
    )
