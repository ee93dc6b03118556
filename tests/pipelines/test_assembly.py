"""Tables over data sets from rooms that are there: right, with what is missing named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from conftest import Project
from rooms import TABLE_6_1, leave
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.files import DamagedFileError
from ssl_kedro.datasets.rooms import RoomsDataset
from ssl_kedro.pipelines import dual_gating, dynamic_channels, retrieval_eval
from ssl_kedro.pipelines.assembly.nodes import assemble
from ssl_kedro.pipelines.assembly.parameters import AssembleParameters, data_key
from ssl_kedro.pipelines.assembly.tables import Assembly
from ssl_kedro.pipelines.dual_gating.assembled import ASSEMBLY
from ssl_kedro.pipelines.dynamic_channels.assembled import ASSEMBLY as CHAPTER_5
from ssl_kedro.pipelines.retrieval_eval.assembled import ASSEMBLY as CHAPTER_3
from ssl_kedro.reporting.published import published_table

CONF = Path(__file__).parents[2] / "conf"
PIPELINES = {"dual_gating": ASSEMBLY, "dynamic_channels": CHAPTER_5, "retrieval_eval": CHAPTER_3}
CIFAR = {"data.source": "cifar10", "data.size": 32, "train.epochs": 20, "encoder.width": 64}
# Measured at 50 % as the thesis prints it plus or minus a little, and nothing at 10 and 30 %.
ROWS = (
    ("vicreg", "dense", None, 90.11, None, 0.25),
    ("vicreg_gating", "gated", 50, 90.2, 50.62, 0.5),
    ("dual_gating", "dense", "50.0", 91.2, None, None),
    ("dual_gating", "gated", 50, 90.4, 50.02, 0.5),
)


def assembled(
    data: Path, named: Mapping[str, str] | None = None, assembly: Assembly = ASSEMBLY
) -> dict[str, Any]:
    rooms = RoomsDataset(filepath=str(data), pipeline=assembly.pipeline).load()
    return assemble(AssembleParameters(runs=dict(named or {})), rooms, assembly=assembly)


def row(frame: pd.DataFrame, **where: Any) -> pd.Series:
    for column, wanted in where.items():
        same = frame[column].isna() if wanted is None else frame[column] == wanted
        frame = frame[same.fillna(False)]
    assert len(frame) == 1
    return frame.iloc[0]


def test_two_rooms_make_one_table(tmp_path: Path) -> None:
    leave(tmp_path, "cifar10", "table_6_1", TABLE_6_1, ROWS, shared=CIFAR)
    stl10 = CIFAR | {"data.source": "stl10", "data.size": 96, "train.epochs": 500}
    leave(tmp_path, "stl10/night", "table_6_1", TABLE_6_1, ROWS[:1], shared=stl10)
    made = assembled(tmp_path)
    frame = made["table_6_1"]
    assert len(frame) == len(published_table("6.1"))
    dual = row(frame, dataset="CIFAR-10", method="dual_gating", branch="dense", budget_percent=50)
    assert (dual["linear_top1"], dual["published_linear_top1"], dual["run"]) == (
        91.2,
        90.2,
        "cifar10",
    )
    assert dual["difference_linear_top1"] == pytest.approx(1.0)
    assert math.isnan(dual["flop_reduction"]) and dual["missing"] == ""
    gated = row(frame, dataset="CIFAR-10", method="vicreg_gating", budget_percent=50)
    assert gated["difference_flop_reduction"] == pytest.approx(50.62 - 51.62)
    other = row(frame, dataset="STL-10", method="vicreg")
    assert (other["linear_top1"], other["run"]) == (90.11, "stl10/night")
    assert "90.11 ± 0.25" in made["report"] and "91.11 ± 0.03" in made["report"]
    assert "are measured, by 2 runs, in Table 6.1." in made["report"]
    assert "Epochs 20 (500)" in dual["differs"] and "Epochs" not in other["differs"]


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    leave(tmp_path, "cifar10/night", "table_6_1", TABLE_6_1, ROWS, shared=CIFAR)
    made = assembled(tmp_path)
    frame = made["table_6_1"]
    lost = row(frame, dataset="CIFAR-10", method="dual_gating", branch="gated", budget_percent=10)
    assert lost["missing"] == "Linear; FLOP reduction"
    assert lost["command"] == (
        "kedro run --pipeline dual_gating --env cifar10 --tags table_6_1 "
        "--params 'run=night,dual_gating.budgets=0.1;0.3;0.5'"
    )
    nowhere = frame[frame["dataset"] == "ImageNet-100"]
    assert nowhere["run"].isna().all() and nowhere["linear_top1"].isna().all()
    plain = "kedro run --pipeline dual_gating --env imagenet100 --tags table_6_1"
    assert set(nowhere["command"]) == {plain}
    page = made["report"]
    assert "ImageNet-100: 11 figures are missing, for there is no run." in page
    assert "CIFAR-10: 10 figures are missing, in cifar10/night." in page
    assert f"{plain}  # ImageNet-100" in page


def test_the_latest_run_stands_unless_another_is_named(tmp_path: Path) -> None:
    for room, made, linear in (
        ("cifar10/new", "2026-03-02T00:30:00+02:00", 1.0),
        ("cifar10/old", "2026-03-01T22:00:00+00:00", 2.0),
        ("", "2026-03-01T23:00:00+00:00", 3.0),
    ):
        rows = [("vicreg", "dense", None, linear, None, None)]
        leave(tmp_path, room, "table_6_1", TABLE_6_1, rows, shared=CIFAR, made=made)
    leave(tmp_path, "cifar10", "table_6_4", ("model",), [], shared=CIFAR)
    for named, linear in (({}, 3.0), ({"cifar10": "cifar10/new"}, 1.0), ({"cifar10": "base"}, 3.0)):
        frame = assembled(tmp_path, named)["table_6_1"]
        assert row(frame, dataset="CIFAR-10", method="vicreg")["linear_top1"] == linear
    with pytest.raises(
        InputError, match=r"assemble.runs.cifar10: found 'cifar10/odd'.*cifar10/old"
    ):
        assembled(tmp_path, {"cifar10": "cifar10/odd"})


def test_other_images_stand_in_only_by_name_and_take_no_difference(tmp_path: Path) -> None:
    folder = CIFAR | {"data.source": "folder", "data.limit": 1000}
    folder["methods.vicreg.train.epochs"] = 2  # a recipe of its own
    leave(tmp_path, "mine", "table_6_1", TABLE_6_1, ROWS, shared=folder)
    assert assembled(tmp_path)["table_6_1"]["run"].isna().all()
    frame = assembled(tmp_path, {"cifar10": "mine"})["table_6_1"]
    dense = row(frame, dataset="CIFAR-10", method="vicreg")
    assert dense["linear_top1"] == 90.11 and math.isnan(dense["difference_linear_top1"])
    assert "Images folder (CIFAR-10)" in dense["differs"] and "data.limit 1000" in dense["differs"]
    assert "Epochs 20 (500)" in dense["differs"] and "vicreg: Epochs 2 (500)" in dense["differs"]


def test_other_code_and_other_parameters_are_named(tmp_path: Path) -> None:
    leave(tmp_path, "cifar10", "table_6_1", TABLE_6_1, ROWS, shared=CIFAR, version="0.0.1")
    other = CIFAR | {"data.source": "stl10", "probe.epochs": 7}
    leave(tmp_path, "stl10", "table_6_1", TABLE_6_1, ROWS, shared=other, commit="1234567890abcdef")
    page = assembled(tmp_path)["report"]
    assert (
        "Other versions of ssl_kedro than this one: cifar10 (0.0.1). They are of 2 commits." in page
    )
    assert "probe.epochs" in page and "encoder.width" not in page


def test_a_run_without_a_record_is_told_by_its_manifest(tmp_path: Path) -> None:
    path = leave(tmp_path, "cifar10", "table_6_1", TABLE_6_1, ROWS)
    assert assembled(tmp_path)["table_6_1"]["run"].isna().all()
    manifest = {
        "created": "2026-03-01T12:00:00+00:00",
        "versions": {"ssl_kedro": "0.0.2"},
        "git_commit": None,
        "parameters": {"data": {"source": "cifar10", "size": 32}, "train": {"epochs": 3}},
    }
    path.with_name("run_manifest.json").write_text(json.dumps(manifest))
    made = assembled(tmp_path)
    dense = row(made["table_6_1"], dataset="CIFAR-10", method="vicreg")
    assert (dense["version"], dense["commit"]) == ("0.0.2", "unknown")
    assert "Epochs 3 (500)" in dense["differs"] and "the room&#39;s manifest" in made["report"]


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = leave(tmp_path, "cifar10", "table_6_1", TABLE_6_1, ROWS, shared=CIFAR)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedFileError, match=r"table_6_1.csv: expected a table.*Run what makes"):
        assembled(tmp_path)
    leave(tmp_path, "cifar10", "table_6_1", ("method", "branch"), [], shared=CIFAR)
    with pytest.raises(InputError, match=r"no column budget_percent, flop_reduction, linear_top1"):
        assembled(tmp_path)
    leave(tmp_path, "cifar10", "table_6_1", TABLE_6_1, [*ROWS, ROWS[0]], shared=CIFAR)
    with pytest.raises(InputError, match=r"two rows of vicreg, dense on CIFAR-10"):
        assembled(tmp_path)
    path.with_name(".table_6_1.csv.origin.json").unlink()
    path.with_name("run_manifest.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"run_manifest.json: expected the manifest"):
        assembled(tmp_path)


def test_one_run_may_be_on_several_data_sets(tmp_path: Path) -> None:
    columns = ("task", "level", "row", "whitened_on", "cropped", "dimensions")
    columns += ("g", "aqe", "dba", "dba_aqe")
    setting = ("itself", True, 512)
    rows = [
        ("oxford5k", None, "Baseline", *setting, 56.12, 67.0, 62.0, 70.0),
        ("oxford5k", None, None, *setting, 1.0, 1.0, 1.0, 1.0),  # not of the thesis
        ("paris6k", None, "Baseline", *setting, 40.46, None, 64.0, 71.0),
        ("roxford5k", "easy", "Baseline", *setting, 3.0, 3.0, 3.0, 3.0),
    ]
    where = {"pipeline": "retrieval_eval", "shared": {"image.size": 724}}
    leave(tmp_path, "oxford_paris", "table_3_2", columns, rows, **where)  # type: ignore[arg-type]
    frame = assembled(tmp_path, assembly=CHAPTER_3)["table_3_2"]
    oxford = row(frame, dataset="oxford5k", row="Baseline")
    assert oxford["difference_g"] == pytest.approx(1.0) and oxford["whitened_on"] == "itself"
    paris = row(frame, dataset="paris6k", row="Baseline")
    assert paris["difference_g"] == pytest.approx(-1.0)
    # The thesis' own last figure of that row is not in the text at hand.
    assert math.isnan(paris["difference_dba_aqe"]) and paris["missing"] == "+ AQE"
    lost = row(frame, dataset="instre", row="MoCo v2")
    assert lost["command"] == "kedro run --pipeline retrieval_eval --env instre"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_data_set_has_an_environment_that_runs_on_it(pipeline: str) -> None:
    assembly = PIPELINES[pipeline]
    spanned = {name for table in assembly.tables for name in table.datasets}
    assert spanned == {*assembly.environments}
    for dataset, environment in assembly.environments.items():
        text = (CONF / environment / f"parameters_{pipeline}.yml").read_text("utf-8")
        found = yaml.safe_load(text)[pipeline]
        at = found["evaluate"] if assembly.task else [found["data"]["source"]]
        assert (dataset if assembly.task else data_key(dataset)) in at


def test_nothing_of_it_is_in_a_run_without_the_tag() -> None:
    for name, found in (("dual_gating", dual_gating), ("dynamic_channels", dynamic_channels)):
        plain = found.PIPELINE.create_pipeline({})
        assert "assemble" not in {tag for node in plain.nodes for tag in node.tags}
        only = found.PIPELINE.create_pipeline({}, ["assemble"])
        assert [node.name for node in only.nodes] == [f"{name}.assemble"]
        with pytest.raises(ConfigError, match="assemble without other tags"):
            found.PIPELINE.create_pipeline({}, ["assemble", "frontier"])
        with pytest.raises(ConfigError, match=r"assemble.runs.*did you mean 'cifar10'"):
            found.PIPELINE.create_pipeline({"assemble": {"runs": {"cifar-10": "a"}}}, ["assemble"])
    base = yaml.safe_load((CONF / "base/parameters_retrieval_eval.yml").read_text("utf-8"))
    only = retrieval_eval.PIPELINE.create_pipeline(base["retrieval_eval"], ["assemble"])
    assert [node.name for node in only.nodes] == ["retrieval_eval.assemble"]


def test_the_command_writes_tables_and_page(project: Project) -> None:
    leave(project.path / "data", "cifar10/night", "table_6_1", TABLE_6_1, ROWS, shared=CIFAR)
    values = "dual_gating.assemble.runs.cifar10=cifar10/night"
    arguments = ("run", "--pipeline", "dual_gating", "--tags", "assemble", "--params", values)
    done = project.kedro(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = pd.read_csv(project.results / "assembled_table_6_1.csv")
    dense = row(frame, dataset="CIFAR-10", method="vicreg")
    assert (dense["linear_top1"], dense["run"]) == (90.11, "cifar10/night")
    assert {path.name for path in project.results.glob("assembled*")} == {
        "assembled.html",
        *(f"assembled_table_6_{number}.csv" for number in range(1, 7)),
    }
