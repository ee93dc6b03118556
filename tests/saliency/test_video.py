from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency import video as module
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.video import VideoFrames, resized_frame

Video = Callable[..., Path]


def shades(frames: VideoFrames) -> list[int]:
    """Number of the source frame of each, which is a seventh of its shade."""
    return [round(frame.pixels.mean() / 7) for frame in frames]


@pytest.mark.parametrize("name", ["a.avi", "a.mp4"])
def test_frames_at_a_rate(name: str, video: Video) -> None:
    frames = VideoFrames(video(name, count=35, rate=10), 1)
    assert (frames.width, frames.height, frames.frames_a_second) == (64, 32, 10)
    assert frames.duration_s == 3.5
    assert [frame.shown_s for frame in frames] == pytest.approx([0, 1, 2, 3])
    assert shades(frames) == [0, 10, 20, 30]
    assert len(frames) == 4


@pytest.mark.parametrize(
    ("count", "rate", "expected"),
    [
        (35, 2.0, [0, 5, 10, 15, 20, 25, 30]),
        # 0, .25, .5, .75 s: the nearest frames of 0, 2.5, 5, 7.5, the later where two are.
        (9, 4.0, [0, 2, 5, 7]),
        (3, 20.0, [0, 0, 1, 1, 2]),  # faster than the video: frames repeat
        (35, 0.3, [0, 33]),
        (1, 1.0, [0]),
        (11, 1.0, [0, 10]),
        (10, 1.0, [0]),  # its last frame is at .9 s
    ],
)
def test_other_rates(count: int, rate: float, expected: list[int], video: Video) -> None:
    assert shades(VideoFrames(video("a.avi", count=count, rate=10), rate)) == expected


def test_frame_rates_that_are_not_whole(video: Video) -> None:
    frames = VideoFrames(video("a.avi", count=60, rate=30000 / 1001), 1)
    assert shades(frames) == [0, 30]


def test_colours_are_red_green_blue(video: Video) -> None:
    pixels = next(iter(VideoFrames(video("a.avi", colour=(0, 0, 200)), 1))).pixels
    assert pixels.shape == (32, 64, 3)
    assert np.abs(pixels.mean(axis=(0, 1)) - [200, 0, 0]).max() < 8


def test_frames_by_number_in_any_order(video: Video) -> None:
    frames = VideoFrames(video("a.avi", count=35, rate=10), 1)
    with closing(frames):
        found = [round(frames.frame(index).pixels.mean() / 7) for index in (1, 1, 3, 0, 2)]
        assert found == [10, 10, 30, 0, 20]
        with pytest.raises(IndexError, match="frame 4 of a video with 4"):
            frames.frame(4)


def test_no_frame_is_kept(video: Video) -> None:
    path = video("a.avi", count=300, rate=30, size=(256, 128))
    peaks = []
    for rate in (1, 30):
        tracemalloc.start()
        for _ in VideoFrames(path, rate):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 100_000  # one frame has 98,304 bytes, all have 29 MB


def test_a_variable_frame_rate(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames at 0, .1, .2, 2.5, 2.6, 2.7 s: the one at 2.5 s stands for 1 and 2 s too late."""
    times = iter([0.0, 0.1, 0.2, 2.5, 2.6, 2.7])
    monkeypatch.setattr(module._Opened, "_time", lambda *_: next(times))
    monkeypatch.setattr(module._Opened, "header", lambda _: (64, 32, 2.0, 6))
    found = [frame.shown_s for frame in VideoFrames(video("a.avi", count=6), 1)]
    assert found == [0.0, 2.5, 2.5]


def test_timestamps_that_stand_still_give_way_to_the_rate(
    video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    opencv = module.opencv()

    real = opencv.VideoCapture

    class Silent:
        """A decoder that knows no timestamps."""

        def __init__(self, path: str) -> None:
            self.capture = real(path)

        def get(self, what: int) -> float:
            return 0.0 if what == opencv.CAP_PROP_POS_MSEC else self.capture.get(what)

        def __getattr__(self, name: str) -> object:
            return getattr(self.capture, name)

    path = video("a.avi", count=35, rate=10)
    monkeypatch.setattr(opencv, "VideoCapture", Silent)
    assert shades(VideoFrames(path, 1)) == [0, 10, 20, 30]


def test_frames_are_counted_where_the_header_does_not_say(
    video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = video("a.avi", count=25, rate=10)
    monkeypatch.setattr(module._Opened, "header", lambda _: (64, 32, 10.0, 0))
    assert shades(VideoFrames(path, 1)) == [0, 10, 20]


def test_a_video_that_is_cut(video: Video) -> None:
    path = video("a.avi", count=35, rate=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=r"ends after \d+ frames .* says 3\.50 s"):
        list(VideoFrames(path, 1))


def test_faults(video: Video, tmp_path: Path) -> None:
    with pytest.raises(SaliencyDataError, match="no such file"):
        VideoFrames(tmp_path / "none.mp4", 1)
    for content in (b"", b"garbage" * 1000):
        (tmp_path / "b.mp4").write_bytes(content)
        with pytest.raises(SaliencyDataError, match=r"b\.mp4: found a file that OpenCV cannot"):
            VideoFrames(tmp_path / "b.mp4", 1)
    with pytest.raises(SaliencyDataError, match="a video without a frame"):
        VideoFrames(video("c.avi", count=0), 1)
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a frame rate above 0"):
            VideoFrames(tmp_path / "none.mp4", rate)


def test_frames_at_a_size_are_antialiased() -> None:
    stripes = np.zeros((64, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    found = resized_frame(stripes, 8, 16)
    assert found.shape == (3, 8, 16)
    assert np.abs(found.astype(int) - 127.5).max() < 8
