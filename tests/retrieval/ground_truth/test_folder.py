from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_kedro.retrieval.ground_truth.folder import labelled_folder
from ssl_kedro.retrieval.ground_truth.model import GroundTruth, GroundTruthError
from ssl_kedro.retrieval.protocols import CLASSIC, REVISITED

FILES = ["images/a1.jpg", "images/a2.jpg", "images/b1.png", "images/a3.jpg", "far/away/d.jpg"]


def plant(root: Path, files: Iterable[str], table: str | None = None) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if table is not None:
        (root / "labels.csv").write_text(table, encoding="utf-8")
    return root


def named(truth: GroundTruth, name: str) -> dict[str, set[str]]:
    """For each query the names in one list."""
    return {
        query: {truth.database[image] for image in images}
        for query, images in zip(truth.queries, truth.judgements.lists[name], strict=True)
    }


def test_labels_by_hand(tmp_path: Path) -> None:
    plant(tmp_path, FILES, "file,instance\na1.jpg,A\nimages/a2.jpg,A\nb1.png,B\na3.jpg,A\n")
    truth, paths = labelled_folder(tmp_path)
    assert truth.database == tuple(sorted(FILES))
    assert paths == tuple(tmp_path / file for file in sorted(FILES))
    assert truth.queries == ("images/a1.jpg", "images/a2.jpg", "images/b1.png", "images/a3.jpg")
    assert named(truth, "ok") == {
        "images/a1.jpg": {"images/a2.jpg", "images/a3.jpg"},
        "images/a2.jpg": {"images/a1.jpg", "images/a3.jpg"},
        "images/a3.jpg": {"images/a1.jpg", "images/a2.jpg"},
        "images/b1.png": set(),
    }
    assert named(truth, "junk") == {query: {query} for query in truth.queries}
    assert truth.queries_without_positives("") == ("images/b1.png",)
    assert truth.boxes is None
    assert truth.levels == {"": CLASSIC}
    assert [truth.database[place] for place in truth.query_in_database] == list(truth.queries)


def test_optional_columns(tmp_path: Path) -> None:
    table = (
        "\ufeffinstance , file,query,note,left,top,right,bottom\n"
        "A,a1.jpg,1,x,1,2.5,30,40\n"
        'A,"images\\a2.jpg",true,,,,,\n'
        "B,b1.png,0,,,,,\n"
        "\n"
        "A,a3.jpg,False\n"
    )
    truth, _ = labelled_folder(plant(tmp_path, FILES, table))
    assert truth.queries == ("images/a1.jpg", "images/a2.jpg")
    assert named(truth, "ok")["images/a1.jpg"] == {"images/a2.jpg", "images/a3.jpg"}
    assert truth.boxes is not None
    assert truth.boxes[0].tolist() == [1, 2.5, 30, 40]
    assert np.isnan(truth.boxes[1]).all()


def test_a_turntable_s_levels_by_hand(tmp_path: Path) -> None:
    angles = {"o/000.png": 0, "o/030.png": 30, "o/180.png": 180, "o/335.png": 335, "p/000.png": 0}
    rows = [f"{file},{file[0]},{angle}" for file, angle in angles.items()]
    plant(tmp_path, angles, "\n".join(["file,instance,angle_deg", *rows]))
    truth, _ = labelled_folder(tmp_path, easy_within_deg=30)
    assert truth.levels == REVISITED
    assert named(truth, "easy") == {
        "o/000.png": {"o/030.png", "o/335.png"},
        "o/030.png": {"o/000.png"},
        "o/180.png": set(),
        "o/335.png": {"o/000.png"},
        "p/000.png": set(),
    }
    assert named(truth, "hard")["o/030.png"] == {"o/180.png", "o/335.png"}
    assert truth.queries_without_positives("easy") == ("o/180.png", "p/000.png")
    assert truth.queries_without_positives("medium") == ("p/000.png",)
    assert labelled_folder(tmp_path)[0].levels == {"": CLASSIC}


@given(
    angles=st.lists(st.integers(-720, 720), min_size=2, max_size=8),
    turned=st.integers(-720, 720),
    within=st.integers(0, 180),
)
def test_turning_the_table_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, angles: list[int], turned: int, within: int
) -> None:
    root = tmp_path_factory.mktemp("table")
    files = [f"{index}.png" for index in range(len(angles))]
    found = []
    for turn in (0, turned):
        rows = [f"{file},x,{angle + turn}" for file, angle in zip(files, angles, strict=True)]
        plant(root, files, "\n".join(["file,instance,angle_deg", *rows]))
        truth, _ = labelled_folder(root, easy_within_deg=within)
        found.append(named(truth, "easy"))
    expected = {
        a: {
            b
            for b, other in zip(files, angles, strict=True)
            # The shorter way around, step by step.
            if b != a and min((angle - other) % 360, (other - angle) % 360) <= within
        }
        for a, angle in zip(files, angles, strict=True)
    }
    assert found == [expected, expected]


def test_an_image_may_show_several_instances(tmp_path: Path) -> None:
    table = (
        "file,instance,left,top,right,bottom\n"
        "both.jpg,A,0,0,10,10\nboth.jpg,B,10,0,20,10\na.jpg,A,,,,\nb.jpg,B,,,,\n"
    )
    truth, _ = labelled_folder(plant(tmp_path, ["both.jpg", "a.jpg", "b.jpg"], table))
    assert truth.queries == ("both.jpg", "both.jpg", "a.jpg", "b.jpg")
    ok = [[truth.database[image] for image in part] for part in truth.judgements.lists["ok"]]
    assert ok == [["a.jpg"], ["b.jpg"], ["both.jpg"], ["both.jpg"]]


def test_class_folders(tmp_path: Path) -> None:
    files = ["A/1.jpg", "A/deep/2.jpg", "B/1.jpg", "loose.jpg", "distractors/9.jpg"]
    plant(tmp_path, [*files, ".git/x.jpg", "A/.thumb.jpg", "A/readme.txt", "__MACOSX/1.jpg"])
    truth, paths = labelled_folder(tmp_path)
    assert truth.database == tuple(sorted(files))
    assert len(paths) == 5
    assert named(truth, "ok") == {
        "A/1.jpg": {"A/deep/2.jpg"},
        "A/deep/2.jpg": {"A/1.jpg"},
        "B/1.jpg": set(),
    }


def test_drawn_queries(tmp_path: Path) -> None:
    files = [f"{name}/{index}.jpg" for name in "ABCDE" for index in range(20)]
    plant(tmp_path, files)
    drawn = [labelled_folder(tmp_path, max_queries=10, seed=seed)[0] for seed in (0, 0, 1)]
    assert drawn[0].queries == drawn[1].queries != drawn[2].queries
    for truth in drawn:
        assert len(set(truth.queries)) == 10
        assert list(truth.queries) == sorted(truth.queries)
        assert len(truth.database) == 100
        assert all(len(part) == 19 for part in truth.judgements.lists["ok"])
    assert len(labelled_folder(tmp_path, max_queries=1000)[0].queries) == 100


def test_one_instance_alone_is_refused_since_every_ranking_would_be_right(tmp_path: Path) -> None:
    plant(tmp_path, ["A/1.jpg", "A/2.jpg"])
    with pytest.raises(GroundTruthError, match="2 images, all of one instance \\('A'\\)"):
        labelled_folder(tmp_path)
    plant(tmp_path, ["distractors/9.jpg"])
    assert labelled_folder(tmp_path)[0].queries == ("A/1.jpg", "A/2.jpg")


HEAD = "file,instance\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,class\na1.jpg,A\n", "found the columns 'name', 'class'; expected a table with the"),
        ("", "found an empty file"),
        (HEAD, "found no rows"),
        (HEAD + "".join(f"z{i}.jpg,A\n" for i in range(7)) + "a1.jpg,A\n", "7 of 8 files that do"),
        (HEAD + "d.jpg,A\na1.jpg,A\n", r"'d.jpg' can be 'far/away/d.jpg', 'far/d.jpg'"),
        (HEAD + "a1.jpg,A\na2.jpg,\n", "no instance in line 3, for 'a2.jpg'"),
        (HEAD + "a1.jpg,A\na2.jpg\n", "no instance in line 3"),
        (HEAD + "a1.jpg,A\nb1.png,B\n", "one image of each of 2 instances; expected two images"),
        (HEAD + "a1.jpg,A\nimages/a1.jpg,A\na2.jpg,A\n", r"rows more than once \('images/a1.jpg"),
        (HEAD + "../out.jpg,A\na1.jpg,A\n", "1 of 2 files that do not exist"),
        ("file,instance,query\na1.jpg,A,maybe\na2.jpg,A,1\n", "query = 'maybe' in line 2"),
        ("file,instance,query\na1.jpg,A,0\na2.jpg,A,0\n", "found no queries"),
        ("file,instance,left,top\na1.jpg,A,1,2\na2.jpg,A,,\n", "an incomplete box in line 2"),
        ("file,instance,angle_deg\na1.jpg,A,north\na2.jpg,A,1\n", "angle_deg = 'north' in line 2"),
        ("file,instance,angle_deg\na1.jpg,A,nan\na2.jpg,A,1\n", "angle_deg = 'nan' in line 2"),
        (
            "file,instance,left,top,right,bottom\na1.jpg,A,9,0,1,1\na2.jpg,A,,,,\n",
            r"box \[9.0, 0.0, 1.0, 1.0\] of query 'images/a1.jpg'",
        ),
    ],
)
def test_faulty_tables_are_explained(table: str, message: str, tmp_path: Path) -> None:
    plant(tmp_path, [*FILES, "far/d.jpg"], table)
    plant(tmp_path.parent, ["out.jpg"])
    with pytest.raises(GroundTruthError, match=message) as caught:
        labelled_folder(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'labels.csv'}: found ")
    assert "To solve it, " in str(caught.value)


def test_faulty_folders_and_arguments(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="found no such folder"):
        labelled_folder(tmp_path / "none")
    plant(tmp_path, [], HEAD)
    with pytest.raises(GroundTruthError, match="found no image"):
        labelled_folder(tmp_path)
    (tmp_path / "labels.csv").unlink()
    plant(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(GroundTruthError, match=r"2 images, neither labels\.csv nor a folder"):
        labelled_folder(tmp_path)
    plant(tmp_path, ["A/a.jpg", "B/b.jpg"])
    with pytest.raises(GroundTruthError, match="one image of each of 2 instances"):
        labelled_folder(tmp_path)
    plant(tmp_path, ["A/c.jpg"])
    with pytest.raises(GroundTruthError, match="3 of 3 images without an angle"):
        labelled_folder(tmp_path, easy_within_deg=30)
    with pytest.raises(ValueError, match="max_queries = 0: expected at least 1"):
        labelled_folder(tmp_path, max_queries=0)
    with pytest.raises(ValueError, match="easy_within_deg = -1: expected at least 0"):
        labelled_folder(tmp_path, easy_within_deg=-1)
    (tmp_path / "labels.csv").write_bytes(b"file,instance\n\xff\xfe.jpg,A\n")
    with pytest.raises(GroundTruthError, match="a table that cannot be read"):
        labelled_folder(tmp_path)
