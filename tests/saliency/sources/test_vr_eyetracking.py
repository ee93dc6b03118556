from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.sources.vr_eyetracking import VrEyeTrackingFrames, near, read_gaze

Video = Callable[..., Path]


def config(root: Path, **options: object) -> SourceConfig:
    return SourceConfig(source="vr_eyetracking", root=str(root), **options)  # type: ignore[arg-type]


def gaze(frames: int, u: float, v: float) -> str:
    """Eyes at one place; the head elsewhere."""
    return "".join(f"frame,{frame},forward,0.1,0.2,eye,{u},{v}\n" for frame in range(1, frames + 1))


@pytest.fixture
def release(tmp_path: Path, video: Video, text) -> Path:
    for name in ("001", "002", "003"):
        video(f"videos/{name}.avi", count=35, rate=10)
        text(f"Gaze_txt_files/p001/{name}.txt", gaze(35, 0.5, 0.75))
    text("Gaze_txt_files/p012/002._2017-10-13-10-28_ori_0.txt", gaze(12, 0.25, 0.5))
    return tmp_path


def test_frames_are_panoramas_and_videos_scenes(release: Path) -> None:
    source = open_source(config(release, test_names=("002",)))
    assert len(source) == 12
    assert source.names[:5] == ("001/00000", "001/00001", "001/00002", "001/00003", "002/00000")
    assert source.scenes == tuple(np.repeat(["001", "002", "003"], 4))
    assert set(source.splits[4:8]) == {"test"} and source.splits.count("train") == 8
    assert source.saliency(0) is None
    for index, shade in ((1, 70), (2, 140), (0, 0), (11, 210)):
        assert abs(source.image(index, 8, 16).mean() - shade) < 3


def test_gaze_of_a_frame_is_that_within_half_an_interval(release: Path) -> None:
    source = open_source(config(release))
    for index, counts in ((0, 5), (1, 10), (2, 10), (3, 10)):
        fixations = source.fixations(index)
        assert fixations is not None and len(fixations) == counts
        assert set(fixations.longitude_deg) == {0}
        assert set(fixations.latitude_deg) == {45}  # v is counted from the bottom
    second = source.fixations(5)
    assert second is not None
    assert np.bincount(second.viewer).tolist() == [0, 10] + 10 * [0] + [7]  # of .5 to 1.1 s
    assert set(second.longitude_deg[second.viewer == 12]) == {-90}


@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0, 29.97])
def test_each_time_belongs_to_the_nearest_frame(rate: float) -> None:
    times = np.arange(0, 400) / 30
    owners = np.stack([near(times, number, rate) for number in range(1000)])
    assert (owners.sum(axis=0) == 1).all()
    distance = np.abs(times - owners.argmax(axis=0) / rate)
    assert distance.max() <= 0.5 / rate + 1e-9


def test_no_gaze_at_a_frame(release: Path, text) -> None:
    text("Gaze_txt_files/p001/001.txt", gaze(3, 0.5, 0.5))
    source = open_source(config(release))
    assert source.fixations(0) is not None
    assert source.fixations(3) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("frame,2,forward,0,0,eye,0.5\n", "line 2: found 'frame,2,forward"),
        ("frame,2,eye,0,0,forward,0.5,0\n", "expected frame,<index>,forward"),
        ("frame,two,forward,0,0,eye,0,0\n", "line 2"),
        ("frame,2,forward,0,0,eye,1.2,0\n", r"frame 2, eye 1\.2, 0; expected"),
        ("frame,2,forward,0,0,eye,nan,0\n", "eye nan"),
        ("frame,0,forward,0,0,eye,0,0\n", "frame 0"),
    ],
)
def test_faults_of_lines(line: str, message: str, text) -> None:
    path = text("p001/001.txt", gaze(1, 0.5, 0.5) + line)
    with pytest.raises(SaliencyDataError, match=message):
        read_gaze((path,), 10)


def test_faults_of_files(release: Path, video: Video, text) -> None:
    with pytest.raises(SaliencyDataError, match="no folder videos"):
        VrEyeTrackingFrames(config(release / "videos"))
    text("Gaze_txt_files/p003/002.txt", "")
    video("videos/003.avi", count=35, rate=10, size=(64, 64))
    with pytest.raises(SaliencyDataError) as caught:
        open_source(config(release))
    assert "2 files that cannot be used" in str(caught.value)
    assert "frames of 64 x 64 px" in str(caught.value) and "an empty file" in str(caught.value)
    with pytest.raises(UnreadableImageError, match="not twice as wide as high"):
        VrEyeTrackingFrames(config(release)).image(11, 8, 16)
    (release / "videos" / "001.avi").write_bytes(b"garbage")
    with pytest.raises(SaliencyDataError, match=r"001\.avi: found a file that OpenCV cannot open"):
        VrEyeTrackingFrames(config(release))
    (release / "videos" / "001.avi").unlink()
    video("videos/009.avi", count=3)
    with pytest.raises(SaliencyDataError, match=r"009\.avi \(no gaze\), 001\.txt \(no video\)"):
        VrEyeTrackingFrames(config(release))


def test_limit_and_fingerprint(release: Path) -> None:
    source = open_source(config(release, limit=2, test_names=("002",)))
    assert sorted(source.splits) == ["test", "test", "train", "train"]
    prints = {
        open_source(config(release, frame_rate=rate)).fingerprint for rate in (1.0, 1.01, 2.0)
    }
    assert len(prints) == 3
