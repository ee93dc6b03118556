from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.saliency_files import check_saliency, read_saliency, stem

VALUES = np.arange(32, dtype=np.float64).reshape(4, 8)


def test_pictures_of_8_and_16_bits_keep_their_values(picture) -> None:
    for dtype, factor in ((np.uint8, 8), (np.uint16, 2000)):
        path = picture(f"{np.dtype(dtype)}.png", value=(VALUES * factor).astype(dtype))
        found = read_saliency(path)
        assert found.dtype == np.float32
        assert (found == VALUES * factor).all()


def test_pictures_with_three_equal_channels_are_grey(picture) -> None:
    grey = np.repeat(VALUES.astype(np.uint8)[..., None], 3, axis=2)
    assert (read_saliency(picture("a.png", value=grey)) == VALUES).all()
    grey[2, 2, 0] += 1
    with pytest.raises(UnreadableImageError, match="a picture with colours"):
        read_saliency(picture("b.png", value=grey))


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for values in (VALUES, VALUES.astype(np.float32), VALUES[None], VALUES.astype(np.int16)):
        np.save(path, values)
        assert (read_saliency(path) == VALUES).all()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("Hsalmap_1_8x4_32b.bin", "<f4"),
        ("SHE1_8x4x1_64b.bin", "<f8"),
        ("P1_8x4_32b_salmap.bin", "<f4"),
        ("map.bin", "<f4"),
        ("map.bin", "<f8"),
    ],
)
def test_raw_floats(name: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / name
    VALUES.astype(dtype).tofile(path)
    check_saliency(path)
    assert (read_saliency(path) == VALUES).all()


def test_two_eyes_count_alike(tmp_path: Path) -> None:
    right = VALUES[::-1]
    both = np.stack([VALUES, 10 * right])
    path = tmp_path / "a_8x4x2_32b.bin"
    both.astype("<f4").tofile(path)
    expected = (VALUES + right) / (2 * VALUES.sum())
    np.testing.assert_allclose(read_saliency(path), expected, rtol=1e-6)
    np.save(tmp_path / "a.npy", both)
    np.testing.assert_allclose(read_saliency(tmp_path / "a.npy"), expected, rtol=1e-6)


def test_densities_beyond_single_precision_are_scaled(tmp_path: Path) -> None:
    for factor in (1e-60, 1e60):
        np.save(tmp_path / "a.npy", VALUES * factor)
        np.testing.assert_allclose(read_saliency(tmp_path / "a.npy"), VALUES / 31, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values * 0, "a map that is 0 everywhere"),
        (lambda values: values - 3, "-3 in row 0, column 0, and 3 such values"),
        (lambda values: np.where(values == 9, np.nan, values), "nan in row 1, column 1"),
        (lambda values: np.where(values == 9, np.inf, values), "inf in row 1, column 1"),
        (lambda values: values[:, :7], "a map of 7 x 4; expected a map twice as wide"),
        (lambda values: values[0], "a map of 8"),
        (lambda values: np.stack([values] * 3), "3 maps of 8 x 4"),
        (lambda values: values[:0, :0], "a map of 0 x 0"),
    ],
)
def test_faults_of_values(change, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, change(VALUES))
    with pytest.raises(SaliencyDataError, match=message) as caught:
        read_saliency(path)
    assert str(caught.value).startswith(f"{path}: found")


def test_faults_of_raw_floats(tmp_path: Path) -> None:
    path = tmp_path / "a_8x4_32b.bin"
    VALUES.astype("<f8").tofile(path)
    with pytest.raises(SaliencyDataError, match="found 256 bytes; expected 128"):
        check_saliency(path)
    unnamed = tmp_path / "a.bin"
    for length in (0, 4, 100, 130):
        unnamed.write_bytes(bytes(length))
        with pytest.raises(SaliencyDataError, match=f"{length} bytes of unknown layout"):
            check_saliency(unnamed)


def test_faults_of_pictures(picture, tmp_path: Path) -> None:
    with pytest.raises(SaliencyDataError, match="a map of 64 x 31"):
        check_saliency(picture("a.png", (64, 31)))
    with pytest.raises(SaliencyDataError, match="0 everywhere"):
        read_saliency(picture("b.png", value=0))
    path = picture("c.png", value=np.random.default_rng(0).integers(0, 255, (32, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:500])
    check_saliency(path)  # headers only
    with pytest.raises(UnreadableImageError, match="cannot be decoded"):
        read_saliency(path)
    (tmp_path / "d.png").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match="empty file"):
        check_saliency(tmp_path / "d.png")
    with pytest.raises(SaliencyDataError, match="no such file"):
        check_saliency(tmp_path / "e.png")
    (tmp_path / "f.mat").write_bytes(b"1")
    with pytest.raises(SaliencyDataError, match=r"the ending '\.mat'"):
        check_saliency(tmp_path / "f.mat")


def test_stems_leave_the_layout_out() -> None:
    assert stem(Path("x/Hsalmap_50_2048x1024_32b.bin")) == "Hsalmap_50"
    assert stem(Path("P1_8x4x2_64b_salmap.bin")) == "P1"
    assert stem(Path("P1_8x4_32b.png")) == "P1_8x4_32b"
    assert stem(Path("P1.bin")) == "P1"
