"""Malformed inputs of whole sources: which file is named, and before what work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.core.config import ConfigError
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.ground_truth import truth_arrays
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.store import PanoramaStore

MAP = np.random.default_rng(0).random((16, 32)) + 0.1
CSV = "lon_deg,lat_deg,subject\n10,20,1\n-30,5,2\n"


def good(root: Path) -> None:
    """Four panoramas with a map as raw floats and fixations each."""
    for name in ("images", "saliency", "fixations"):
        (root / name).mkdir()
    for name in "abcd":
        pixels = (MAP * 200).astype(np.uint8)
        Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(root / "images" / f"{name}.jpg")
        MAP.astype("<f4").tofile(root / "saliency" / f"{name}_32x16_32b.bin")
        (root / "fixations" / f"{name}.csv").write_text(CSV)


def config(root: Path) -> SourceConfig:
    return SourceConfig(source="folder", root=str(root))


def replaced(old: str, new: str, write: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Replaces one file of the panorama b by another."""

    def change(root: Path) -> Path:
        (root / old).unlink()
        path = root / new
        write(path)
        return path

    return change


def with_text(text: str) -> Callable[[Path], Path]:
    name = "fixations/b.csv"
    return replaced(name, name, lambda path: path.write_text(text))


def with_map(values: np.ndarray) -> Callable[[Path], Path]:
    return replaced(
        "saliency/b_32x16_32b.bin", "saliency/b.npy", lambda path: np.save(path, values)
    )


def with_bin(content: bytes) -> Callable[[Path], Path]:
    name = "saliency/b_32x16_32b.bin"
    return replaced(name, name, lambda path: path.write_bytes(content))


def one_value(value: float) -> np.ndarray:
    values = MAP.copy()
    values[3, 4] = value
    return values


WHOLE = MAP.astype("<f4").tobytes()
# What is wrong, and whether a header shows it: then nothing at all has been read before.
CASES: dict[str, tuple[Callable[[Path], Path], str, bool]] = {
    "zero-byte image": (
        replaced("images/b.jpg", "images/b.jpg", lambda path: path.write_bytes(b"")),
        "an empty file",
        True,
    ),
    "text called an image": (
        replaced("images/b.jpg", "images/b.jpg", lambda path: path.write_text("no image")),
        "not an image",
        True,
    ),
    "truncated floats": (with_bin(WHOLE[:-7]), "found 2041 bytes; expected 2048", True),
    "empty floats": (with_bin(b""), "an empty file", True),
    "a wrong header": (with_text("time,where\n1,2\n"), "found the columns time, where", True),
    "no header": (with_text("10,20,1\n-30,5,2\n"), "found the columns 10, 20, 1", True),
    "an empty table": (with_text(""), "an empty file", True),
    "a header alone": (with_text("lon_deg,lat_deg\n"), "a header and no lines", False),
    "off the sphere": (
        with_text(CSV + "190,0,1\n"),
        r"line 4: found lon_deg = 190; expected -180 to 180",
        False,
    ),
    "no number": (with_text(CSV + "nan,0,1\n"), "line 4: found 'nan'", False),
    "NaN in a map": (with_map(one_value(np.nan)), "found nan in row 3, column 4", False),
    "infinity in a map": (with_map(one_value(np.inf)), "found inf in row 3, column 4", False),
    "a negative map": (with_map(one_value(-1.0)), "found -1 in row 3, column 4", False),
    "an empty map": (with_map(np.zeros((16, 32))), "a map that is 0 everywhere", False),
    "a square map": (with_map(np.ones((16, 16))), "a map of 16 x 16", True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_named(case: str, tmp_path: Path) -> None:
    change, message, by_header = CASES[case]
    good(tmp_path)
    source = open_source(config(tmp_path))
    assert len(truth_arrays(source, [0, 1, 2, 3], "auto", 16, 5.0)["maps"]) == 4
    path = change(tmp_path)
    if by_header:
        with pytest.raises(SaliencyDataError, match=message) as found:
            open_source(config(tmp_path))
    else:
        source = open_source(config(tmp_path))
        with pytest.raises(SaliencyDataError, match=message) as found:
            truth_arrays(source, [0, 1, 2, 3], "auto", 16, 5.0)
    assert str(path) in str(found.value)
    assert "To solve it, " in str(found.value)


def test_several_faults_are_listed_at_once(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    (tmp_path / "fixations" / "c.csv").write_text("")
    (tmp_path / "saliency" / "d_32x16_32b.bin").write_bytes(WHOLE[:100])
    with pytest.raises(SaliencyDataError, match="3 files that cannot be used") as found:
        open_source(config(tmp_path))
    for name in ("a.jpg", "c.csv", "d_32x16_32b.bin"):
        assert name in str(found.value)


def test_a_broken_image_is_named_though_its_name_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xe9.png")
    (tmp_path / name).write_text("no image")
    Image.new("RGB", (32, 16)).save(tmp_path / "a.png")
    with pytest.raises(SaliencyDataError, match=r"b\\xe9\.png: found an image that cannot be"):
        open_source(config(tmp_path)).check()


def test_an_image_that_is_cut_is_left_out_by_name_or_ends_the_run(tmp_path: Path) -> None:
    """Its header is whole: only decoding shows it."""
    good(tmp_path)
    path = tmp_path / "images" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    source = open_source(config(tmp_path))
    with pytest.raises(UnreadableImageError, match=r"b\.jpg: cannot be decoded"):
        source.image(1, 8, 16)
    store = PanoramaStore(tmp_path / "store")
    with pytest.raises(ConfigError, match=r"b.*cannot be decoded"):
        store.fill(source, [0, 1, 2, 3], (8, 16), label="mine")
    kept = store.fill(source, [0, 1, 2, 3], (8, 16), label="mine", max_skipped=0.5)
    assert kept.names == ["a", "c", "d"]
    assert kept.skipped[0][0] == "b"


def test_a_video_without_frames_is_named(tmp_path: Path, video, text) -> None:
    video("videos/001.mp4")
    text("Gaze_txt_files/p1/001.txt", "frame,1,forward,0.5,0.5,eye,0.5,0.5\n" * 3)
    empty = tmp_path / "videos" / "002.mp4"
    text("Gaze_txt_files/p1/002.txt", "frame,1,forward,0.5,0.5,eye,0.5,0.5\n" * 3)
    whole = (tmp_path / "videos" / "001.mp4").read_bytes()
    for content in (b"", whole[:40], b"no video" * 50):
        empty.write_bytes(content)
        with pytest.raises((SaliencyDataError, UnreadableImageError), match=r"002\.mp4"):
            open_source(SourceConfig(source="vr_eyetracking", root=str(tmp_path)))
    video("videos/002.mp4", count=0)
    with pytest.raises((SaliencyDataError, UnreadableImageError), match=r"002\.mp4"):
        open_source(SourceConfig(source="vr_eyetracking", root=str(tmp_path)))
