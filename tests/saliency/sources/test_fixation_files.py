from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.sources.config import FixationColumns
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.fixation_files import (
    check_fixations,
    read_fixations,
    viewer_numbers,
)

USUAL = FixationColumns()


def directions(path: Path, columns: FixationColumns = USUAL) -> list[tuple[float, float, int]]:
    found = read_fixations(path, columns, lambda: (8, 4)).fixations
    return list(
        zip(
            found.longitude_deg.tolist(),
            found.latitude_deg.tolist(),
            found.viewer.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("lon_deg,lat_deg\n-180,90\n45,-30\n", [(-180, 90, 0), (45, -30, 0)]),
        ("subject, longitude, latitude\n7, 1.5, 2\n3, 0, 0\n", [(1.5, 2, 7), (0, 0, 3)]),
        ("longitude;latitude;user\n1;2;bob\n1;2;ann\n3;4;bob", [(1, 2, 1), (1, 2, 0), (3, 4, 1)]),
        ("u\tv\n0\t0\n1\t1\n0.75\t0.5", [(-180, 90, 0), (180, -90, 0), (90, 0, 0)]),
        # An 8 x 4 panorama has cells of 45 degrees; whole numbers mean their centres.
        ("x,y\n0,0\n7,3\n4,2\n", [(-157.5, 67.5, 0), (157.5, -67.5, 0), (22.5, -22.5, 0)]),
        ("x,y\n0.5,0\n8,4\n", [(-157.5, 90, 0), (180, -90, 0)]),
        ("\ufefflon_deg,lat_deg,x,y\n\n10,20,0,0\n\n", [(10, 20, 0)]),
    ],
)
def test_forms_of_tables(content: str, expected: list[tuple[float, float, int]], text) -> None:
    path = text("a.csv", content)
    check_fixations(path, USUAL, lambda: (8, 4))
    assert directions(path) == expected


def test_columns_by_name(text) -> None:
    path = text("a.csv", "px,py,who,when,lon_deg,lat_deg\n512,256,4,0.5,9,9\n")
    columns = FixationColumns(
        x="px", y="py", width_px=1024, height_px=512, viewer="who", t_s="when"
    )
    gaze = read_fixations(path, columns)
    # The pixel right of and below the centre: half a pixel of 360 / 1024 degrees away.
    assert gaze.fixations.longitude_deg.tolist() == [0.17578125]
    assert gaze.fixations.latitude_deg.tolist() == [-0.17578125]
    assert gaze.fixations.viewer.tolist() == [4]
    assert gaze.t_s is not None and gaze.t_s.tolist() == [0.5]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("", None, "an empty file"),
        ("lon_deg,lat_deg\n", None, "a header and no lines"),
        ("a,b\n1,2\n", 1, "found the columns a, b; expected lon_deg and lat_deg"),
        ("lon_deg,lat_deg\n1,2\n181,0\n", 3, "lon_deg = 181; expected -180 to 180"),
        ("lon_deg,lat_deg\n1,2\n\n0,-91\n0,-92", 4, r"lat_deg = -91 \(and 1 more such lines\)"),
        ("lon_deg,lat_deg\n1,2\n1,nan\n", 3, "'nan' in the column lat_deg"),
        ("lon_deg,lat_deg\n1,two\n", 2, "'two' in the column lat_deg; expected a finite number"),
        ("lon_deg,lat_deg\n1\n", 2, "1 values; expected 2"),
        ("u,v\n0.5,1.01\n", 2, "v = 1.01; expected 0 to 1"),
        ("x,y\n8,0\n", 2, "x = 8; expected 0 to 7"),
        ("x,y\n8.1,0\n", 2, "x = 8.1; expected 0 to 8"),
        ("lon_deg,lat_deg,lon_deg\n1,2,3\n", 1, "the column lon_deg twice"),
    ],
)
def test_faults_of_tables(content: str, line: int | None, message: str, text) -> None:
    path = text("a.csv", content)
    with pytest.raises(SaliencyDataError, match=message) as caught:
        directions(path)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}, line {line}:" if line else f"{path}:")


def test_pixels_need_a_size(text) -> None:
    path = text("a.csv", "x,y\n1,1\n")
    with pytest.raises(SaliencyDataError, match=r"set columns\.width_px and columns\.height_px"):
        check_fixations(path, USUAL)


def test_a_column_that_is_named_has_to_be_there(text) -> None:
    path = text("a.csv", "lon_deg,lat_deg\n1,1\n")
    with pytest.raises(SaliencyDataError, match="no column eyes among lon_deg, lat_deg"):
        check_fixations(path, FixationColumns(viewer="eyes"))
    with pytest.raises(SaliencyDataError, match="no column u, v"):
        check_fixations(path, FixationColumns(u="u", v="v"))


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"lon_deg,lat_deg\n\xff\xfe1,2\n")
    with pytest.raises(SaliencyDataError, match="not UTF-8 text"):
        directions(path)


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([[10, 20, 3], [-180, -90, 1]]))
    check_fixations(path, USUAL)
    assert directions(path) == [(10, 20, 3), (-180, -90, 1)]
    np.save(path, np.array([[10.5, 20.5]], np.float32))
    assert directions(path) == [(10.5, 20.5, 0)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((0, 2)), r"an array of shape \(0, 2\)"),
        (np.zeros(4), r"an array of shape \(4,\)"),
        (np.array([[0.0, 0], [200, 0]]), "the longitude 200 in row 1"),
        (np.array([[0.0, np.nan]]), "the latitude nan in row 0"),
        (np.array([[0, 0, 0.5]]), "viewers that are not whole numbers"),
        (np.array([["a", "b"]]), "not real numbers"),
        (np.array([[1, None]], dtype=object), "no array of numbers"),
    ],
)
def test_faults_of_arrays(values: np.ndarray, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, values, allow_pickle=True)
    with pytest.raises(SaliencyDataError, match=message):
        directions(path)


def test_damaged_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((50, 2)))
    whole = path.read_bytes()
    for content in (b"", whole[:40], whole[:-8], b"PK\x03\x04" + whole):
        path.write_bytes(content)
        with pytest.raises(SaliencyDataError, match="no array of numbers"):
            check_fixations(path, USUAL)


def test_fixation_maps(picture) -> None:
    values = np.zeros((4, 8), np.uint8)
    values[0, 0], values[3, 7] = 255, 1
    path = picture("a.png", value=values)
    check_fixations(path, USUAL)
    assert directions(path) == [(-157.5, 67.5, 0), (157.5, -67.5, 0)]
    with pytest.raises(SaliencyDataError, match="without a pixel above 0"):
        directions(picture("b.png", value=values * 0))
    with pytest.raises(SaliencyDataError, match="a fixation map of 8 x 5 px"):
        check_fixations(picture("c.png", (8, 5)), USUAL)


def test_a_broken_fixation_map(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UnreadableImageError, match="cannot be decoded"):
        directions(path)


def test_unknown_endings(text) -> None:
    with pytest.raises(SaliencyDataError, match=r"the ending '\.mat'; expected one of \.csv"):
        check_fixations(text("a.mat", "x"), USUAL)


def test_viewers_keep_their_numbers() -> None:
    assert viewer_numbers(["10", "2", "10"]).tolist() == [10, 2, 10]
    assert viewer_numbers(["p10", "p2", "p10"]).tolist() == [0, 1, 0]
    assert viewer_numbers(["99999999999999999999", "1"]).tolist() == [1, 0]


def test_names_of_one_form_may_hold_another(text) -> None:
    path = text("a.csv", "x,y,u,v\n90,45,0.5,0.25\n")
    for columns, expected in (
        (FixationColumns(longitude="x", latitude="y"), (90, 45)),
        (FixationColumns(longitude="u", latitude="v"), (0.5, 0.25)),
        (FixationColumns(u="u", v="v"), (0, 45)),
    ):
        check_fixations(path, columns)
        assert directions(path, columns) == [(*expected, 0)]


def test_a_quotation_mark_spoils_its_own_line_only(text) -> None:
    path = text("a.csv", 'lon_deg,lat_deg\n1,2\n"3,4\n5,6\n')
    with pytest.raises(SaliencyDataError, match="line 3: found 1 values; expected 2"):
        directions(path)
    assert directions(text("b.csv", 'lon_deg,lat_deg,subject\n1,2,"a,b"\n')) == [(1, 2, 0)]


def test_columns_come_in_pairs() -> None:
    with pytest.raises(ConfigError, match="latitude = None: expected a value, because longitude"):
        FixationColumns(longitude="a")
    with pytest.raises(ConfigError, match="x = 'c': expected none, because u is given"):
        FixationColumns(u="a", v="b", x="c", y="d")
