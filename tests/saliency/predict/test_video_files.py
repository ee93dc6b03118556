from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.predict.prediction import ahead
from ssl_kedro.saliency.predict.video_files import VideoWriter
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.video import Video, taken_frames, taken_rate


def made_video(
    path: Path, count: int = 25, rate: float = 10, size: tuple[int, int] = (64, 32)
) -> Path:
    """Frame k has grey value 8 k + 16, written by OpenCV itself."""
    file = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    assert file.isOpened()
    for k in range(count):
        file.write(np.full((size[1], size[0], 3), 8 * k + 16, np.uint8))
    file.release()
    return path


def test_facts_and_every_frame(tmp_path: Path) -> None:
    path = made_video(tmp_path / "v.mp4")
    video = Video(path)
    assert (video.width, video.height, video.frames_a_second, video.total) == (64, 32, 10, 25)
    found = list(taken_frames(path))
    assert [frame.number for frame in found] == list(range(25))
    assert [frame.shown_s for frame in found] == [pytest.approx(k / 10) for k in range(25)]
    for k, frame in enumerate(found):
        assert frame.pixels.shape == (32, 64, 3)
        assert frame.pixels.mean() == pytest.approx(8 * k + 16, abs=3.9)


@pytest.mark.parametrize(
    ("count", "rate", "expected"),
    [
        (25, 1, [0, 10, 20]),  # 2.5 s are as near to 3 s as to 2 s
        (24, 1, [0, 10]),
        (26, 1, [0, 10, 20]),
        (20, 4, [0, 2, 5, 7, 10, 12, 15, 17]),
        (3, 1, [0]),
        (5, 100, [0, 1, 2, 3, 4]),
    ],
)
def test_a_lower_rate_keeps_the_duration(
    tmp_path: Path, count: int, rate: float, expected: list[int]
) -> None:
    path = made_video(tmp_path / "v.mp4", count)
    found = [frame.number for frame in taken_frames(path, rate)]
    assert found == expected
    duration = len(found) / taken_rate(Video(path), rate)
    assert abs(duration - count / 10) <= 0.5 / min(rate, 10) or len(found) == 1


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    red = np.zeros((3, 32, 64), np.uint8)
    red[0] = 200
    with closing(VideoWriter(path, 32, 64, 5)) as video:
        video.add(red)
        video.add(red)
        with pytest.raises(ValueError, match=r"expected a frame of shape \(3, 32, 64\)"):
            video.add(red[:, :30])
    stored = cv2.VideoCapture(str(path))
    assert stored.get(cv2.CAP_PROP_FPS) == 5
    pixel = stored.read()[1][16, 32]
    assert pixel[2] > 150 and pixel[0] < 60  # OpenCV's own order is blue, green, red
    frame = next(taken_frames(path))
    assert frame.pixels[..., 0].mean() > 150 and frame.pixels[..., 2].mean() < 60
    with pytest.raises(ValueError, match="even height and width, found 31 x 64"):
        VideoWriter(path, 31, 64, 5)
    with pytest.raises(OSError, match="cannot write"):
        VideoWriter(tmp_path / "nowhere" / "v.mp4", 32, 64, 5)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(SaliencyDataError, match="not a video of a known format"):
        Video(path)
    with pytest.raises(SaliencyDataError):
        next(taken_frames(path))


def test_reading_ahead_is_bounded_and_passes_on_errors() -> None:
    made = []
    closed = []

    def numbers(end: int) -> Generator[int, None, None]:
        try:
            for k in range(end):
                made.append(k)
                yield k
            raise UnreadableImageError("broken off")
        finally:
            closed.append(True)

    coming = ahead(numbers(100), 3)
    assert next(coming) == 0
    time.sleep(0.05)
    assert made[-1] <= 4
    coming.close()
    assert closed == [True]
    seen = []
    with pytest.raises(UnreadableImageError, match="broken off"):
        for k in ahead(numbers(5), 3):
            seen.append(k)
    assert seen == [0, 1, 2, 3, 4]
