from __future__ import annotations

import math

import pytest

from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report.page import accuracy_against_cost
from ssl_kedro.pipelines.dynamic_channels.report.tables import operating_point, table_5_1

BUDGETS = (0.5, 0.1, 0.3)


def given(published: str = "CIFAR-10", **changes: object) -> DynamicChannelsParameters:
    data = {"source": published.lower().replace("-", ""), "root": "anywhere"}
    values = {"budgets": BUDGETS, "published": published, "data": data, **changes}
    return DynamicChannelsParameters.model_validate(values)


def metrics() -> dict[str, float]:
    found = {
        "dense_macs": 200e6,
        "chance": 0.1,
        "raw_pixels.knn_top1": 0.3,
        "random_init.knn_top1": 0.2,
        "simsiam.knn_top1": 0.80,
    }
    for percent, accuracy, reduction in ((10, 0.70, 0.85), (30, 0.77, 0.68), (50, 0.79, 0.51)):
        name = f"budget_{percent}"
        found |= {
            f"{name}.knn_top1": accuracy,
            f"{name}.flop_reduction": reduction,
            f"{name}.channels.always_on": 0.2,
            f"{name}.channels.always_off": 0.3,
            f"{name}.channels.dependent": 0.5,
        }
    return found


def test_table_has_the_baseline_first_and_budgets_rising() -> None:
    table = table_5_1(given(published_data_is_ours=True), metrics())
    assert list(table["method"]) == ["simsiam"] + ["simsiam_gating"] * 3
    assert table["budget_percent"].isna().tolist() == [True, False, False, False]
    row = table.iloc[2]
    assert row["budget_percent"] == 30
    assert row["knn_top1"] == pytest.approx(77)
    assert row["macs"] == pytest.approx(0.32 * 200e6)
    assert row["against_baseline"] == pytest.approx(-3)
    # As printed: 80.82 against 85.46, 71.41 % and 2.01E8.
    assert (row["published_knn_top1"], row["published_flop_reduction"]) == (80.82, 71.41)
    assert row["published_macs"] == 201e6
    assert row["published_against_baseline"] == pytest.approx(80.82 - 85.46)
    assert row["difference_knn"] == pytest.approx(77 - 80.82)
    assert row["difference_reduction"] == pytest.approx(68 - 71.41)
    assert table.iloc[0]["macs"] == 200e6


def test_other_data_takes_no_difference_and_other_budgets_have_no_published_row() -> None:
    table = table_5_1(given("ImageNet-100"), metrics())
    assert table["difference_knn"].isna().all()
    by_budget = table.set_index("budget_percent")["published_knn_top1"]
    assert math.isnan(by_budget[10])
    assert by_budget[30] == 56.08


@pytest.mark.parametrize(
    ("within", "expected"), [(0.5, None), (1.0, 0.5), (3.0, 0.3), (10.0, 0.1), (50.0, 0.1)]
)
def test_operating_point_is_the_cheapest_close_enough(
    within: float, expected: float | None
) -> None:
    # A hundredth of slack: 0.80 - 0.77 is not exactly 0.03.
    assert operating_point(metrics(), BUDGETS, within + 0.01) == expected


def test_operating_point_goes_by_what_was_measured() -> None:
    # The larger budget came out cheaper and better: it is the one to take.
    found = metrics() | {"budget_50.flop_reduction": 0.9}
    assert operating_point(found, BUDGETS, 10) == 0.5
    del found["simsiam.knn_top1"]
    assert operating_point(found, BUDGETS, 10) is None


def test_figure_marks_the_operating_point_or_says_there_is_none() -> None:
    found = metrics() | {"operating_point.budget": 0.3}
    table = table_5_1(given(published_data_is_ours=True), found)
    figure = accuracy_against_cost(given(operating_point_within=4), found, table)
    axis = figure.axes[0]
    assert "4 points below the baseline buy 68 %" in axis.get_title(loc="left")
    drawn = sorted(map(tuple, axis.lines[0].get_xydata().tolist()))
    assert [x for x, _ in drawn] == pytest.approx([15, 32, 49])
    assert [y for _, y in drawn] == pytest.approx([70, 77, 79])
    without = accuracy_against_cost(given(operating_point_within=0.1), metrics(), table)
    assert "No budget" in without.axes[0].get_title(loc="left")
