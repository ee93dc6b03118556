from __future__ import annotations

import math
import statistics
from typing import Any

import pandas as pd
import pytest

from pipelines.run_rows import NAN, Row, frame, random_rows, run_row, values_by_seed
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.row import Row as Common

VARIANTS = [
    ("table_6_4", "barlow_dual", (55.03, 54.89, 66.09)),
    ("table_6_5", "two_encoders", (55.65, 55.52, 70.07)),
    ("table_6_6", "without_invariance", (4.84, 4.89, 82.72)),
]
COLUMNS = {
    "dense_knn_top1": ("dense", "knn_top1"),
    "gated_knn_top1": ("gated", "knn_top1"),
    "flop_reduction": ("gated", "flop_reduction"),
}


def made(
    part: str, runs: pd.DataFrame, dataset: str = "", *, comparable: bool = False, **further: Any
) -> pd.DataFrame:
    common = Common(runs, dataset=dataset, is_that_dataset=comparable, **further)
    return parts()[part].table(common)


def one(table: pd.DataFrame, **where: Any) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


@pytest.mark.parametrize(("part", "variant", "printed"), VARIANTS)
def test_variants_stand_beside_dual_gating_and_print(
    part: str, variant: str, printed: tuple[float, float, float]
) -> None:
    rows = random_rows(["vicreg", "dual", variant, "simreg"], [10, 30], [0, 1, 2])
    table = made(part, frame(rows), "CIFAR-100", comparable=True)
    assert list(zip(table["budget_percent"], table["model"], strict=True)) == [
        (10, "dual"),
        (10, variant),
        (30, "dual"),
        (30, variant),
    ]
    row = one(table, model=variant, budget_percent=30)
    for (name, (branch, metric)), figure in zip(COLUMNS.items(), printed, strict=True):
        ours = values_by_seed(rows, variant, branch, 30, metric)
        dual = values_by_seed(rows, "dual", branch, 30, metric)
        differences = [100 * (ours[seed] - dual[seed]) for seed in (0, 1, 2)]
        mean = 100 * statistics.mean(ours.values())
        assert row[name] == pytest.approx(mean)
        assert row[f"{name}_std"] == pytest.approx(100 * statistics.stdev(ours.values()))
        assert row[f"{name}_against_dual"] == pytest.approx(statistics.mean(differences))
        assert row[f"{name}_against_dual_std"] == pytest.approx(statistics.stdev(differences))
        assert row[f"published_{name}"] == figure
        assert row[f"difference_{name}"] == pytest.approx(mean - figure)
    assert row["seeds"] == 3
    assert one(table, model="dual", budget_percent=30)["published_gated_knn_top1"] == 55.53


def test_other_data_of_the_thesis_is_looked_up_under_its_name() -> None:
    rows = random_rows(["dual", "two_encoders"], [50], [0])
    table = made("table_6_5", frame(rows), "STL-10", comparable=True)
    assert table["published_dataset"].tolist() == ["STL-10", "STL-10"]
    assert table["published_dense_knn_top1"].tolist() == [79.69, 77.74]


def test_the_nearest_printed_figures_take_no_difference() -> None:
    rows = random_rows(["dual", "barlow_dual"], [10], [0])
    for dataset, comparable in (("CIFAR-10", True), ("CIFAR-100", False)):
        table = made("table_6_4", frame(rows), dataset, comparable=comparable)
        assert set(table["published_dataset"]) == {"CIFAR-100"}
        assert table["published_gated_knn_top1"].tolist() == [54.66, 53.01]
        assert table.filter(like="difference").isna().all(axis=None)


def test_a_budget_that_the_thesis_lacks_has_no_published_figures() -> None:
    table = made(
        "table_6_4",
        frame(random_rows(["dual", "barlow_dual"], [40], [0])),
        "CIFAR-100",
        comparable=True,
    )
    assert table.filter(like="published_").drop(columns="published_dataset").isna().all(axis=None)
    assert table.filter(like="difference").isna().all(axis=None)
    assert table["dense_knn_top1"].notna().all()


def test_a_student_costs_its_teacher_its_gates_and_itself() -> None:
    rows = [run_row("vicreg", None, 0, "dense", training_seconds=1000.0, training_macs=1e3)]
    rows += [
        run_row("dual", 30, 0, branch, training_seconds=100.0, training_macs=1e2)
        for branch in ("dense", "gated")
    ]
    rows += [run_row("dual", 10, 0, "gated", training_seconds=7e5)]
    rows += [run_row("simreg", 30, 0, "dense", training_seconds=10.0, training_macs=1e1)]
    rows += [run_row("seed", 30, 0, "dense", training_seconds=20.0, training_macs=2e1)]
    table = made("table_6_3", frame(rows), "CIFAR-100", comparable=True)
    spent = {
        row["model"]: (
            row["training_seconds"],
            row["total_training_seconds"],
            row["total_training_macs"],
        )
        for row in table[table["budget_percent"] == 30].to_dict("records")
    }
    assert spent == {
        "simreg": (10, 1110, 1110),
        "seed": (20, 1120, 1120),
        "dual": (100, 100, 100),
    }


def test_students_costs_add_up_seed_by_seed() -> None:
    rows = random_rows(["vicreg", "dual", "simreg", "seed"], [10, 50], [3, 4])
    table = made("table_6_3", frame(rows), "CIFAR-100", comparable=False)
    for metric in ("training_seconds", "training_macs"):
        expected = statistics.mean(
            values_by_seed(rows, "vicreg", "dense", None, metric)[seed]
            + values_by_seed(rows, "dual", "gated", 50, metric)[seed]
            + values_by_seed(rows, "seed", "dense", 50, metric)[seed]
            for seed in (3, 4)
        )
        row = one(table, model="seed", budget_percent=50)
        assert row[f"total_{metric}"] == pytest.approx(expected)


def test_a_teacher_that_was_not_run_leaves_the_total_open() -> None:
    rows = random_rows(["dual", "simreg"], [30], [0])
    table = made("table_6_3", frame(rows), "CIFAR-100", comparable=False)
    assert math.isnan(one(table, model="simreg")["total_training_seconds"])
    assert one(table, model="dual")["total_training_seconds"] > 0


def test_a_teacher_from_a_file_is_compared_with_the_thesis_and_its_cost_is_not_known() -> None:
    rows = random_rows(["vicreg", "dual", "simreg", "seed"], [30], [0, 1])
    known = {"simreg": "vicreg", "seed": "moco_v2"}
    table = made("table_6_3", frame(rows), "CIFAR-100", comparable=True, teachers=known)
    seed, simreg = one(table, model="seed"), one(table, model="simreg")
    assert (seed["teacher"], simreg["teacher"]) == ("moco_v2", "vicreg")
    assert seed["difference_knn"] == pytest.approx(seed["knn_normalised_top1"] - 35.29)
    assert math.isnan(seed["total_training_seconds"])
    assert simreg["total_training_seconds"] > 0
    swapped = {"simreg": "moco_v2"}
    table = made("table_6_3", frame(rows), "CIFAR-100", comparable=True, teachers=swapped)
    assert table.set_index("model").loc[["simreg", "seed"], "difference_knn"].isna().all()
    assert one(table, model="dual")["difference_knn"] == pytest.approx(
        one(table, model="dual")["knn_normalised_top1"] - 58.49
    )


def test_students_are_measured_on_normalised_features_beside_their_print() -> None:
    rows = random_rows(["vicreg", "dual", "simreg", "seed"], [30], [0, 1])
    table = made("table_6_3", frame(rows), "CIFAR-100", comparable=True)
    for model, branch, figure in (
        ("simreg", "dense", 45.71),
        ("seed", "dense", 35.29),
        ("dual", "gated", 58.49),
    ):
        row = one(table, model=model)
        values = values_by_seed(rows, model, branch, 30, "knn_normalised_top1").values()
        assert row["knn_normalised_top1"] == pytest.approx(100 * statistics.mean(values))
        assert row["knn_normalised_top1_std"] == pytest.approx(100 * statistics.stdev(values))
        assert row["published_knn_top1"] == figure
    # The thesis' SEED students saw ImageNet-1K and a larger teacher.
    assert math.isnan(one(table, model="seed")["difference_knn"])
    assert one(table, model="seed")["published_teacher"] == "MoCo-v2 R50, 800 epochs, ImageNet-1K"
    simreg = one(table, model="simreg")
    assert simreg["difference_knn"] == pytest.approx(simreg["knn_normalised_top1"] - 45.71)


def transfer_row(
    source: str, target: str, model: str, branch: str, value: float, **other: Any
) -> Row:
    row = {
        "source": source,
        "target": target,
        "model": model,
        "budget_percent": None if model == "vicreg" else 10,
        "seed": 0,
        "branch": branch,
        "linear_top1": value,
        "linear_std": 0.01,
    }
    return row | other


def test_transfer_by_hand() -> None:
    rows = []
    for seed, baseline, dense, gated in ((0, 0.7, 0.6, 0.65), (1, 0.8, 0.66, 0.77)):
        for model, branch, value in (
            ("dual", "gated", gated),
            ("dual", "dense", dense),
            ("vicreg", "dense", baseline),
        ):
            rows.append(transfer_row("ours", "theirs", model, branch, value, seed=seed))
    rows.append(transfer_row("theirs", "ours", "vicreg", "dense", 0.11))
    names = {"ours": "CIFAR-100", "theirs": "STL-10"}
    table = made("table_6_2", frame(rows), published_names=names)
    shown = list(zip(table["source"], table["model"], table["branch"], strict=True))
    assert shown == [
        ("ours", "vicreg", "dense"),
        ("ours", "dual", "dense"),
        ("ours", "dual", "gated"),
        ("theirs", "vicreg", "dense"),
    ]
    gated = table.iloc[2]
    assert gated["linear_top1"] == pytest.approx(71)
    assert gated["linear_std"] == pytest.approx(12 / math.sqrt(2))  # 65 and 77
    assert gated["against_vicreg"] == pytest.approx(-4)  # -5 and -3
    assert gated["against_vicreg_std"] == pytest.approx(math.sqrt(2))
    assert gated["published_linear_top1"] == 64.29
    assert gated["published_against_vicreg"] == pytest.approx(64.29 - 70.37)
    assert gated["difference_linear"] == pytest.approx(71 - 64.29)
    # One seed: the deviation of the probe's runs. The thesis has no encoders from STL-10.
    last = table.iloc[3]
    assert last["linear_std"] == pytest.approx(1)
    assert math.isnan(last["against_vicreg"])
    assert math.isnan(last["published_linear_top1"])
    assert [int(seeds) for seeds in table["seeds"]] == [2, 2, 2, 1]


def test_data_without_a_name_in_the_thesis_has_no_published_figures() -> None:
    rows = [transfer_row("CIFAR-100", "STL-10", "vicreg", "dense", 0.7)]
    assert made("table_6_2", frame(rows), published_names={})["published_linear_top1"].isna().all()
    named = made(
        "table_6_2", frame(rows), published_names={"CIFAR-100": "CIFAR-100", "STL-10": "STL-10"}
    )
    assert named["published_linear_top1"].tolist() == [70.37]


def test_runs_without_labels_still_have_their_costs() -> None:
    rows = [row | {"knn_top1": NAN} for row in random_rows(["dual", "barlow_dual"], [30], [0])]
    table = made("table_6_4", frame(rows), "CIFAR-100", comparable=True)
    assert table["dense_knn_top1"].isna().all()
    assert table["flop_reduction"].notna().all()
