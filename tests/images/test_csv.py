"""Tables of image files: columns, parts, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from images.test_folder import greys
from ssl_kedro.images.load import DataConfig, ImageSourceError, count_images, load_images


@pytest.fixture
def table(make_folder, tmp_path: Path):
    """Function that writes a table beside four images of greys 0 to 3, and returns its source."""
    make_folder({"deep/er": 4})

    def write(text: str, **options: object) -> DataConfig:
        path = tmp_path / "images" / "list.csv"
        path.write_text(text, encoding="utf-8")
        return DataConfig(source="csv", root=str(path), **{"size": 8, **options})

    return write


def rows(*values: str) -> str:
    return "".join(f"deep/er/000{number}.png{value}\n" for number, value in enumerate(values))


def test_labels_in_the_order_of_their_names_and_parts_by_column(table) -> None:
    config = table("path,label,split\n" + rows(",dog,train", ",ant,train", ",ant,test", ",dog,val"))
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert train.class_names == held.class_names == ("ant", "dog")
    assert (greys(train), train.labels.tolist()) == ([0, 1], [1, 0])
    assert (greys(held), held.labels.tolist()) == ([2, 3], [0, 1])
    assert count_images(config, "train", 0) == 2


@pytest.mark.parametrize("head", ["\ufeffFILE;class\n", "note;image;Category\n"])
def test_names_of_columns_in_any_case_after_semicolons(table, head: str) -> None:
    note = "x;" if head.startswith("note") else ""
    body = "".join(f"{note}deep/er/000{i}.png;{'ab'[i % 2]}\n" for i in range(4))
    config = table(head + body)
    assert load_images(config, "train", 0).class_names == ("a", "b")


def test_a_share_of_each_class_is_held_out_without_parts(table) -> None:
    config = table("path,label\n" + rows(",a", ",a", ",b", ",b"), eval_fraction=0.5)
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert sorted(greys(train) + greys(held)) == [0, 1, 2, 3]
    assert train.labels.tolist() == held.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("path\n" + rows("", "", "", ""), {}),
        ("path,label\n" + rows(",a", ",a", ",a", ","), {"labels": "none"}),
    ],
)
def test_no_label_column_or_none_wanted_is_without_classes(table, text, options) -> None:
    found = load_images(table(text, eval_fraction=0.5, **options), "train", 0)
    assert found.labels is None
    assert len(found) == 2


def test_absolute_paths_and_columns_by_parameter(table, tmp_path: Path) -> None:
    folder = tmp_path / "images" / "deep" / "er"
    body = "".join(f"{folder}/000{i}.png\t{i % 2}\n" for i in range(4))
    config = table("where\tkind\n" + body, image_key="where", label_key="kind", eval_fraction=0.5)
    assert load_images(config, "train", 0).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the columns none"),
        ("a,b\nx,y\n", "the columns a, b"),
        ("path,label\n" + rows(",a", ",b", ",a", ","), "rows without a label"),
        ("path,label\n" + rows(",a", ",a", ",a", ",a"), "1 class, 'a', in the table"),
        ("path,label\ndeep/er/0000.png\n", "1 values of 2 in line 2"),
        ("path,label,split\n" + rows(",a,train", ",b,test", ",a,test", ",a,train"), "1 class, 'a'"),
        ("path\n", "no images in the table"),
        ("path\n" + "gone.png\n" * 4, "files that cannot be read"),
        ("path\n" + "\x00.png\n" * 4, "cannot be read"),
    ],
)
def test_what_is_refused(table, text: str, told: str) -> None:
    with pytest.raises(ImageSourceError, match=told):
        load_images(table(text), "train", 0)


def test_a_column_that_there_is_not(table) -> None:
    with pytest.raises(ImageSourceError, match=r"label_key.*no such column.*one of path"):
        load_images(table("path\n" + rows("", ""), label_key="kind"), "train", 0)


def test_the_limit_is_balanced(table) -> None:
    config = table("path,label,split\n" + rows(",a,train", ",a,train", ",b,train", ",b,test"))
    with pytest.raises(ImageSourceError):
        load_images(DataConfig(source="csv", root=config.root, size=8, limit=1), "train", 0)
    limited = DataConfig(source="csv", root=config.root, size=8, limit=2)
    assert np.bincount(load_images(limited, "train", 0).labels).tolist() == [1, 1]
