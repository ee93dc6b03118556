from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from pipelines.run_rows import NAN, frame, random_rows, run_row, values_by_seed
from ssl_kedro.pipelines.dual_gating.report.runs import flat_metrics, summary
from ssl_kedro.pipelines.dual_gating.row import Row


def test_summary_is_mean_and_sample_deviation_of_each_group() -> None:
    rows = random_rows(["vicreg", "dual", "simreg"], [10, 30], [0, 1, 2])
    found = summary(frame(rows))
    assert len(found) == 1 + 2 * 2 + 2
    for row in found.to_dict("records"):
        budget = None if row["model"] == "vicreg" else int(row["budget_percent"])
        for metric in ("linear_top1", "knn_top1", "flop_reduction", "training_seconds"):
            of_seeds = values_by_seed(rows, row["model"], row["branch"], budget, metric)
            values = list(of_seeds.values())
            assert row["seeds"] == len(values) == 3
            mean, std = row[f"{metric}_mean"], row[f"{metric}_std"]
            if math.isnan(values[0]):
                assert math.isnan(mean)
                continue
            assert mean == pytest.approx(statistics.mean(values), rel=1e-12)
            assert std == pytest.approx(statistics.stdev(values), rel=1e-9)


def test_summary_of_one_seed_has_no_deviation() -> None:
    found = summary(frame([run_row("dual", 30, 0, "gated")])).iloc[0]
    assert found["linear_top1_mean"] == 0.5
    assert math.isnan(found["linear_top1_std"])
    assert found["seeds"] == 1


def test_models_of_one_method_stay_apart() -> None:
    rows = [
        run_row(m, 30, 0, "gated", knn_top1=k) for m, k in (("dual", 0.1), ("dual_ascent", 0.9))
    ]
    assert summary(frame(rows))["knn_top1_mean"].tolist() == [0.1, 0.9]


def test_one_seed_gives_the_figures_of_that_run_unchanged() -> None:
    probes = {"dense": [0.71, 0.73, 0.7], "gated": [0.61, 0.6, 0.66]}
    rows = [run_row("vicreg", None, 0, "dense", linear_top1=1 / 3, linear_std=0.1 / 3)]
    for branch, found in probes.items():
        measured = {
            "linear_top1": float(np.mean(found)),
            "linear_std": float(np.std(found)),
            "knn_top1": 0.1 + 0.2,
            "flop_reduction": 1 - 1 / 3 if branch == "gated" else NAN,
        }
        rows.append(run_row("dual", 5, 0, branch, **measured))
    assert flat_metrics(frame(rows), {"chance": 0.1}) == {
        "dense_macs": 2_000_000,
        "chance": 0.1,
        "vicreg.dense.linear_top1_mean": 1 / 3,
        "vicreg.dense.linear_top1_std": 0.1 / 3,
        "vicreg.dense.knn_top1": 0.4,
        "vicreg.dense.knn_normalised_top1": 0.45,
        "dual.budget_05.dense.linear_top1_mean": float(np.mean(probes["dense"])),
        "dual.budget_05.dense.linear_top1_std": float(np.std(probes["dense"])),
        "dual.budget_05.dense.knn_top1": 0.1 + 0.2,
        "dual.budget_05.dense.knn_normalised_top1": 0.45,
        "dual.budget_05.gated.linear_top1_mean": float(np.mean(probes["gated"])),
        "dual.budget_05.gated.linear_top1_std": float(np.std(probes["gated"])),
        "dual.budget_05.gated.knn_top1": 0.1 + 0.2,
        "dual.budget_05.gated.knn_normalised_top1": 0.45,
        "dual.budget_05.gated.flop_reduction": 1 - 1 / 3,
        "dual.budget_05.channels.always_on": 0.2,
        "dual.budget_05.channels.always_off": 0.3,
        "dual.budget_05.channels.dependent": 0.5,
    }


def test_several_seeds_give_means_and_deviations_over_them() -> None:
    rows = [
        run_row("dual", 30, seed, "gated", linear_top1=a, knn_top1=a, flop_reduction=a)
        for seed, a in ((0, 0.5), (1, 0.6), (2, 0.7))
    ]
    found = flat_metrics(frame(rows), {})
    for name in ("linear_top1_mean", "knn_top1", "flop_reduction"):
        assert found[f"dual.budget_30.gated.{name}"] == pytest.approx(0.6)
    for name in ("linear_top1_std", "knn_top1_std", "flop_reduction_std"):
        assert found[f"dual.budget_30.gated.{name}"] == pytest.approx(0.1)


def test_a_student_has_a_reduction_of_its_dense_branch_and_no_channels() -> None:
    found = flat_metrics(frame([run_row("simreg", 30, 0, "dense")]), {})
    assert found["simreg.budget_30.dense.flop_reduction"] == 0.5
    assert not [key for key in found if "channels" in key]


def test_runs_without_labels_have_costs_only() -> None:
    nothing = dict.fromkeys(("linear_top1", "linear_std", "knn_top1", "knn_normalised_top1"), NAN)
    found = flat_metrics(frame([run_row("dual", 30, 0, "gated", **nothing)]), {})
    assert not [key for key in found if "top1" in key]
    assert not [value for value in found.values() if math.isnan(value)]
    assert found["dual.budget_30.gated.flop_reduction"] == 0.5


def test_differences_are_paired_by_seed() -> None:
    ours, theirs = {0: 0.5, 1: 0.6, 2: 0.9, 7: 0.1}, {0: 0.4, 1: 0.4, 2: 0.6, 9: 0.0}
    rows = [run_row("dual", 30, s, "gated", knn_top1=v) for s, v in ours.items()]
    rows += [run_row("vicreg", None, s, "dense", knn_top1=v) for s, v in theirs.items()]
    # 10, 20 and 30 points over the seeds 0, 1, 2; the others have no partner.
    found = Row(frame(rows), "dual", 30).less("vicreg", "knn_top1", other_branch="dense")
    assert found == (pytest.approx(20), pytest.approx(10), 3)


def test_pairs_meet_at_their_own_budget_only() -> None:
    rows = [run_row("dual", b, 0, "gated", knn_top1=b / 100) for b in (10, 30)]
    rows += [run_row("dual_ascent", b, 0, "gated", knn_top1=b / 50) for b in (10, 30)]
    for budget in (10, 30):
        found = Row(frame(rows), "dual_ascent", budget).less("dual", "knn_top1")
        assert found.mean == pytest.approx(budget)
        assert found.n == 1
        assert math.isnan(found.std)
    mean, std, n = Row(frame(rows), "dual", 30).less("vicreg", "knn_top1", other_branch="dense")
    assert math.isnan(mean)
    assert math.isnan(std)
    assert n == 0
