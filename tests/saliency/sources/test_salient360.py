from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.sources.salient360 import Salient360Panoramas, read_scanpaths

# As in the release: a space after each comma, and the index again from 0 for each observer.
SCANPATHS = """Idx, longitude, latitude, start timestamp
0, 0.5, 0.5, 0.0
1, 0.0, 0.0, 240.0
2, 1.0, 1.0, 480.0
0, 0.75, 0.25, 0.0
1, 0.25, 0.5, 300.0
0, 0.5, 0.5, 0.0
"""


def config(root: Path, **options: object) -> SourceConfig:
    return SourceConfig(source="salient360", root=str(root), **options)  # type: ignore[arg-type]


def release(root: Path, picture, text, numbers: tuple[int, ...] = (1, 2, 10)) -> None:
    values = np.arange(32, dtype="<f4").reshape(4, 8)
    for number in numbers:
        picture(f"Stimuli/P{number}_64x32.jpg")
        for folder in ("H", "HE"):
            (root / folder / "SalMaps").mkdir(parents=True, exist_ok=True)
            path = root / folder / "SalMaps" / f"{folder}salmap_{number}_8x4_32b.bin"
            (values + number).tofile(path)
        text(f"H/Scanpaths/Hscanpath_{number}.txt", SCANPATHS)
        text(f"HE/Scanpaths/L/HEscanpath_{number}.txt", SCANPATHS)
        text(f"HE/Scanpaths/R/HEscanpath_{number}.txt", SCANPATHS.replace("0.75", "0.76"))


def test_scanpaths(text) -> None:
    found = read_scanpaths(text("a.txt", SCANPATHS))
    assert found.longitude_deg.tolist() == [0, -180, 180, 90, -90, 0]
    assert found.latitude_deg.tolist() == [0, 90, -90, 45, 0, 0]
    assert found.viewer.tolist() == [0, 0, 0, 1, 1, 2]
    single = read_scanpaths(text("d.txt", SCANPATHS + "0, 0.5, 0.5, 0.0\n"))
    assert single.viewer.tolist() == [0, 0, 0, 1, 1, 2, 3]  # observers of one sample each
    with pytest.raises(SaliencyDataError, match=r"line 3: found longitude = -0\.1"):
        read_scanpaths(text("b.txt", SCANPATHS.replace("1, 0.0, 0.0", "1, -0.1, 0.0")))
    with pytest.raises(SaliencyDataError, match="no column Idx"):
        read_scanpaths(text("c.txt", SCANPATHS.replace("Idx", "Index")))


def test_head_and_eyes(tmp_path: Path, picture, text) -> None:
    release(tmp_path, picture, text)
    source = open_source(config(tmp_path, test_names=("P2",)))
    assert source.names == ("P1", "P2", "P10")
    assert source.splits == ("train", "test", "train")
    saliency = source.saliency(2)
    assert saliency is not None and saliency[0, 0] == 10 and saliency[3, 7] == 41
    assert source.image(0, 8, 16).shape == (3, 8, 16)
    for eye, third in (("left", [90]), ("right", [0.76 * 360 - 180])):
        fixations = open_source(config(tmp_path, eye=eye)).fixations(0)
        assert fixations is not None
        assert fixations.longitude_deg[3:4] == pytest.approx(third)
        assert len(fixations) == 6
    both = open_source(config(tmp_path, eye="both")).fixations(0)
    assert both is not None and both.viewer.tolist() == 2 * [0, 0, 0, 1, 1, 2]


def test_head_alone_in_a_folder_of_images(tmp_path: Path, picture, text) -> None:
    release(tmp_path, picture, text)
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "Images").mkdir()
    for name in ("Stimuli", "H"):
        (tmp_path / name).rename(tmp_path / "outer" / "Images" / name)
    source = open_source(config(tmp_path / "outer", movement="head"))
    assert len(source) == 3
    fixations = source.fixations(0)
    assert fixations is not None and len(fixations) == 6
    with pytest.raises(SaliencyDataError, match="HE: found no such folder"):
        Salient360Panoramas(config(tmp_path / "outer"))


def test_names_of_2017(tmp_path: Path, picture) -> None:
    for number in (1, 2):
        picture(f"Images/P{number}.jpg")
        picture(f"HE/SHE{number}.png")
        picture(f"H/SH{number}.png")
    for movement in ("head", "head_and_eye"):
        source = open_source(config(tmp_path, movement=movement))
        assert source.names == ("P1", "P2")
        assert source.saliency(0) is not None and source.fixations(0) is None


def test_faults(tmp_path: Path, picture, text) -> None:
    with pytest.raises(SaliencyDataError, match="none of the folders Stimuli"):
        Salient360Panoramas(config(tmp_path))
    release(tmp_path, picture, text)
    with pytest.raises(SaliencyDataError, match="none of the name P3; expected names of what"):
        Salient360Panoramas(config(tmp_path, test_names=("P3",)))
    picture("Stimuli/P4_64x32.jpg")
    (tmp_path / "Stimuli" / "P10_64x32.jpg").unlink()
    with pytest.raises(SaliencyDataError, match="3 files without a partner") as caught:
        Salient360Panoramas(config(tmp_path))
    for name in ("P4_64x32.jpg", "HEsalmap_10_8x4_32b.bin", "HEscanpath_10.txt"):
        assert name in str(caught.value)
    picture("Stimuli/cover.jpg")
    with pytest.raises(SaliencyDataError, match=r"cover\.jpg: found a name without a number"):
        Salient360Panoramas(config(tmp_path))


def test_two_maps_of_one_image(tmp_path: Path, picture, text) -> None:
    release(tmp_path, picture, text)
    picture("HE/SalMaps/HEsalmap_1.png")
    with pytest.raises(SaliencyDataError, match=r"HEsalmap_1.*: found a second map"):
        Salient360Panoramas(config(tmp_path))


def test_eyes_are_scored_one_by_one_where_both_count(tmp_path: Path, picture, text) -> None:
    """The left eye alone has one set; both have one each, which together are all fixations."""
    release(tmp_path, picture, text)
    left = open_source(config(tmp_path)).fixation_sets(0)
    both = open_source(config(tmp_path, eye="both"))
    assert len(left) == 1
    sets = both.fixation_sets(0)
    assert [one.longitude_deg[3] for one in sets] == pytest.approx([90, 0.76 * 360 - 180])
    assert sets[0].longitude_deg.tolist() == left[0].longitude_deg.tolist()
    pooled = both.fixations(0)
    assert pooled is not None and len(pooled) == 12
