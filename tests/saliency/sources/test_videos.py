"""Videos without labels: frames at a rate, one video open at a time, damage named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.saliency import video as module
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.store import PanoramaStore

Video = Callable[..., Path]


def config(root: Path, **options: object) -> SourceConfig:
    return SourceConfig(source="videos", root=str(root), **options)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, video: Video) -> Path:
    video("videos/indoor/a.mp4", count=25, rate=10)
    video("videos/b.avi", count=35, rate=10)
    (tmp_path / "videos/notes.md").write_text("of no account")
    return tmp_path / "videos"


def test_frames_of_all_videos_at_a_rate(folder: Path) -> None:
    source = open_source(config(folder))
    assert source.names == (
        *("b/00000", "b/00001", "b/00002", "b/00003"),
        *("indoor/a/00000", "indoor/a/00001", "indoor/a/00002"),
    )
    assert source.scenes == ("b",) * 4 + ("indoor/a",) * 3
    assert set(source.splits) == {"unlabelled"}
    assert source.saliency(0) is None and source.fixation_sets(0) == ()
    assert source.passed_over == {".md": 1}
    # Frame k shows second k, which is frame 10 k of the video: shade 70 k.
    for index, shade in ((0, 0), (1, 70), (3, 210), (5, 70), (4, 0)):
        assert abs(source.image(index, 8, 16).mean() - shade) < 5
    assert len(open_source(config(folder, frame_rate=2.0))) == 7 + 5
    assert len(open_source(config(folder, limit=3))) == 3
    assert {source.width_px(at) for at in range(7)} == {64}
    assert source.file(0) == folder / "b.avi"


def test_lists_hold_videos_out(folder: Path) -> None:
    (folder / "test.txt").write_text("indoor/a  # its file is that of a tested one\n\n")
    source = open_source(config(folder, test_list="test.txt"))
    assert set(source.scenes) == {"b"}
    assert set(open_source(config(folder, test_names=("b",))).scenes) == {"indoor/a"}
    with pytest.raises(SaliencyDataError, match="no videos but those that are held out"):
        open_source(config(folder, test_names=("b", "indoor/a")))


def test_all_broken_videos_are_named(folder: Path, video: Video) -> None:
    (folder / "cut.mp4").write_bytes((folder / "indoor/a.mp4").read_bytes()[:200])
    (folder / "none.mkv").write_bytes(b"")
    with pytest.raises(SaliencyDataError) as caught:
        open_source(config(folder))
    assert "2 files that cannot be used" in str(caught.value)
    assert "cut.mp4" in str(caught.value) and "none.mkv" in str(caught.value)
    (folder / "cut.mp4").unlink()
    (folder / "none.mkv").unlink()
    video("videos/flat.avi", size=(64, 48))
    with pytest.raises(SaliencyDataError, match="frames of 64 x 48 px, which are not twice"):
        open_source(config(folder))
    (folder.parent / "empty").mkdir()
    with pytest.raises(SaliencyDataError, match=r"no videos.*expected videos"):
        open_source(config(folder.parent / "empty"))


def test_a_store_opens_each_video_once_and_keeps_no_frames(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that ask out of order would start a video again for each frame."""
    source, opened = open_source(config(folder, frame_rate=5.0)), []

    class Counted(module._Opened):
        def __init__(self, path: Path) -> None:
            opened.append(path.name)
            super().__init__(path)

    monkeypatch.setattr(module, "_Opened", Counted)
    stored = PanoramaStore(tmp_path / "store").fill(
        source, list(range(len(source))), (8, 16), label="videos"
    )
    assert opened == ["b.avi", "a.mp4"]
    images = PanoramaStore(tmp_path / "store").images()
    assert len(images) == len(stored.names) == 18 + 13
    shades = [images[at].mean() for at in range(18)]
    assert np.abs(np.array(shades) - np.arange(0, 18) * 14).max() < 5
