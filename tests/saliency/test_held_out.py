from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ssl_kedro.saliency.held_out import check_held_out
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.open import open_source


@pytest.fixture
def sources(tmp_path: Path, picture, text) -> dict[str, PanoramaSource]:
    for number, name in enumerate("abc"):
        picture(f"set/images/{name}.png", value=number)
        picture(f"set/saliency/{name}.png")
    text("set/test.txt", "c\n")
    picture("other/d.png", value=9)
    shutil.copy(tmp_path / "set/images/a.png", tmp_path / "other/a.png")
    folder = {"source": "folder", "test_list": "test.txt"}
    own = SourceConfig(root=str(tmp_path / "set"), **folder)  # type: ignore[arg-type]
    other = SourceConfig(source="folder", root=str(tmp_path / "other"))
    return {"set": open_source(own), "other": open_source(other)}


def test_a_file_of_a_tested_part_is_found_in_another_source(
    sources: dict[str, PanoramaSource], tmp_path: Path
) -> None:
    learnt = {"set": ("unlabelled", "train"), "other": ("unlabelled",)}
    check_held_out(sources, learnt, {"set": ("test",)})  # a is for training in both
    shutil.copy(tmp_path / "set/images/c.png", tmp_path / "other/c.png")
    sources["other"] = open_source(SourceConfig(source="folder", root=str(tmp_path / "other")))
    with pytest.raises(SaliencyDataError, match=r"1 files that other has to learn from and set"):
        check_held_out(sources, learnt, {"set": ("test",)})
    held_out = SourceConfig(source="folder", root=str(tmp_path / "other"), test_names=("c",))
    sources["other"] = open_source(held_out)
    check_held_out(sources, learnt, {"set": ("test",)})


def test_what_cannot_be_seen_and_what_is_drawn_are_passed_over(
    sources: dict[str, PanoramaSource],
) -> None:
    drawn = open_source(SourceConfig(count_train=1, count_test=1))
    found = {**sources, "drawn": drawn}
    check_held_out(found, {"drawn": ("train",), "far": ("train",)}, {"drawn": ("test",)})
