"""Splits that lists of names give, in the sources of the thesis' data sets, and several as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.sources.config import JoinedConfig, SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.layouts import named_split
from ssl_kedro.saliency.sources.open import open_source

NAMES = [f"P{number}" for number in range(1, 7)]


def config(root: Path, **options: object) -> SourceConfig:
    return SourceConfig(source="salient360", root=str(root), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lists", "train", "test"),
    [
        ({"test_list": "test.txt"}, "P1 P2 P3 P6", "P4 P5"),
        ({"train_list": "train.txt"}, "P1 P2", "P3 P4 P5 P6"),
        # P3 and P6 are in neither: left out.
        ({"train_list": "train.txt", "test_list": "test.txt"}, "P1 P2", "P4 P5"),
        ({"test_names": ("P6",)}, "P1 P2 P3 P4 P5", "P6"),
        ({"train_list": "train.txt", "test_names": ("P6",)}, "P1 P2", "P6"),
    ],
)
def test_lists(lists: dict[str, object], train: str, test: str, tmp_path: Path, text) -> None:
    text("train.txt", "\ufeffP1\r\nP2\r\n")
    text("test.txt", "# of the challenge\nP4\n  P5  # twice looked at\n\n")
    found = named_split(NAMES, config(tmp_path, **lists), tmp_path)
    assert found is not None
    by_side = {side: [n for n in found if found[n] == side] for side in ("train", "test")}
    assert by_side == {"train": train.split(), "test": test.split()}


def test_no_list_says_nothing(tmp_path: Path) -> None:
    assert named_split(NAMES, config(tmp_path), tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such file.*a list of names"),
        ("# none\n", "no names"),
        ("P1\nP77\nP9\n", r"none of the name P77, P9.*such as P1.*correct test_list"),
        ("P2\n", "in both lists: P2"),
    ],
)
def test_faults_of_lists(content: str | None, message: str, tmp_path: Path, text) -> None:
    text("train.txt", "P2\nP3\n")
    if content is not None:
        text("test.txt", content)
    given = config(tmp_path, test_list="test.txt", train_list="train.txt")
    with pytest.raises(SaliencyDataError, match=message):
        named_split(NAMES, given, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_list": "t", "test_names": ("P1",)}, "none, because test_names is given"),
        ({"source": "manifest", "test_list": "t"}, "source = manifest has its own split"),
        ({"source": "generated", "root": None, "train_list": "t"}, "has its own split"),
    ],
)
def test_faults_of_configurations(options: dict[str, object], message: str) -> None:
    values = {"source": "salient360", "root": "r", **options}
    with pytest.raises(ConfigError, match=message):
        SourceConfig(**values)  # type: ignore[arg-type]


def test_a_folder_takes_lists_and_holds_out_of_what_is_unlabelled(
    tmp_path: Path, picture, text
) -> None:
    for name in "abc":
        picture(f"images/{name}.png")
        picture(f"saliency/{name}.png")
    text("test.txt", "b\n")
    folder = SourceConfig(source="folder", root=str(tmp_path), test_list="test.txt")
    found = open_source(folder)
    assert (found.names, found.splits) == (("a", "b", "c"), ("train", "test", "train"))
    for path in (tmp_path / "saliency").iterdir():
        path.unlink()
    (tmp_path / "saliency").rmdir()
    bare = open_source(folder)
    assert (bare.names, set(bare.splits)) == (("a", "c"), {"unlabelled"})
    picture("train/images/d.png")
    with pytest.raises(SaliencyDataError, match=r"the folder train, and a list of names"):
        open_source(folder)


def test_several_sources_are_one(tmp_path: Path, picture, text) -> None:
    for number in range(3):
        picture(f"sitzmann/img_files/cubemap_000{number}.png")
    (tmp_path / "sitzmann/vr").mkdir()
    for number in range(3):
        np.save(tmp_path / f"sitzmann/vr/cubemap_000{number}.npy", np.array([[0.5, 0.5, 0]]))
    text("sitzmann/test.txt", "cubemap_0002\n")
    joined = JoinedConfig(
        sources={
            "sitzmann": SourceConfig(
                source="sitzmann", root=str(tmp_path / "sitzmann"), test_list="test.txt"
            ),
            "drawn": SourceConfig(count_train=1, count_test=1),
        }
    )
    assert [one.source for one in joined.parts] == ["sitzmann", "generated"]
    found = open_source(joined)
    assert dict(zip(found.names, found.splits, strict=True)) == {
        "sitzmann/cubemap_0000": "train",
        "sitzmann/cubemap_0001": "train",
        "sitzmann/cubemap_0002": "test",
        "drawn/train_000": "train",
        "drawn/test_000": "test",
    }
    assert found.file(0) == tmp_path / "sitzmann/img_files/cubemap_0000.png"
    assert (found.width_px(0), found.width_px(3), found.file(3)) == (64, None, None)
    # Without sources it is as it was.
    assert open_source(JoinedConfig(count_train=2, count_test=0)).names == (
        "train_000",
        "train_001",
    )
    assert JoinedConfig().parts == (JoinedConfig(),)


def test_what_stands_beside_several_sources_is_refused() -> None:
    one = SourceConfig(count_train=1)
    with pytest.raises(ConfigError, match="limit = 3: expected none beside sources"):
        JoinedConfig(limit=3, sources={"a": one})
    with pytest.raises(ConfigError, match="names without a slash"):
        JoinedConfig(sources={"a/b": one})
