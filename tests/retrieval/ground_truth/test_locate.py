from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from ssl_kedro.retrieval.ground_truth.locate import ImageTree, located
from ssl_kedro.retrieval.ground_truth.model import GroundTruthError


def plant(root: Path, files: Iterable[str]) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("all_souls_000013", "all_souls_000013.jpg"),
        ("all_souls_000013.jpg", "all_souls_000013.jpg"),
        ("paris_defense_000605", "paris/defense/paris_defense_000605.jpg"),
        ("defense/paris_defense_000605", "paris/defense/paris_defense_000605.jpg"),
        ("INSTRE-S1/01a_book/013.jpg", "INSTRE-S1/01a_book/013.jpg"),
        ("INSTRE-S1/01a_book/013.jpg", "data/set/INSTRE-S1/01a_book/013.jpg"),
        ("INSTRE-S1/01a_book/013", "data/INSTRE-S1/01a_book/013.PNG"),
        ("100000", "100000.JPG"),
        ("100000.jpg", "jpg/100000.JPG"),
        ("v1.2", "v1.2.jpg"),
        ("v1.2", "folder/v1.2.tiff"),
        ("été [1] *", "été [1] *.webp"),
    ],
)
def test_a_file_is_found(name: str, file: str, tmp_path: Path) -> None:
    plant(tmp_path, [file, "other/thing.jpg", ".hidden/all_souls_000013.jpg", "100000.txt"])
    assert located(tmp_path, [name]) == [tmp_path / file]


def test_the_nearest_meaning_wins(tmp_path: Path) -> None:
    plant(tmp_path, ["a.jpg", "x/a.jpg", "y/a.png", "y/b.jpg", "y/b.png", "a.jpg.png"])
    found = located(tmp_path, ["a.jpg", "x/a.jpg", "y/a", "b.png", "a.png"])
    expected = ["a.jpg", "x/a.jpg", "y/a.png", "y/b.png", "y/a.png"]
    assert [path.relative_to(tmp_path).as_posix() for path in found] == expected


def test_order_and_repetition_are_kept(tmp_path: Path) -> None:
    plant(tmp_path, ["a.jpg", "b.jpg"])
    assert [path.stem for path in located(tmp_path, ["b", "a", "b"])] == ["b", "a", "b"]


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    plant(tmp_path, ["0.jpg", "there/1.jpg"])
    names = [str(number) for number in range(9)]
    with pytest.raises(GroundTruthError) as caught:
        located(tmp_path, names)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: found no file for 7 of 9 images ('2', '3', '4', '5', ")
    assert "'6' and 2 more) among the 2 images" in message
    assert "such as '0.jpg'" in message


@pytest.mark.parametrize("name", ["../out", "/etc/out", "folder", "tail", "", "a/", "x.txt"])
def test_nothing_outside_and_no_part_of_a_name_is_found(name: str, tmp_path: Path) -> None:
    plant(tmp_path, ["out.jpg", "root/folder/long_tail.jpg", "root/x.txt"])
    with pytest.raises(GroundTruthError, match="no file for 1 of 1"):
        located(tmp_path / "root", [name])


def test_ambiguous_names_are_refused(tmp_path: Path) -> None:
    plant(tmp_path, ["x/a.jpg", "y/a.jpg", "b.jpg", "b.png"])
    with pytest.raises(GroundTruthError, match=r"'a' can be 'x/a.jpg', 'y/a.jpg'"):
        located(tmp_path, ["a"])
    with pytest.raises(GroundTruthError, match=r"several files for 1 of 2 images; 'b' can be"):
        located(tmp_path, ["x/a", "b"])


def test_faulty_roots(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="found no such folder"):
        located(tmp_path / "none", ["a"])
    plant(tmp_path, ["notes.txt", ".a.jpg"])
    with pytest.raises(GroundTruthError, match="found a file; expected the folder of images"):
        located(tmp_path / "notes.txt", ["a"])
    with pytest.raises(GroundTruthError, match=r"found no image; expected files with .*\.jpg"):
        located(tmp_path, ["a"])


def test_links_are_followed_once(tmp_path: Path) -> None:
    plant(tmp_path, ["real/a.jpg", "root/b.jpg"])
    (tmp_path / "root" / "jpg").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "root")
    assert ImageTree(tmp_path / "root").paths == ("b.jpg", "jpg/a.jpg")


def test_a_hundred_thousand_names_take_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of them share one file name, as INSTRE's 001.jpg in every folder."""
    (tmp_path / "root").mkdir()
    files = [f"d{number % 100}/{number}.jpg" for number in range(50_000)]
    shared = [f"set/e{number}/001.jpg" for number in range(50_000)]

    def walk(root: Path, followlinks: bool) -> Iterable[tuple[str, list[str], list[str]]]:
        yield str(root), [], [*files, *shared]

    monkeypatch.setattr(os, "walk", walk)
    names = [str(number) for number in range(50_000)]
    names += [f"e{number}/001" for number in range(50_000)]
    start = time.perf_counter()
    found = located(tmp_path / "root", names)
    assert time.perf_counter() - start < 20
    assert found == [tmp_path / "root" / file for file in files + shared]
