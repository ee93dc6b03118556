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

import dataclasses
import threading
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource
from ssl_kedro.saliency.sources import layouts
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError, all_of
from ssl_kedro.saliency.sources.files import files_fingerprint, two_to_one
from ssl_kedro.saliency.sources.fixation_files import Gaze, viewer_numbers
from ssl_kedro.saliency.video import VIDEO_EXTENSIONS, VideoFrames, resized_frame

_VIDEO_FOLDERS = ("videos", "Videos")
_GAZE_FOLDER = "Gaze_txt_files"
_LINE = "frame,<index>,forward,<x>,<y>,eye,<x>,<y>"


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
        self._root = layouts.existing(config)
        self._videos = _videos(self._root, config)
        by_video = dataclasses.replace(config, scene_pattern=None)
        sides = layouts.assigned(list(self._videos), by_video, self._root)
        frames = [
            (name, number, side)
            for name, (_, side) in sides.items()
            for number in range(len(self._videos[name][0]))
        ]
        kept = layouts.chosen([side for *_, side in frames], config.limit, config.seed)
        self._frames = [frames[index] for index in kept]
        super().__init__(
            [f"{name}/{number:05d}" for name, number, _ in self._frames],
            [name for name, *_ in self._frames],
            [side for *_, side in self._frames],
        )
        self._lock = threading.Lock()
        self._read: VideoFrames | None = None
        self._read_gaze = lru_cache(maxsize=1)(read_gaze)

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        """One frame brought to a size; see :class:`PanoramaSource`."""
        name, number, _ = self._frames[index]
        video, _ = self._videos[name]
        if not two_to_one(video.width, video.height):
            raise UnreadableImageError(f"{video.path}: {_not_a_sphere(video)}")
        with self._lock:
            if self._read is not video:
                self.close()
                self._read = video
            return resized_frame(video.frame(number).pixels, height, width)

    def saliency(self, index: int) -> None:  # noqa: ARG002
        """None: the release has gaze only."""
        return

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        """Gaze points around the frame's time; () where nobody looked."""
        name, number, _ = self._frames[index]
        video, traces = self._videos[name]
        with self._lock:
            gaze = self._read_gaze(traces, video.frames_a_second)
        inside = near(gaze.t_s, number, video.rate)
        return (gaze.fixations.of(inside),) if inside.any() else ()

    @property
    def fingerprint(self) -> str:
        """Changes with names, splits, rate, and sizes and dates of videos and gaze files."""
        rates = {str(video.rate) for video, _ in self._videos.values()}
        return files_fingerprint(
            [*self.names, *self.splits, *sorted(rates)],
            (path for video, traces in self._videos.values() for path in (video.path, *traces)),
        )

    def check(self) -> None:
        """Look at sizes of all videos and at the first line of each gaze file."""
        videos = [partial(_check_size, video) for video, _ in self._videos.values()]
        gaze = [
            partial(next, _lines(path)) for _, traces in self._videos.values() for path in traces
        ]
        all_of(self._root, [*videos, *gaze])

    def close(self) -> None:
        """Let go of the video that is open."""
        if self._read is not None:
            self._read.close()
            self._read = None


def near(t_s: np.ndarray, number: int, rate: float) -> np.ndarray:
    """Which times belong to frame ``number``: [(number - 1/2) / rate, (number + 1/2) / rate).

    Each time belongs to one frame exactly.
    """
    return np.asarray(np.floor(t_s * rate + 0.5) == number)


def read_gaze(paths: tuple[Path, ...], frames_a_second: float) -> Gaze:
    """Gaze of the viewers of one video.

    Args:
        paths: a file for each viewer, whose folder names the viewer (``p012`` is number 12).
        frames_a_second: of the video; frame 1 is at 0 s.

    Raises:
        SaliencyDataError: a line of another form, or a direction off the panorama.
    """
    viewers = viewer_numbers([path.parent.name.removeprefix("p") for path in paths])
    lines = [np.array(list(_lines(path))) for path in paths]
    frame, u, v = np.concatenate(lines).T
    viewer = np.repeat(viewers, [len(of_one) for of_one in lines])
    # v counts from the bottom.
    return Gaze(Fixations(u * 360 - 180, v * 180 - 90, viewer), (frame - 1) / frames_a_second)


def _lines(path: Path) -> Iterator[tuple[float, float, float]]:
    """Index of the frame and direction of the eyes in each line of a file, as it is read."""
    empty = True
    with path.open(encoding="utf-8", errors="replace") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                empty = False
                yield _values(path, line, text)
    if empty:
        raise SaliencyDataError(
            path, "an empty file", f"lines {_LINE}", "fetch it again, or remove it"
        )


def _values(path: Path, line: int, text: str) -> tuple[float, float, float]:
    try:
        frame_word, frame, forward, _, _, eye, u, v = map(str.strip, text.split(","))
        if (frame_word, forward, eye) != ("frame", "forward", "eye"):
            raise ValueError
        found = float(frame), float(u), float(v)
    except ValueError:
        raise SaliencyDataError(
            path, f"{text.strip()[:80]!r}", _LINE, "mend or remove the line", line=line
        ) from None
    if not (found[0] >= 1 and all(0 <= share <= 1 for share in found[1:])):
        raise SaliencyDataError(
            path,
            found="frame {:g}, eye {:g}, {:g}".format(*found),
            expected="a frame of at least 1 and fractions of 0 to 1",
            remedy="mend or remove the line",
            line=line,
        )
    return found


def _videos(root: Path, config: SourceConfig) -> dict[str, tuple[VideoFrames, tuple[Path, ...]]]:
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
    stems = layouts.by_stem(place, VIDEO_EXTENSIONS)
    files = {Path(key).name: path for key, path in stems.items()}
    gaze: dict[str, list[Path]] = defaultdict(list)
    for file in layouts.files_below(traces, frozenset({".txt"})):
        gaze[Path(file).name.split(".")[0]].append(traces / file)
    unpaired = [
        *(f"{path.name} (no gaze)" for name, path in files.items() if name not in gaze),
        *(f"{gaze[name][0].name} (no video)" for name in sorted(gaze) if name not in files),
    ]
    expected = "gaze files of each video, and a video of each gaze file"
    layouts.check_partners(root, unpaired, "name", expected)
    if not files:
        raise SaliencyDataError(root, "no videos", expected, "add or remove these files")
    calls = [partial(VideoFrames, path, config.frame_rate) for path in files.values()]
    return {
        name: (video, tuple(gaze[name]))
        for name, video in zip(files, all_of(root, calls), strict=True)
    }


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
