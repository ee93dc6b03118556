from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from retrieval.ground_truth.writers import (
    Table,
    write_json,
    write_matlab_5,
    write_matlab_73,
    write_pickle,
    write_text,
)
from ssl_kedro.retrieval.ground_truth import matlab, matlab_process
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.ground_truth.read import read_ground_truth
from ssl_kedro.retrieval.protocols import (
    CLASSIC,
    REVISITED,
    average_precisions,
    places_by_similarity,
)

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
WRITERS: dict[str, Callable[[Table, Path], None]] = {
    "json": write_json,
    "pickle": write_pickle,
    "matlab 5": write_matlab_5,
    "matlab 7.3": write_matlab_73,
}


def as_lists(truth: GroundTruth) -> dict[str, Any]:
    """Everything but the source and the order within a list."""
    return {
        "database": list(truth.database),
        "queries": list(truth.queries),
        "boxes": None if truth.boxes is None else truth.boxes.tolist(),
        "lists": {
            name: [sorted(part.tolist()) for part in parts]
            for name, parts in truth.judgements.lists.items()
        },
        "levels": dict(truth.levels),
        "query_in_database": truth.query_in_database.tolist(),
    }


def expected_of(table: Table) -> dict[str, Any]:
    """The same, from the table by plain Python."""
    names = ["easy", "hard", "junk"] if "easy" in table["gnd"][0] else ["ok", "junk"]
    queries = (
        table["qimlist"] if "qimlist" in table else [table["imlist"][i] for i in table["qidx"]]
    )
    return {
        "database": table["imlist"],
        "queries": queries,
        "boxes": [entry["bbx"] for entry in table["gnd"]] if "bbx" in table["gnd"][0] else None,
        "lists": {name: [sorted(entry.get(name, [])) for entry in table["gnd"]] for name in names},
        "levels": REVISITED if len(names) == 3 else {"": CLASSIC},
        "query_in_database": table.get("qidx", [-1] * len(queries)),
    }


NAME = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
NUMBER = st.integers(0, 2000).map(lambda value: value / 2)


@st.composite
def tables(draw: st.DrawFn, revisited: bool | None = None) -> Table:
    names = draw(st.lists(NAME, min_size=4, max_size=12, unique=True))
    revisited = draw(st.booleans()) if revisited is None else revisited
    count = draw(st.integers(1, 3))
    queries, database = (names[:count], names[count:]) if revisited else ([], names)
    kinds = ["easy", "hard", "junk"] if revisited else ["ok", "junk"]
    places = draw(st.permutations(range(len(database))))[:count]
    gnd = []
    for query in range(count):
        of_each = draw(
            st.lists(
                st.sampled_from([*kinds, None]), min_size=len(database), max_size=len(database)
            )
        )
        if not revisited and of_each[places[query]] is None:
            of_each[places[query]] = "junk"
        entry: dict[str, Any] = {
            kind: [image for image, its in enumerate(of_each) if its == kind] for kind in kinds
        }
        left, top, width, height = (draw(NUMBER) for _ in range(4))
        gnd.append(entry | {"bbx": [left, top, left + width + 1, top + height + 1]})
    table: Table = {"gnd": gnd, "imlist": database}
    if revisited:
        return table | {"qimlist": queries}
    return table | {"qidx": list(places), "q_name": [database[place] for place in places]}


@pytest.mark.parametrize("written", WRITERS)
@given(table=tables())
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(written: str, table: Table) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # These files do no harm: the reading without the process around it, which takes longer.
        read = partial(matlab_process.variables, names=matlab._VARIABLES)
        patch.setattr(matlab, "_variables_of_version_5", read)
        path = Path(folder) / "ground truth of some kind"
        WRITERS[written](table, path)
        assert as_lists(read_ground_truth(path)) == expected_of(table)


@given(table=tables(revisited=False), prefix=st.sampled_from(["", "oxc1_"]))
@settings(max_examples=40, deadline=None)
def test_text_files_that_are_written_are_read(table: Table, prefix: str) -> None:
    # A name with these would be taken for a folder and a name, or a name and its extension.
    assume(not any(set(name) & {"/", "."} for name in table["imlist"]))
    with tempfile.TemporaryDirectory() as folder:
        write_text(table, Path(folder), prefix)
        found = read_ground_truth(Path(folder), database=table["imlist"])
        assert as_lists(found) == expected_of(table)


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(protocol: int, tmp_path: Path) -> None:
    table = {"gnd": [{"easy": [0], "hard": [], "junk": [300]}], "qimlist": ["ä"]}
    table["imlist"] = [f"image {index}" for index in range(70_000)]
    table["gnd"][0]["hard"] = [1, 69_999]
    write_pickle(table, tmp_path / "gnd", protocol)
    assert as_lists(read_ground_truth(tmp_path / "gnd")) == expected_of(table)


def test_instre_layout_has_no_junk(tmp_path: Path) -> None:
    table = {
        "gnd": [{"ok": [0, 2], "bbx": [1, 2, 3, 4]}, {"ok": [1], "bbx": [5, 6, 7, 8]}],
        "imlist": ["A/1.jpg", "B/1.jpg", "A/2.jpg"],
        "qimlist": ["A/3.jpg", "B/3.jpg"],
    }
    write_matlab_5(table, tmp_path / "gnd.mat", compressed=False)
    found = as_lists(read_ground_truth(tmp_path / "gnd.mat"))
    assert found == expected_of(table)
    assert found["lists"]["junk"] == [[], []]


def test_queries_of_a_classic_set_may_be_given_by_name(tmp_path: Path) -> None:
    table = {"gnd": [{"ok": [0, 1], "junk": []}], "imlist": ["a", "b", "c"], "qimlist": ["b"]}
    write_pickle(table, tmp_path / "gnd")
    found = read_ground_truth(tmp_path / "gnd")
    assert found.query_in_database.tolist() == [1]
    assert found.boxes is None


SIZES = {
    "gnd_roxford5k": (4993, 70, 0),
    "gnd_rparis6k": (6322, 70, 0),
    "gnd_oxford5k": (5063, 55, 55),
    "gnd_paris6k": (6392, 55, 55),
    "gnd_instre": (27293, 1250, 0),
    "gnd_holidays": (1491, 500, 500),
}


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name: str, ground_truth_folder: Path) -> None:
    for path in ground_truth_folder.rglob(f"{name}.*"):
        found = read_ground_truth(path)
        inside = int((found.query_in_database >= 0).sum())
        assert (len(found.database), len(found.queries), inside) == SIZES[name]
        assert (found.boxes is None) == (name == "gnd_holidays")
        assert set(found.levels) == (set(REVISITED) if name.startswith("gnd_r") else {""})


@pytest.mark.parametrize("name", ["roxford5k", "rparis6k", "oxford5k", "paris6k"])
def test_published_formats_agree(name: str, ground_truth_folder: Path) -> None:
    paths = sorted(ground_truth_folder.rglob(f"gnd_{name}.*"))
    assert len(paths) == 2
    expected = expected_of(json.loads(paths[0].read_text()))
    for path in paths:
        assert as_lists(read_ground_truth(path)) == expected


def test_published_boxes_are_left_top_right_bottom(ground_truth_folder: Path) -> None:
    first = {
        "gnd_oxford5k.mat": [136.5, 34.1, 648.5, 955.7],
        "gnd_roxford5k.pkl": [136.5, 34.1, 648.5, 955.7],
        "gnd_paris6k.mat": [130, 17, 843, 732],
        "gnd_instre.mat": [326, 219, 670, 493],
    }
    for name, box in first.items():
        boxes = read_ground_truth(next(ground_truth_folder.rglob(name))).boxes
        assert boxes is not None and boxes.dtype == np.float64
        assert boxes[0].tolist() == box


def test_queries_without_positives_are_named(ground_truth_folder: Path) -> None:
    path = next(ground_truth_folder.rglob("gnd_roxford5k.pkl"))
    found = read_ground_truth(path)
    table = json.loads(path.with_suffix(".json").read_text())
    none = tuple(
        name
        for name, entry in zip(table["qimlist"], table["gnd"], strict=True)
        if not entry["easy"]
    )
    assert len(none) == 2
    assert found.queries_without_positives("easy") == none
    assert found.queries_without_positives("medium") == ()
    with pytest.raises(ValueError, match="level 'easier': expected one of"):
        found.queries_without_positives("easier")


def test_instre_indices_count_from_one(ground_truth_folder: Path) -> None:
    """Every positive lies in the query's folder or in one shared folder, and that only so."""
    found = read_ground_truth(next(ground_truth_folder.rglob("gnd_instre.mat")))
    folders = np.array([name.rpartition("/")[0] for name in found.database])
    for query, images in zip(found.queries, found.judgements.lists["ok"], strict=True):
        own = query.rpartition("/")[0]
        positives = np.zeros(len(folders), dtype=bool)
        positives[images] = True
        if query.startswith("INSTRE-M"):
            continue
        # The whole folder of a single instance, without a gap at either end.
        assert positives[folders == own].all()
        assert all(name.startswith("INSTRE-M") for name in set(folders[positives]) - {own})


@pytest.mark.parametrize("prefix", ["oxc1_", ""])
@pytest.mark.parametrize("name", ["oxford5k", "paris6k"])
def test_published_truth_as_text_files(
    name: str, prefix: str, ground_truth_folder: Path, tmp_path: Path
) -> None:
    table = json.loads(next(ground_truth_folder.rglob(f"gnd_{name}.json")).read_text())
    write_text(table, tmp_path / "gt", prefix)
    on_disk = [f"some/folder/{image}.jpg" for image in table["imlist"]]
    found = read_ground_truth(tmp_path / "gt", database=on_disk)
    expected = expected_of(table)
    assert as_lists(found)["lists"] == expected["lists"]
    assert as_lists(found)["boxes"] == expected["boxes"]
    assert found.query_in_database.tolist() == table["qidx"]
    assert found.queries[0] == on_disk[table["qidx"][0]]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference values are not here")
@pytest.mark.parametrize(
    "file", ["gnd_roxford5k.pkl", "gnd_roxford5k.json", "gnd_oxford5k.mat", "gnd_oxford5k.json"]
)
def test_every_format_gives_the_reference_values(file: str, ground_truth_folder: Path) -> None:
    name = file.removeprefix("gnd_").partition(".")[0]
    expected = json.loads((REFERENCE / "retrieval_expected.json").read_text())["values"][name]
    with np.load(REFERENCE / f"synthetic_features_{name}.npz") as features:
        similarities = features["X"].astype(np.float64) @ features["Q"].astype(np.float64).T
    truth = read_ground_truth(next(ground_truth_folder.rglob(file)))
    places = places_by_similarity(similarities, truth.judgements)
    for key, level in truth.levels.items():
        values = expected[key[0].upper()] if key else expected
        found = average_precisions(places.hits(level))
        wanted = np.array(values["AP"], dtype=np.float64)
        assert np.array_equal(np.isnan(found), np.isnan(wanted))
        assert np.nanmax(np.abs(found - wanted)) < 1e-9
        assert np.isnan(found).sum() == len(truth.queries_without_positives(key))
