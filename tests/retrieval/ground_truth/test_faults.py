"""What is wrong with a file is said with its name, what was expected, and what to do."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.ground_truth.writers import (
    Table,
    write_json,
    write_matlab_5,
    write_matlab_73,
    write_text,
)
from ssl_kedro.retrieval.ground_truth.model import GroundTruth, GroundTruthError
from ssl_kedro.retrieval.ground_truth.oxford_text import BROKEN_PARIS_IMAGES
from ssl_kedro.retrieval.ground_truth.read import MOST_BYTES, read_ground_truth

CLASSIC_TABLE: Table = {
    "gnd": [
        {"ok": [0, 2], "junk": [1], "bbx": [0.0, 0.0, 5.0, 5.0]},
        {"ok": [3], "junk": [], "bbx": [1.5, 0.0, 5.0, 5.0]},
    ],
    "imlist": ["a", "b", "c", "d"],
    "qidx": [0, 3],
    "q_name": ["a", "d"],
}
REVISITED_TABLE: Table = {
    "gnd": [{"easy": [0], "hard": [1], "junk": [2], "bbx": [0.0, 0.0, 5.0, 5.0]}],
    "imlist": ["a", "b", "c"],
    "qimlist": ["q"],
}


def changed(table: Table, *keys: Any, to: Any) -> Table:
    """A copy with one value replaced."""
    result = copy.deepcopy(table)
    inner: Any = result
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return result


FAULTS = [
    ([], "found a list; expected a table with gnd"),
    ({}, "no variables"),
    ({"gnd": [], "imlist": []}, "the variables 'gnd', 'imlist'"),
    (changed(CLASSIC_TABLE, "imlist", to=[]), "index 0 in qidx; expected indices from 0 to -1"),
    (changed(REVISITED_TABLE, "imlist", to=[]), "an empty database"),
    ({"gnd": [], "imlist": ["a"], "qimlist": []}, "no queries"),
    (changed(CLASSIC_TABLE, "imlist", 1, to="a"), r"1 names more than once in the database \('a'"),
    (changed(CLASSIC_TABLE, "imlist", 1, to=7), "imlist that is no list of names"),
    (changed(CLASSIC_TABLE, "qidx", to=[1, 4]), "index 4 in qidx; expected indices from 0 to 3"),
    (changed(CLASSIC_TABLE, "qidx", to=[1, 3]), r"names in q_name that are not .*'a' is 'b'"),
    (changed(CLASSIC_TABLE, "qidx", to=[0, 3, 1]), "their numbers differ"),
    (changed(CLASSIC_TABLE, "qidx", 0, to=0.5), "qidx that is no list of whole numbers"),
    (changed(CLASSIC_TABLE, "gnd", to=7), "gnd that is no list of tables"),
    (changed(CLASSIC_TABLE, "gnd", 1, to=[]), "gnd that is no list of tables"),
    (changed(CLASSIC_TABLE, "gnd", to=CLASSIC_TABLE["gnd"][:1]), "1 entries in gnd and 2 queries"),
    (changed(CLASSIC_TABLE, "gnd", 1, to={"ok": [3]}), r"lists \['ok'\] for query 'd'"),
    (
        changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[4]),
        "index 4 among the judged images of query 'a'",
    ),
    (changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[-1]), "index -1 among"),
    (changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[True]), "ok of query 'a' that is no list of whole"),
    (changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[2**70]), "ok of query 'a' that is no list of"),
    (changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[0, 0]), "image 0 listed more than once for query"),
    (changed(CLASSIC_TABLE, "gnd", 0, "junk", to=[2]), "image 2 listed more than once for query"),
    (changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[2]), "query 'a' in the database, judged neither"),
    (changed(CLASSIC_TABLE, "gnd", 0, "bbx", to=[1, 2, 3]), "bbx of query 'a' that is not four"),
    (changed(CLASSIC_TABLE, "gnd", 0, "bbx", to=["a"] * 4), "bbx of query 'a' that is not four"),
    (changed(CLASSIC_TABLE, "gnd", 0, "bbx", to=[5, 0, 5, 5]), r"box \[5.0, 0.0, 5.0, 5.0\]"),
    (changed(CLASSIC_TABLE, "gnd", 0, "bbx", 3, to=float("nan")), r"box \[0.0, 0.0, 5.0, nan\]"),
    (changed(REVISITED_TABLE, "gnd", 0, to={"good": [0]}), "the lists 'good' in gnd"),
    (changed(REVISITED_TABLE, "gnd", 0, to={}), "no lists in gnd"),
    (changed(REVISITED_TABLE, "qimlist", to="q"), "qimlist that is no list of names"),
    (changed(REVISITED_TABLE, "qimlist", to=["c"]), "1 queries that are in the database as well"),
    (
        {"gnd": [{"ok": [0, 1]}], "imlist": ["a", "b"], "qimlist": ["a"]},
        r"1 queries that are in the database as well \('a'\); expected queries outside",
    ),
    (
        {"gnd": REVISITED_TABLE["gnd"] * 2, "imlist": ["a", "b", "c"], "qimlist": ["q", "q"]},
        r"queries more than once \('q'\)",
    ),
]


@pytest.mark.parametrize(("table", "message"), FAULTS, ids=lambda value: str(value)[:40])
def test_contradictions_are_explained(table: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gnd"
    for content in (json.dumps(table).encode(), pickle.dumps(table)):
        path.write_bytes(content)
        with pytest.raises(GroundTruthError, match=message) as caught:
            read_ground_truth(path)
        assert str(caught.value).startswith(f"{path}: found ")
        assert "; expected " in str(caught.value) and "To solve it, " in str(caught.value)


def test_indices_that_count_from_one_are_noticed(tmp_path: Path) -> None:
    """A JSON file made from a MATLAB file by hand."""
    table = changed(CLASSIC_TABLE, "qidx", to=[1, 4])
    write_json(table, tmp_path / "gnd.json")
    with pytest.raises(GroundTruthError, match="MATLAB files count from 1, JSON and pickle from 0"):
        read_ground_truth(tmp_path / "gnd.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"\x00" * 200, r"a file that starts with b'\\x00"),
        (b"<!DOCTYPE html><html>", r"a file that starts with b'<!DOCTYPE html><', no known format"),
        (b"PK\x03\x04 an archive", "no known format"),
        (b"  \n{'gnd': 1}", "JSON that cannot be read"),
        (b'{"gnd": [', "JSON that cannot be read"),
        (b'{"gnd": "\xff"}', "JSON that cannot be read"),
        (b"[" * 100_000, "JSON that cannot be read"),
        (b"\x80\x02}q\x00(X", "a damaged pickle"),
        (b"\x89HDF\r\n\x1a\n and then nothing", "a MATLAB file that cannot be read"),
        (b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"\x0e\x00\x00\x00", "a MATLAB file that"),
    ],
)
def test_other_content_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "gnd.mat").write_bytes(content)
    with pytest.raises(GroundTruthError, match=message):
        read_ground_truth(tmp_path / "gnd.mat")


def test_missing_and_enormous_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="found no such file or folder; expected a ground"):
        read_ground_truth(tmp_path / "none")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(GroundTruthError, match=f"{MOST_BYTES + 1} bytes; expected at most"):
        read_ground_truth(tmp_path / "large")


@pytest.mark.parametrize("write", [write_matlab_5, write_matlab_73])
def test_matlab_faults(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "gnd.mat"
    for table, message in (
        (changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[0, 2.5]), "indices that are not whole"),
        (changed(CLASSIC_TABLE, "gnd", 0, "ok", to=[-1, 0]), "index -1 among the judged"),
        (changed(CLASSIC_TABLE, "gnd", 0, "bbx", to=[1.0, 2.0]), "bbx of query 'a' that is not"),
        (changed(CLASSIC_TABLE, "q_name", to=["a", "b"]), "names in q_name that are not those"),
        ({key: CLASSIC_TABLE[key] for key in ("gnd", "qidx")}, "the variables 'gnd', 'qidx'"),
    ):
        write(table, path)
        with pytest.raises(GroundTruthError, match=message):
            read_ground_truth(path)


# A process reads each file of MATLAB 5.
@pytest.mark.parametrize(
    "write", [pytest.param(write_matlab_5, marks=pytest.mark.slow), write_matlab_73]
)
def test_truncated_matlab_files_are_refused(write: Any, tmp_path: Path) -> None:
    write(CLASSIC_TABLE, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    for end in np.linspace(129, len(content) - 1, 40).astype(int):
        (tmp_path / "part").write_bytes(content[:end])
        with pytest.raises(GroundTruthError, match="part: found "):
            read_ground_truth(tmp_path / "part")


@pytest.mark.slow
@given(places=st.lists(st.tuples(st.integers(128, 10**6), st.integers(0, 255)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_damaged_matlab_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "gnd.mat"
    write_matlab_5(CLASSIC_TABLE, path)
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[128 + place % (len(content) - 128)] = value
    path.write_bytes(content)
    try:
        read_ground_truth(path)
    except GroundTruthError as error:
        assert error.path == path


def text_files(folder: Path) -> Path:
    write_text(CLASSIC_TABLE, folder)
    return folder


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("landmark_000_1_junk.txt", None, "landmark_000_1_junk.txt: found no such file"),
        ("landmark_000_1_query.txt", "a 1 2 3", "found 'a 1 2 3'; expected an image's name and"),
        ("landmark_000_1_query.txt", "a 1 2 3 right", "expected an image's name and its box"),
        ("landmark_000_1_query.txt", "", "found ''; expected an image's name and its box"),
        ("landmark_000_1_query.txt", "z 1 2 3 4", "the query 'z', which is not in the database"),
        ("landmark_000_2_query.txt", "d 3 2 1 4", r"box \[3.0, 2.0, 1.0, 4.0\] of query 'd'"),
        ("landmark_000_1_good.txt", "a\nz\ny\n", r"2 judged images that are not .*\('z', 'y'\)"),
        ("landmark_000_1_junk.txt", "a\nb\n", "image 0 listed more than once for query 'a'"),
    ],
)
def test_faulty_text_files(file: str, content: str | None, message: str, tmp_path: Path) -> None:
    path = text_files(tmp_path) / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(GroundTruthError, match=message):
        read_ground_truth(tmp_path, database=CLASSIC_TABLE["imlist"])


def test_text_files_need_the_database(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="a folder without files called <landmark>_"):
        read_ground_truth(tmp_path, database=["a"])
    text_files(tmp_path)
    with pytest.raises(GroundTruthError, match="text files, which do not list the database"):
        read_ground_truth(tmp_path)
    with pytest.raises(GroundTruthError, match="a database with 1 names more than once"):
        read_ground_truth(tmp_path, database=["x/a.jpg", "y/a.png"])


def test_a_name_both_good_and_ok_counts_once(tmp_path: Path) -> None:
    (text_files(tmp_path) / "landmark_000_1_ok.txt").write_text("a\nc\n\nc\n")
    found = read_ground_truth(tmp_path, database=CLASSIC_TABLE["imlist"])
    assert found.judgements.lists["ok"][0].tolist() == [0, 2]


def test_the_broken_images_of_paris_may_be_absent(tmp_path: Path) -> None:
    assert len(BROKEN_PARIS_IMAGES) == 20
    (text_files(tmp_path) / "landmark_000_1_ok.txt").write_text("c\nparis_louvre_000136\n")
    without = CLASSIC_TABLE["imlist"]
    found = read_ground_truth(tmp_path, database=without)
    assert found.judgements.lists["ok"][0].tolist() == [0, 2]
    found = read_ground_truth(tmp_path, database=[*without, "paris_louvre_000136"])
    assert found.judgements.lists["ok"][0].tolist() == [0, 2, 4]


def test_queries_are_ordered_by_number(tmp_path: Path) -> None:
    names = [str(number) for number in range(12)]
    for number in range(12):
        for kind, text in (("query", f"{number} 0 0 1 1"), ("good", number), ("ok", "")):
            (tmp_path / f"all_souls_{number}_{kind}.txt").write_text(str(text))
        (tmp_path / f"all_souls_{number}_junk.txt").write_text("")
    assert list(read_ground_truth(tmp_path, database=names).queries) == names


def truth(**changes: Any) -> GroundTruth:
    fields: dict[str, Any] = {
        "database": ("a", "b"),
        "queries": ("q",),
        "boxes": None,
        "lists": {"ok": [np.array([0])], "junk": [np.array([1])]},
    }
    return GroundTruth(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": ("q", "r")}, "judgements for 1 queries; expected 2, one for each query"),
        ({"boxes": np.zeros((2, 4))}, "boxes for 2 queries"),
        ({"boxes": np.zeros((1, 3))}, r"boxes of shape \(1, 3\); expected \(1, 4\)"),
        ({"boxes": np.array([[0, 0, np.inf, 1]])}, r"box \[0.0, 0.0, inf, 1.0\]"),
        (
            {"lists": {"easy": [np.array([0])]}},
            "judgements with the lists easy; expected the list hard",
        ),
        (
            {"lists": {"junk": [np.array([0])]}},
            "judgements with the lists junk; expected the list ok",
        ),
    ],
)
def test_a_truth_made_by_hand_is_checked(changes: dict[str, Any], message: str) -> None:
    assert truth().queries_without_positives("") == ()
    with pytest.raises(GroundTruthError, match=f"the ground truth: found {message}"):
        truth(**changes)
