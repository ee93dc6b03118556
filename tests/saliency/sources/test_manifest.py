from __future__ import annotations

from pathlib import Path

import pytest

from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.manifest import ManifestPanoramas
from ssl_kedro.saliency.sources.open import open_source

HEADER = "image,saliency,fixations,split\n"


def config(path: Path, **options: object) -> SourceConfig:
    return SourceConfig(source="manifest", root=str(path), **options)  # type: ignore[arg-type]


@pytest.fixture
def files(picture, text) -> None:
    for name in "abcd":
        picture(f"in/{name}.jpg")
        picture(f"maps/{name}.png")
        text(f"gaze/{name}.csv", "lon_deg,lat_deg\n1,2\n")


@pytest.mark.usefixtures("files")
def test_lines_become_panoramas(text, tmp_path: Path) -> None:
    path = text(
        "manifest.csv",
        HEADER + "in/a.jpg,maps/a.png,,train\nin/b.jpg,,gaze/b.csv,test\n\n"
        "in/c.jpg,maps/c.png,gaze/c.csv,train\nin/d.jpg,,,unlabelled\n",
    )
    source = open_source(config(path))
    assert source.names == ("in/a", "in/b", "in/c", "in/d") == source.scenes
    assert source.splits == ("train", "test", "train", "unlabelled")
    given = [
        (source.saliency(index) is not None, source.fixations(index) is not None)
        for index in range(4)
    ]
    assert given == [(True, False), (False, True), (True, True), (False, False)]
    assert ManifestPanoramas(config(tmp_path)).names == source.names


@pytest.mark.usefixtures("files")
def test_scenes_and_names(text) -> None:
    path = text(
        "manifest.csv",
        "split,name,scene,image,fixations,saliency\n"
        "train,one,attic,in/a.jpg,,maps/a.png\ntrain,,attic,in/b.jpg,,maps/b.png\n",
    )
    source = open_source(config(path))
    assert source.names == ("one", "in/b")
    assert source.scenes == ("attic", "attic")
    with_pattern = text("other.csv", HEADER + "in/a.jpg,maps/a.png,,train\n")
    assert open_source(config(with_pattern, scene_pattern="in/(.)")).scenes == ("a",)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("image,saliency,split\na,b,train\n", 1, "no column fixations among image, saliency"),
        (HEADER.strip() + ",eyes\na,b,c,train,d\n", 1, "the column eyes; expected image"),
        (HEADER, None, "a header and no lines"),
        (HEADER + "in/a.jpg,maps/a.png,,val\n", 2, "split = 'val'; expected one of train, test"),
        (HEADER + "in/a.jpg,maps/a.png,,train\n,maps/b.png,,test\n", 3, "no image"),
        (HEADER + "in/a.jpg,maps/z.png,,train\n", 2, "saliency = maps/z.png, which is not there"),
        (HEADER + "in/z.jpg,maps/a.png,,train\n", 2, "image = in/z.jpg, which is not there"),
        (HEADER + "in/a.jpg,,,test\n", 2, "neither saliency nor fixations in a line of the split"),
        (
            HEADER + "in/a.jpg,maps/a.png,,train\nin/a.jpg,maps/b.png,,train\n",
            3,
            "the name in/a of line 2 again",
        ),
        (
            "name," + HEADER + "x,in/a.jpg,maps/a.png,,train\n\ny,in/../in/a.jpg,,,unlabelled\n",
            4,
            r"the image .*a\.jpg of line 2 again",
        ),
        (
            "scene," + HEADER + "s,in/a.jpg,maps/a.png,,train\ns,in/b.jpg,maps/b.png,,test\n",
            3,
            "the scene s in the split test, but in line 2 in train",
        ),
        (HEADER + "in/a.jpg,maps/a.png,train\n", 2, "3 values; expected 4"),
    ],
)
def test_faults_name_the_line(content: str, line: int | None, message: str, text) -> None:
    path = text("manifest.csv", content)
    with pytest.raises(SaliencyDataError, match=message) as caught:
        ManifestPanoramas(config(path))
    assert str(caught.value).startswith(f"{path}, line {line}:" if line else f"{path}:")


@pytest.mark.usefixtures("files")
def test_all_faulty_lines_are_named(text) -> None:
    path = text("m.csv", HEADER + "in/z.jpg,maps/a.png,,train\nin/b.jpg,,,test\n")
    with pytest.raises(SaliencyDataError, match="2 files") as caught:
        ManifestPanoramas(config(path))
    assert f"{path}, line 2" in str(caught.value) and f"{path}, line 3" in str(caught.value)
