"""VR-EyeTracking: gaze of 45 viewers in 208 panoramic videos (Xu et al., CVPR 2018).

What is on disk, by the description of the release and the programs that read it::

    videos/001.mp4                  or Videos/, at any depth; other containers too
    Gaze_txt_files/p001/001.txt     a folder for each viewer, a file for each video

The name of a gaze file begins with the video's; what follows a dot is passed over, as in
``180._2017-10-13-10-28_ori_0.txt``. Its lines are
``frame,<index>,forward,<x>,<y>,eye,<x>,<y>``: the frame's index from 1, then the directions of
head and eyes as fractions of the panorama, 0 to 1, from its left *bottom* corner.

Each frame taken is one panorama, and each video one scene. Its fixations are all gaze points
from half a frame interval before it to half after it (the earlier border belongs to it), those
of all viewers of the video; the release has gaze points, not fixations told apart from saccades.

The release lists its 134 training and 74 test videos in a spreadsheet, ``train_test_set.xlsx``;
give the test videos' names as ``test_names``, or ``test_share`` decides over videos.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_kedro.images.errors import UnreadableImageError
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError, check_partners, raise_all
from ssl_kedro.saliency.sources.files import files_fingerprint, two_to_one
from ssl_kedro.saliency.sources.fixation_files import Gaze, viewer_numbers
from ssl_kedro.saliency.sources.folder import by_stem, existing_folder, files_below
from ssl_kedro.saliency.sources.splits import chosen, splits_of
from ssl_kedro.saliency.video import (
    VIDEO_EXTENSIONS,
    FrameReader,
    VideoFrames,
    resized_frame,
)

_VIDEO_FOLDERS = ("videos", "Videos")
_GAZE_FOLDER = "Gaze_txt_files"
_LINE = "frame,<index>,forward,<x>,<y>,eye,<x>,<y>"


@dataclass(frozen=True)
class _Video:
    frames: VideoFrames
    gaze: tuple[Path, ...]


class VrEyeTrackingFrames(PanoramaSource):
    """Frames of the videos, with the gaze of all viewers at their time.

    Frames are read fastest in their order: an earlier frame of a video starts it again.

    Args:
        config: ``root``, ``frame_rate``, ``test_names`` (videos) or ``test_share``, ``limit``
            (frames), ``seed``.

    Raises:
        SaliencyDataError: missing folders, videos without gaze or the reverse, damaged videos.
    """

    def __init__(self, config: SourceConfig) -> None:
        root = existing_folder(config)
        self._root = root
        self._videos = _videos(root, config)
        names = list(self._videos)
        sides = splits_of(names, names, config, root)
        frames = [
            (name, number, side)
            for name, side in zip(names, sides, strict=True)
            for number in range(len(self._videos[name].frames))
        ]
        kept = chosen([side for *_, side in frames], config.limit, config.seed)
        self._frames = [frames[index] for index in kept]
        super().__init__(
            [f"{name}/{number:05d}" for name, number, _ in self._frames],
            [name for name, *_ in self._frames],
            [side for *_, side in self._frames],
        )
        self._lock = threading.Lock()
        self._reader: tuple[str, FrameReader] | None = None
        self._gaze: tuple[str, Gaze] | None = None

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        """One frame brought to a size; see :class:`PanoramaSource`."""
        name, number, _ = self._frames[index]
        frames = self._videos[name].frames
        if not two_to_one(frames.width, frames.height):
            raise UnreadableImageError(f"{frames.path}: {_not_a_sphere(frames)}")
        with self._lock:
            if self._reader is None or self._reader[0] != name:
                self.close()
                self._reader = (name, FrameReader(frames))
            return resized_frame(self._reader[1].frame(number).pixels, height, width)

    def saliency(self, index: int) -> None:  # noqa: ARG002
        """None: the release has gaze only."""
        return

    def fixations(self, index: int) -> Fixations | None:
        """Gaze points around the frame's time; None where nobody looked."""
        name, number, _ = self._frames[index]
        video = self._videos[name]
        with self._lock:
            if self._gaze is None or self._gaze[0] != name:
                self._gaze = (name, read_gaze(video.gaze, video.frames.frames_a_second))
            gaze = self._gaze[1]
        if gaze.t_s is None:
            raise TypeError("gaze that was read by frames has times")
        inside = near(gaze.t_s, number, video.frames.rate)
        return gaze.fixations.of(inside) if inside.any() else None

    @property
    def fingerprint(self) -> str:
        """Changes with names, splits, rate, and sizes and dates of videos and gaze files."""
        rates = {str(video.frames.rate) for video in self._videos.values()}
        return files_fingerprint(
            [*self.names, *self.splits, *sorted(rates)],
            (path for video in self._videos.values() for path in (video.frames.path, *video.gaze)),
        )

    def check(self) -> None:
        """Look at sizes of all videos and at the first line of each gaze file."""
        errors = []
        for video in self._videos.values():
            frames = video.frames
            if not two_to_one(frames.width, frames.height):
                errors.append(
                    SaliencyDataError(
                        frames.path,
                        found=_not_a_sphere(frames),
                        expected="frames twice as wide as high",
                        remedy="leave the video out, or cut a stereo video to one eye",
                    )
                )
            for path in video.gaze:
                try:
                    _check_first_line(path)
                except SaliencyDataError as error:
                    errors.append(error)
        raise_all(self._root, errors)

    def close(self) -> None:
        """Let go of the video that is open."""
        if self._reader is not None:
            self._reader[1].close()
            self._reader = None


def near(t_s: np.ndarray, number: int, rate: float) -> np.ndarray:
    """Which times belong to frame ``number``: [(number - 1/2) / rate, (number + 1/2) / rate).

    Each time belongs to one frame exactly.
    """
    belongs: np.ndarray = np.floor(t_s * rate + 0.5) == number
    return belongs


def read_gaze(paths: tuple[Path, ...], frames_a_second: float) -> Gaze:
    """Gaze of the viewers of one video.

    Args:
        paths: a file for each viewer, whose folder names the viewer (``p012`` is number 12).
        frames_a_second: of the video; frame 1 is at 0 s.

    Raises:
        SaliencyDataError: a line of another form, or a direction off the panorama.
    """
    folders = [path.parent.name for path in paths]
    viewers = viewer_numbers([name.removeprefix("p") for name in folders])
    longitudes, latitudes, numbers, times = [], [], [], []
    for path, viewer in zip(paths, viewers, strict=True):
        frame, u, v = _read_file(path)
        longitudes.append(u * 360 - 180)
        latitudes.append(v * 180 - 90)  # from the bottom
        numbers.append(np.full(len(u), viewer))
        times.append((frame - 1) / frames_a_second)
    fixations = Fixations(
        np.concatenate(longitudes), np.concatenate(latitudes), np.concatenate(numbers)
    )
    return Gaze(fixations, np.concatenate(times))


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame indices and eye directions of one file, float64 (lines,) each."""
    values = []
    for line, text in enumerate(_lines(path), 1):
        if text.strip():
            values.append(_values(path, line, text))
    if not values:
        raise SaliencyDataError(
            path, "an empty file", f"lines {_LINE}", "fetch it again, or remove it"
        )
    frame, u, v = np.array(values).T
    return frame, u, v


def _values(path: Path, line: int, text: str) -> tuple[float, float, float]:
    parts = [part.strip() for part in text.split(",")]
    try:
        if len(parts) != 8 or (parts[0], parts[2], parts[5]) != ("frame", "forward", "eye"):
            raise ValueError
        frame, u, v = float(parts[1]), float(parts[6]), float(parts[7])
    except ValueError:
        raise SaliencyDataError(
            path, f"{text.strip()[:80]!r}", _LINE, "mend or remove the line", line=line
        ) from None
    if not (frame >= 1 and 0 <= u <= 1 and 0 <= v <= 1):
        raise SaliencyDataError(
            path,
            found=f"frame {frame:g}, eye {u:g}, {v:g}",
            expected="a frame of at least 1 and fractions of 0 to 1",
            remedy="mend or remove the line",
            line=line,
        )
    return frame, u, v


def _check_first_line(path: Path) -> None:
    if not path.stat().st_size:
        raise SaliencyDataError(
            path, "an empty file", f"lines {_LINE}", "fetch it again, or remove it"
        )
    with path.open(encoding="utf-8", errors="replace") as file:
        _values(path, 1, file.readline())


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _videos(root: Path, config: SourceConfig) -> dict[str, _Video]:
    """Videos with their gaze files, by name."""
    place = next((root / name for name in _VIDEO_FOLDERS if (root / name).is_dir()), None)
    traces = root / _GAZE_FOLDER
    if place is None or not traces.is_dir():
        missing = _VIDEO_FOLDERS[0] if place is None else _GAZE_FOLDER
        raise SaliencyDataError(
            root,
            found=f"no folder {missing}",
            expected=f"the folders {_VIDEO_FOLDERS[0]} and {_GAZE_FOLDER} of the release",
            remedy="set root to the folder that holds both",
        )
    files = {
        Path(key).name: path
        for key, path in by_stem(place, files_below(place, VIDEO_EXTENSIONS)).items()
    }
    gaze: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(files_below(traces, frozenset({".txt"}))):
        gaze[Path(file).name.split(".")[0]].append(traces / file)
    unpaired = [
        *(f"{path.name} (no gaze)" for name, path in files.items() if name not in gaze),
        *(f"{gaze[name][0].name} (no video)" for name in sorted(gaze) if name not in files),
    ]
    expected = "gaze files of each video, and a video of each gaze file"
    check_partners(root, unpaired, "name", expected)
    if not files:
        raise SaliencyDataError(root, "no videos", expected, "add or remove these files")
    errors, videos = [], {}
    for name, path in files.items():
        try:
            videos[name] = _Video(VideoFrames(path, config.frame_rate), tuple(gaze[name]))
        except SaliencyDataError as error:
            errors.append(error)
    raise_all(root, errors)
    return videos


def _not_a_sphere(frames: VideoFrames) -> str:
    return f"frames of {frames.width} x {frames.height} px, which are not twice as wide as high"
