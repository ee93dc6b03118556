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

The release lists its 134 training and 74 test videos in a spreadsheet, ``train_test_set.xlsx``
(thesis 4.4 has 75, 4,700 frames for training and 1,300 of the others); save the names as lists, or
give ``test_names``, or ``test_share`` decides over videos.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.sources import layouts
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.fixation_files import Gaze, viewer_numbers
from ssl_kedro.saliency.sources.frames import FramePanoramas, opened_videos
from ssl_kedro.saliency.video import VIDEO_EXTENSIONS

_VIDEO_FOLDERS = ("videos", "Videos")
_GAZE_FOLDER = "Gaze_txt_files"
_LINE = "frame,<index>,forward,<x>,<y>,eye,<x>,<y>"


class VrEyeTrackingFrames(FramePanoramas):
    """Frames of the videos, with the gaze of all viewers at their time.

    Args:
        config: ``root``, ``frame_rate``, lists or ``test_names`` (videos) or ``test_share``,
            ``limit`` (frames), ``seed``.

    Raises:
        SaliencyDataError: missing folders, videos without gaze or the reverse, damaged videos.
    """

    def __init__(self, config: SourceConfig) -> None:
        root = layouts.existing(config)
        files, gaze = _videos(root)
        by_video = dataclasses.replace(config, scene_pattern=None)
        sides = layouts.assigned(list(files), by_video, root)
        splits = {name: split for name, (_, split) in sides.items()}
        videos = opened_videos({name: files[name] for name in splits}, config, root)
        super().__init__(videos, splits, root, config)
        self._traces = {name: gaze[name] for name in splits}
        self._read_gaze = lru_cache(maxsize=1)(read_gaze)

    def saliency(self, index: int) -> None:  # noqa: ARG002
        """None: the release has gaze only."""
        return

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        """Gaze points around the frame's time; () where nobody looked."""
        name, number, _ = self._frames[index]
        video = self._videos[name]
        with self._lock:
            gaze = self._read_gaze(self._traces[name], video.frames_a_second)
        inside = near(gaze.t_s, number, video.rate)
        return (gaze.fixations.of(inside),) if inside.any() else ()

    def _checks(self) -> list[Callable[[], object]]:
        traces = (path for of_video in self._traces.values() for path in of_video)
        # The first line of each gaze file.
        return [*super()._checks(), *(partial(next, _lines(path)) for path in traces)]

    def _files(self, name: str) -> tuple[Path, ...]:
        return (*super()._files(name), *self._traces[name])


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


def _videos(root: Path) -> tuple[dict[str, Path], dict[str, tuple[Path, ...]]]:
    """Videos and their gaze files, by name."""
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
    return files, {name: tuple(of_video) for name, of_video in gaze.items()}
