"""What is told of somebody's images before anything is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.images.load import DataConfig, ImageSourceError
from ssl_kedro.images.survey import contact_sheet, survey_images


def survey(root: Path, **options: object):
    return survey_images(DataConfig(source="folder", root=str(root), **options), 0)


def test_classes_sides_and_colours(make_folder) -> None:
    root = make_folder({"cat": 10, "dog": 10}, side=40)
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "dog" / "wide.png")
    found = survey(root)
    # A fifth of each class is held out: 2 of 10, 2 of 11.
    assert found.counts == {"train": 17, "eval": 4}
    assert [name for name, _ in found.classes] == ["cat", "dog"]
    assert sum(count for _, count in found.classes) == 17
    assert found.sides[:2] == (40, 40)
    assert found.sides[2] in (40, 50)
    assert found.grey >= 16 / 17
    assert found.data.labels is None
    assert found.choice == "The 2 folders are taken for classes."


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        ({"2021-05": 6, "2022-06": 6}, "called by dates"),
        ({f"p{number}": 2 for number in range(6)}, "6 of them hold 6 images, too few each"),
        ({"cat": 8, ".": 3}, "both class folders"),
        ({".": 8}, "no folder for each class"),
        ({"one": 8}, ""),
    ],
)
def test_folders_that_are_no_classes(make_folder, folders: dict[str, int], told: str) -> None:
    found = survey(make_folder(folders))
    assert found.classes == ()
    assert told in found.choice


def test_a_folder_that_holds_the_folder_of_images(make_folder) -> None:
    root = make_folder({"inner/a": 6, "inner/b": 6})
    found = survey(root)
    assert found.data.root == str(root / "inner")
    assert len(found.classes) == 2


def test_a_table_beside_its_images(make_folder, tmp_path: Path) -> None:
    root = make_folder({"x": 10})
    table = root / "all.csv"
    table.write_text("path,label\n" + "".join(f"x/{i:04d}.png,{i % 2}\n" for i in range(10)))
    found = survey(table)
    assert (found.data.source, len(found.classes)) == ("csv", 2)


def test_broken_files_are_named_and_others_counted(make_folder) -> None:
    root = make_folder({".": 20})
    (root / "broken.png").write_bytes(b"no image")
    (root / "film.heic").write_bytes(b"x")
    names = {file.path for file in survey(root, eval_fraction=0.01).unreadable}
    assert names == {"broken.png"}
    assert survey(root).other_files == {".heic": 1}


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(ImageSourceError, match="none of 3 can be read"):
        survey(tmp_path)


def test_no_images_at_all(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match="no images in it"):
        survey(tmp_path)


def test_a_sheet_has_pictures_in_rows_and_white_after_the_last() -> None:
    pictures = np.stack([np.full((3, 4, 4), value, np.uint8) for value in (10, 20, 30, 40, 50)])
    sheet = contact_sheet(pictures, columns=3)
    assert sheet.shape == (8, 12, 3)
    assert sheet[::4, ::4, 0].tolist() == [[10, 20, 30], [40, 50, 255]]
