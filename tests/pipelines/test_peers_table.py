"""The table of peers against sums and differences written out."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from pipelines.run_rows import evaluation
from ssl_kedro.evaluation.accuracies import Accuracies, Costs
from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.inference.records import Measurement
from ssl_kedro.pipelines.gated.records import Evaluation
from ssl_kedro.pipelines.gated.report.peers import peers_section, peers_table

DEPENDENT = (BlockUsage("layer1.0", 8, 2, 2, 4, 0.5),)
DENSE = 1_000_000


def model(
    method: str,
    own: int,
    knn: float | None,
    *,
    seconds: float,
    macs: int = 0,
    gated: tuple[float, float] | None = None,
) -> Evaluation:
    """A model whose probe ran twice, .01 around a tenth above its 1-NN; (cost, 1-NN) of gates."""
    linear = None if knn is None else (knn + 0.09, knn + 0.11)
    found = replace(
        evaluation(method, None, DEPENDENT if gated else (), seconds=seconds),
        branches={"dense": Accuracies(knn, knn, linear)},
        macs=Costs(DENSE, own),
    )
    found = replace(found, training=replace(found.training, macs=macs))
    if gated is None:
        return found
    cost, accuracy = gated
    return replace(
        found,
        branches={**found.branches, "gated": Accuracies(accuracy, None, None)},
        macs=Costs(DENSE, own, cost, 1 - cost / DENSE),
    )


def measured(knn: float, macs: float) -> Measurement:
    """What the table reads of a measurement."""
    found = {"accuracies": {"static": Accuracies(knn)}, "macs": {"dense": DENSE, "static": macs}}
    return cast(Measurement, SimpleNamespace(**found))


def row(table: pd.DataFrame, key: str, network: str = "dense") -> dict[str, Any]:
    (found,) = table[(table["model"] == key) & (table["network"] == network)].to_dict("records")
    return cast(dict[str, Any], found)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    made: dict[str, Evaluation | Measurement] = {}
    for seed, shift in ((0, 0.0), (1, 0.04), (2, 0.02)):
        at = f"seed_{seed}"
        made |= {
            f"vicreg.{at}.evaluation": model(
                "vicreg", DENSE, 0.5 + shift, seconds=100 + seed, macs=10_000
            ),
            f"thin.width_6.{at}.evaluation": model("vicreg", 140_000, 0.3, seconds=20),
            f"thin.width_9.{at}.evaluation": model("vicreg", 320_000, 0.4 - shift, seconds=40),
            f"distilled.width_9.{at}.evaluation": model(
                "simreg", 320_000, 0.45, seconds=50, macs=4_000
            ),
            # Fewer MACs than width 9 in the mean, not with every seed.
            f"dual.budget_30.{at}.evaluation": model(
                "dual_gating",
                DENSE,
                0.48,
                seconds=120,
                gated=(300_000 + 20_000 * seed - 15_000, 0.42 + shift),
            ),
            f"dual.budget_30.{at}.inference": measured(0.43, 330_000),
            # Its evaluation tells of the training that it was cut from.
            f"pruned.budget_30.{at}.evaluation": model("vicreg", 299_000, 0.3, seconds=77, macs=8),
        }
    return peers_table(DualGatingParameters.model_validate({}), **made)


def test_others_are_compared_with_a_thin_network_of_no_fewer_macs(table: pd.DataFrame) -> None:
    compared = table.set_index(["model", "network"])["compared_with"]
    assert compared["distilled.width_9", "dense"] == "thin.width_9"
    assert compared["dual.budget_30", "gated"] == "thin.width_9"
    # 330,000 are more than the widest thin network has.
    assert compared["dual.budget_30", "static"] == "vicreg"
    assert compared["dual.budget_30", "dense"] == "vicreg"
    assert compared[["vicreg", "thin.width_6", "thin.width_9"]].isna().all()


def test_differences_are_paired_by_seed(table: pd.DataFrame) -> None:
    gated = row(table, "dual.budget_30", "gated")
    # .42 - .40, .46 - .36, .44 - .38 in points
    assert gated["knn_against_thin"] == pytest.approx((2 + 10 + 6) / 3)
    deviation = math.sqrt(((2 - 6) ** 2 + (10 - 6) ** 2 + 0) / 2)
    assert gated["knn_against_thin_std"] == pytest.approx(deviation)
    assert gated["knn_against_thin_n"] == 3
    assert gated["linear_against_thin_n"] == 0  # its linear accuracy was not measured
    static = row(table, "dual.budget_30", "static")
    assert static["knn_against_thin"] == pytest.approx(100 * (0.43 - (0.5 + 0.54 + 0.52) / 3))
    taught = row(table, "distilled.width_9")
    assert taught["linear_top1"] == pytest.approx(55)
    assert taught["linear_against_thin"] == pytest.approx((5 + 9 + 7) / 3)


def test_a_student_costs_what_its_teacher_of_the_same_seed_did_as_well(
    table: pd.DataFrame,
) -> None:
    taught = row(table, "distilled.width_9")
    assert (taught["training_seconds"], taught["training_macs"]) == (50, 4_000)
    assert taught["total_training_seconds"] == pytest.approx(50 + (100 + 101 + 102) / 3)
    assert taught["total_training_macs"] == 14_000
    for network in ("dense", "gated", "static"):
        dual = row(table, "dual.budget_30", network)
        assert dual["training_seconds"] == dual["total_training_seconds"] == 120


def test_what_begins_with_the_dense_baseline_costs_that_as_well() -> None:
    values = {"methods": {"nested": {"init": "dual_gating.vicreg.encoder"}}}
    made = {
        "vicreg.seed_0.evaluation": model("vicreg", DENSE, 0.5, seconds=100, macs=10_000),
        "nested.seed_0.evaluation": model("nested", DENSE, 0.5, seconds=30, macs=3_000),
        "nested.budget_32.seed_0.evaluation": model("nested", 3, 0.5, seconds=30, macs=3_000),
        "slim.seed_0.evaluation": model("slim", DENSE, 0.5, seconds=40, macs=4_000),
    }
    table = peers_table(DualGatingParameters.model_validate(values), **made)
    for key, itself, total in (
        ("vicreg", 100, 100), ("nested", 30, 130), ("nested.budget_32", 0, 130), ("slim", 40, 40),
    ):  # fmt: skip
        found = row(table, key)
        assert (found["training_seconds"], found["total_training_seconds"]) == (itself, total)


def test_what_is_cut_from_another_encoder_trains_nothing_itself(table: pd.DataFrame) -> None:
    cut = row(table, "pruned.budget_30")
    assert (cut["training_seconds"], cut["training_macs"]) == (0, 0)
    assert (cut["total_training_seconds"], cut["total_training_macs"]) == (77, 8)


def test_costs_are_shares_of_the_whole_encoder(table: pd.DataFrame) -> None:
    assert row(table, "thin.width_6")["cost_share"] == pytest.approx(14)
    assert row(table, "dual.budget_30", "gated")["macs"] == pytest.approx(305_000)
    assert row(table, "thin.width_6")["width"] == 6
    assert row(table, "dual.budget_30", "static")["budget_percent"] == 30


def test_the_page_shows_what_was_measured(table: pd.DataFrame) -> None:
    parameters = DualGatingParameters.model_validate({})
    [section] = peers_section(parameters, table, {"chance": 0.1})
    assert len(section.pictures) == 2 and "chance 10.0" in section.paragraphs[0]
    shown = section.tables[0]
    assert "Linear" in shown.columns
    (cells,) = (cells for cells in shown.rows if cells[:2] == ["dual gating, 30 %", "gated"])
    # 4.303 * 4 / sqrt(3) = 9.94.
    assert "+6.00 [\N{MINUS SIGN}3.94, +15.94]" in cells
    assert "thin, width 9" in cells
    without = table.assign(linear_top1=math.nan)
    assert "Linear" not in peers_section(parameters, without, {})[0].tables[0].columns
    assert peers_section(parameters, None, {}) == []


def test_without_labels_there_are_costs_alone() -> None:
    made = {f"vicreg.seed_{n}.evaluation": model("vicreg", DENSE, None, seconds=9) for n in (0, 1)}
    found = row(peers_table(DualGatingParameters.model_validate({}), **made), "vicreg")
    assert math.isnan(found["knn_top1"])
    assert (found["macs"], found["training_seconds"], found["seeds"]) == (DENSE, 9, 2)
