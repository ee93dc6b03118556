"""What runs have left in the rooms of a project, found by name, and what is told of a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from rooms import leave
from ssl_kedro.core.files import DamagedFileError
from ssl_kedro.datasets.rooms import RoomsDataset


def test_every_room_of_the_pipeline_is_found_and_no_link_to_one(tmp_path: Path) -> None:
    for room in ("", "night", "cifar10", "cifar10/night"):
        leave(tmp_path, room, "table_6_1", ("a",), [])
    leave(tmp_path, "stl10", "table_5_1", ("a",), [], pipeline="dynamic_channels")
    (tmp_path / "latest").mkdir()
    report = tmp_path / "cifar10/08_reporting/dual_gating"
    (tmp_path / "latest/dual_gating").symlink_to(report, target_is_directory=True)
    dataset = RoomsDataset(filepath=str(tmp_path), pipeline="dual_gating")
    found = dataset.load()
    assert [room.name for room in found] == ["base", "cifar10", "night", "cifar10/night"]
    assert all(room.has("table_6_1") and not room.has("table_6_2") for room in found)
    assert RoomsDataset(filepath=str(tmp_path / "none"), pipeline="dual_gating").load() == []
    with pytest.raises(DatasetError, match="runs leave rooms"):
        dataset.save([])


def test_a_table_and_what_made_it(tmp_path: Path) -> None:
    shared = {"data.source": "stl10", "train.epochs": 3, "probe": None, "budgets": [0.1, 0.3]}
    leave(tmp_path, "x", "table_6_1", ("a", "b"), [(1, None)], shared=shared, commit=None)
    (room,) = RoomsDataset(filepath=str(tmp_path), pipeline="dual_gating").load()
    assert room.table("table_6_1")["a"].tolist() == [1]
    made = room.made("table_6_1")
    assert made.parameters == shared
    assert made.commit == "unknown" and made.by_origin
    assert made.time is not None and made.time.isoformat() == "2026-03-01T12:00:00+00:00"
    unknown = room.made("table_6_2")
    assert (unknown.time, unknown.parameters, unknown.by_origin) == (None, {}, False)
    room.path("table_6_1").write_text("")
    with pytest.raises(DamagedFileError, match=r"table_6_1.csv: expected a table"):
        room.table("table_6_1")
