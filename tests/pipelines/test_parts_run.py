"""Parts of the chapter through Kedro's command line, on tiny parameters."""

from __future__ import annotations

import csv
import json
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

from conftest import Project, copied_project
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.encoders.pair import EncoderPair

# A peak rate that the smallest batches of digits bear as well.
CALM = {"train.lr": 0.2}


def rows_of(project: Project, name: str) -> list[dict[str, str]]:
    with (project.results / name).open() as file:
        return list(csv.DictReader(file))


def checkpoint_time(project: Project, namespace: str) -> int:
    return (
        (project.path / "data/06_models" / namespace / "checkpoint.safetensors").stat().st_mtime_ns
    )


@pytest.mark.slow
def test_a_tag_makes_its_part_and_nothing_else_and_resuming_reuses_models(project: Project) -> None:
    done = project.run(CALM, "--tags", "table_6_4")
    assert done.returncode == 0, done.stdout + done.stderr
    models = {path.name for path in (project.path / "data/06_models").iterdir()}
    assert models == {"dual_gating.budget_50", "dual_gating.budget_50.barlow_dual"}
    rows = rows_of(project, "table_6_4.csv")
    assert len(rows) == 2
    assert not (project.results / "table_6_1.csv").exists()
    assert "Barlow Twins" in (project.results / "report.html").read_text()

    trained = checkpoint_time(project, "dual_gating.budget_50")
    resumed = project.run({**CALM, "train.resume": "true"}, "--tags", "table_6_5")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert checkpoint_time(project, "dual_gating.budget_50") == trained
    folder = project.path / "data/06_models/dual_gating.budget_50.two_encoders/encoder"
    assert isinstance(load_encoder(folder), EncoderPair)
    # The earlier part's table is still there.
    assert rows_of(project, "table_6_4.csv") == rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole chapter once, two seeds, with a further source for transfer."""
    made = copied_project(tmp_path_factory.mktemp("whole"))
    done = made.run(
        CALM
        | {
            "parts": "all",
            "methods.wmse_dual_gating.options.embedding": 4,
            "methods.wmse_dual_gating.options.sub_batch": 20,
            "repeats": 2,
            "transfer.sources": "digits",
            "transfer.targets": "textures;digits",
        }
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.mark.slow
def test_whole_chapter_makes_every_table(whole: Project) -> None:
    names = {path.name for path in whole.results.iterdir()}
    tables = {f"table_6_{n}.csv" for n in range(1, 7)} | {f"question_{n}.csv" for n in range(1, 7)}
    assert tables | {"runs.csv", "transfer.csv", "metrics.json", "report.html"} <= names
    report = (whole.results / "report.html").read_text()
    for number in range(1, 7):
        assert f"Table 6.{number}" in report
    seeds = {row["seed"] for row in rows_of(whole, "runs.csv")}
    assert seeds == {"0", "1"}


@pytest.mark.slow
def test_metrics_are_means_and_deviations_over_seeds(whole: Project) -> None:
    metrics = json.loads((whole.results / "metrics.json").read_text())
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows_of(whole, "runs.csv"):
        found[row["model"], row["budget_percent"], row["branch"]].append(float(row["linear_top1"]))
    for (model, budget, branch), values in found.items():
        key = model if not budget else f"{model}.budget_{round(float(budget)):02d}"
        assert len(values) == 2
        assert metrics[f"{key}.{branch}.linear_top1_mean"] == pytest.approx(statistics.mean(values))
        assert metrics[f"{key}.{branch}.linear_top1_std"] == pytest.approx(statistics.stdev(values))


@pytest.mark.slow
def test_students_cost_what_the_gates_leave(whole: Project) -> None:
    macs = {
        (row["model"], row["seed"]): float(row["macs"])
        for row in rows_of(whole, "runs.csv")
        if row["branch"] == "gated" or row["model"] in ("simreg", "seed")
    }
    for seed, namespace in (("0", "dual_gating.budget_50"), ("1", "dual_gating.budget_50.seed_1")):
        folder = whole.path / "data/06_models" / namespace / "encoder"
        gated = load_encoder(folder)
        assert isinstance(gated, GatedResNet18)
        cost = gated.cost()
        gates = sum(block.gate for block in cost.blocks)
        # Rounding moves each block by at most half a channel; the gates were open a little
        # otherwise on the evaluation images, whose mean cost the table has.
        rounding = sum(block.macs_per_channel for block in cost.blocks) / 2
        allowed = rounding + 0.05 * cost.dense
        for name in ("simreg", "seed"):
            assert macs[name, seed] == pytest.approx(macs["dual", seed] - gates, abs=allowed)
    assert macs["simreg", "0"] == macs["seed", "0"]


@pytest.mark.slow
def test_transfer_meets_every_target_but_its_own(whole: Project) -> None:
    pairs = {(row["source"], row["target"], row["model"]) for row in rows_of(whole, "transfer.csv")}
    assert pairs == {
        (source, target, model)
        for source, target in (("textures", "digits"), ("digits", "textures"))
        for model in ("vicreg", "dual")
    }


def test_table_6_2_without_targets_ends_before_anything_starts(project: Project) -> None:
    done = project.run({"transfer.targets": ""}, "--tags", "table_6_2")
    assert done.returncode != 0
    assert "transfer.targets" in done.stdout + done.stderr
    assert not Path(project.path / "data/06_models").exists()
