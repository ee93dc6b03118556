"""Frames of videos as panoramas, each video one scene."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.panoramas import PanoramaSource, Split
from ssl_kedro.saliency.sources import layouts
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError, all_of
from ssl_kedro.saliency.sources.files import files_fingerprint, two_to_one
from ssl_kedro.saliency.video import VideoFrames, resized_frame


class FramePanoramas(PanoramaSource):
    """Frames of videos, called by the video and the frame's number, ``001/00012``.

    One video is open at a time, and none of its frames is kept. They are read fastest in their
    order: an earlier frame of a video starts it again.

    Args:
        videos: by name.
        splits: of the videos that are taken.
        root: folder they lie in, for messages.
        config: ``limit`` (frames) and ``seed``.
    """

    def __init__(
        self,
        videos: Mapping[str, VideoFrames],
        splits: Mapping[str, Split],
        root: Path,
        config: SourceConfig,
    ) -> None:
        frames = [
            (name, number, split)
            for name, split in splits.items()
            for number in range(len(videos[name]))
        ]
        kept = layouts.chosen([split for *_, split in frames], config.limit, config.seed)
        self._frames = [frames[index] for index in kept]
        super().__init__(
            [f"{name}/{number:05d}" for name, number, _ in self._frames],
            [name for name, *_ in self._frames],
            [split for *_, split in self._frames],
        )
        self._root = root
        self._videos = {name: videos[name] for name in splits}
        self._lock = threading.Lock()
        self._read: VideoFrames | None = None

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        """One frame brought to a size; see :class:`PanoramaSource`."""
        name, number, _ = self._frames[index]
        video = self._videos[name]
        if not two_to_one(video.width, video.height):
            raise UnreadableImageError(f"{video.path}: {_not_a_sphere(video)}")
        with self._lock:
            if self._read is not video:
                self.close()
                self._read = video
            return resized_frame(video.frame(number).pixels, height, width)

    def file(self, index: int) -> Path:
        """The video; see :class:`PanoramaSource`."""
        return self._videos[self._frames[index][0]].path

    def width_px(self, index: int) -> int:
        """By the video's header; see :class:`PanoramaSource`."""
        return self._videos[self._frames[index][0]].width

    def in_order(self, index: int) -> bool:  # noqa: ARG002
        """True; see :class:`PanoramaSource`."""
        return True

    @property
    def fingerprint(self) -> str:
        """Changes with names, splits, rate, and sizes and dates of videos and other files."""
        rates = {str(video.rate) for video in self._videos.values()}
        described = [*self.names, *self.splits, *sorted(rates)]
        files = (path for name in self._videos for path in self._files(name))
        return files_fingerprint(described, files)

    def check(self) -> None:
        """Look at the sizes of all videos, and at what else belongs to them."""
        all_of(self._root, self._checks())

    def close(self) -> None:
        """Let go of the video that is open."""
        if self._read is not None:
            self._read.close()
            self._read = None

    def _checks(self) -> list[Callable[[], object]]:
        """What :meth:`check` does; a source that has more to look at adds it here."""
        return [partial(_check_size, video) for video in self._videos.values()]

    def _files(self, name: str) -> tuple[Path, ...]:
        """All files of a video; a source that has others beside it adds them here."""
        return (self._videos[name].path,)


def opened_videos(
    files: Mapping[str, Path], config: SourceConfig, root: Path
) -> dict[str, VideoFrames]:
    """Videos at ``frame_rate`` frames a second; their headers are read.

    Raises:
        SaliencyDataError: naming every file that is no whole video.
    """
    calls = [partial(VideoFrames, path, config.frame_rate) for path in files.values()]
    return dict(zip(files, all_of(root, calls), strict=True))


def _check_size(video: VideoFrames) -> None:
    if not two_to_one(video.width, video.height):
        raise SaliencyDataError(
            video.path,
            found=_not_a_sphere(video),
            expected="frames twice as wide as high",
            remedy="leave the video out, or cut a stereo video to one eye",
        )


def _not_a_sphere(video: VideoFrames) -> str:
    return f"frames of {video.width} x {video.height} px, which are not twice as wide as high"
