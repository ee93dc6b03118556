"""Somebody else's maps, read from a folder by the names of panoramas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.saliency.given_maps import MapFolder, read_maps
from ssl_kedro.saliency.sources.errors import SaliencyDataError

ROWS, COLUMNS = 16, 32


def smooth(height: int, width: int) -> np.ndarray:
    """A function of the directions alone, whatever the size of the map."""
    latitude = (np.arange(height) + 0.5) / height * np.pi
    longitude = (np.arange(width) + 0.5) / width * 2 * np.pi
    return 2 + np.sin(latitude)[:, None] * (1 + np.cos(longitude))[None]


def test_maps_are_found_by_the_names_of_panoramas(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    for name in ("a.npy", "video/00001.npy", "short.npy"):
        np.save(tmp_path / name, smooth(ROWS, COLUMNS))
    folder = MapFolder(tmp_path)
    known = ["a", "video/00001", "test/short", "train/unseen"]
    paths = folder.paired(["test/short", "a", "video/00001"], known)
    assert [path.stem for path in paths] == ["short", "a", "00001"]


def test_the_end_of_a_name_serves_only_where_it_is_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "00001.npy", smooth(ROWS, COLUMNS))
    with pytest.raises(SaliencyDataError, match=r"no map of one/00001; maps of no panorama: 00001"):
        MapFolder(tmp_path).paired(["one/00001"], ["one/00001", "two/00001"])


def test_missing_and_surplus_maps_are_named_together(tmp_path: Path) -> None:
    for name in ("a", "b_typo", "trained"):
        np.save(tmp_path / f"{name}.npy", smooth(ROWS, COLUMNS))
    with pytest.raises(SaliencyDataError) as caught:
        MapFolder(tmp_path).paired(["a", "b", "c"], ["a", "b", "c", "trained"])
    text = str(caught.value)
    assert "no map of b, c; maps of no panorama: b_typo" in text
    # A map of a panorama that is not tested is known, and left alone.
    assert "trained" not in text
    with pytest.raises(SaliencyDataError, match="no such folder"):
        MapFolder(tmp_path / "gone")


@pytest.mark.parametrize("size", [(16, 32), (40, 96), (96, 128), (7, 31)])
@pytest.mark.parametrize("kind", ["npy", "png", "bin"])
def test_any_size_and_kind_is_the_same_map(
    tmp_path: Path, size: tuple[int, int], kind: str
) -> None:
    values = smooth(*size)
    path = tmp_path / f"m.{kind}"
    if kind == "npy":
        np.save(path, values)
    elif kind == "png":
        Image.fromarray((values / values.max() * 65535).astype(np.uint16)).save(path)
    else:
        path = tmp_path / f"m_{size[1]}x{size[0]}_32b.bin"
        values.astype("<f4").tofile(path)
    (found,) = read_maps(MapFolder(tmp_path).paired(["m"], ["m"]), 8, "maps")
    expected = smooth(8, 16)
    assert found.shape == (8, 16)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(found / found.mean(), expected / expected.mean(), atol=0.1)


@pytest.mark.parametrize(("value", "message"), [(-1.0, "-1 in row 3"), (np.nan, "nan in row 3")])
def test_a_map_that_is_no_density_is_named(tmp_path: Path, value: float, message: str) -> None:
    values = smooth(ROWS, COLUMNS)
    values[3, 2] = value
    np.save(tmp_path / "logits.npy", values)
    paths = MapFolder(tmp_path).paired(["logits"], ["logits"])
    with pytest.raises(SaliencyDataError, match=f"logits.npy.*{message}"):
        read_maps(paths, 8, "maps")


def test_headers_are_looked_at_before_anything_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.ones((3, ROWS, COLUMNS)))
    with pytest.raises(SaliencyDataError, match=r"2 files that cannot be used(.|\n)*b\.npy"):
        MapFolder(tmp_path).paired(["a", "b"], ["a", "b"])
