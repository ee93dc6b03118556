from __future__ import annotations

import math
import re
from html import unescape
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.page_text import text_of
from pipelines.run_rows import Row, evaluation, frame, run_row
from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.report.figures import (
    accuracy_against_cost,
    embedding_figure,
)
from ssl_kedro.pipelines.dual_gating.report.page import dual_gating_report
from ssl_kedro.pipelines.dual_gating.row import Row as Common
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.report.channels import channel_usage_figure
from ssl_kedro.pipelines.gated.report.page import closing_sections
from ssl_kedro.pipelines.gated.report.trainings import training_curves
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.pictures import Picture

BUDGETS = (0.3, 0.5)


def metrics() -> dict[str, float]:
    found = {"dense_macs": 1_000_000.0, "chance": 0.1}
    found |= {"raw_pixels.knn_top1": 0.3, "random_init.knn_top1": 0.2}
    values = {"vicreg.dense": 0.9, "vicreg_gating.budget_30.gated": 0.8}
    values |= {"vicreg_gating.budget_50.gated": 0.82, "dual.budget_30.dense": 0.88}
    values |= {"dual.budget_30.gated": 0.85, "dual.budget_50.dense": 0.89}
    values |= {"dual.budget_50.gated": 0.87}
    for key, value in values.items():
        found |= {f"{key}.linear_top1_mean": value, f"{key}.linear_top1_std": 0.01}
        found[f"{key}.knn_top1"] = value - 0.05
    for name in ("vicreg_gating", "dual"):
        found[f"{name}.budget_30.gated.flop_reduction"] = 0.66
        found[f"{name}.budget_50.gated.flop_reduction"] = 0.48
    return found


def models() -> Evaluations:
    usage = [
        BlockUsage(f"layer{1 + index // 2}.{index % 2}", 10, index, 1, 9 - index, 0.5)
        for index in range(8)
    ]
    found = {"vicreg": evaluation("vicreg", None, seconds=30.0)}
    for percent in (30, 50):
        for name, method in (("vicreg_gating", "vicreg_gating"), ("dual", "dual_gating")):
            found[f"{name}.budget_{percent}"] = evaluation(method, percent, usage, seconds=30.0)
    return found


def histories() -> dict[str, list[dict[str, float]]]:
    rows = [{"epoch": e, "loss": 10.0 - e, "flop_ratio": 0.5} for e in (1, 2, 3)]
    plain = [{"epoch": e, "loss": 10.0 - e} for e in (1, 2, 3)]
    return {key: plain if key == "vicreg" else rows for key in models()}


def embedding(class_name: str = "<b>cat</b>") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = []
    for key in models():
        branches = ["dense"] if key == "vicreg" else ["dense", "gated"]
        for branch in branches:
            parts.append(
                pd.DataFrame(
                    {
                        "model": key,
                        "branch": branch,
                        "x": rng.normal(size=6),
                        "y": rng.normal(size=6),
                        "label": [0, 0, 1, 1, 2, 2],
                        "class_name": [class_name] * 2 + ["dog"] * 2 + ["eel"] * 2,
                    }
                )
            )
    return pd.concat(parts)


def manifest(skipped: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "created": "2026-01-01T00:00:00+00:00",
        "seed": 0,
        "git_commit": None,
        "python": "3.11",
        "platform": "Linux x86_64",
        "versions": {"torch": "2.9", "mlflow": None},
        "execution": {"device": "cpu", "precision": "fp32", "trial_ms": {}},
        "training_seconds": 150.0,
        "earlier_results": {},
        "peak_memory_mb": None,
        "data": {
            "skipped": skipped,
            "images": {"pretrain": 2000, "eval": 1000},
            "fingerprints": {"train": "abc"},
        },
    }


def parameters(batch_size: int = 64, *, comparable: bool = False) -> DualGatingParameters:
    return DualGatingParameters.model_validate(
        {
            "data": {
                "source": "cifar10" if comparable else "folder",
                "root": "anywhere",
                "size": 32,
            },
            "encoder": {"width": 8, "stem": "cifar"},
            "train": {"epochs": 3, "warmup_epochs": 1, "batch_size": batch_size},
            "expander": {"output": 64},
            "published_data_is_ours": comparable,
        }
    )


def table_6_1(values: dict[str, float], budgets: tuple[float, ...], *, comparable: bool) -> Any:
    """Table 6.1 of runs that have these metrics."""
    rows: list[Row] = []
    nothing = dict.fromkeys(("linear_top1", "linear_std", "knn_top1"), math.nan)
    for model, branches in {
        "vicreg": ["dense"],
        "vicreg_gating": ["gated"],
        "dual": ["dense", "gated"],
    }.items():
        for budget in [None] if model == "vicreg" else [round(100 * b) for b in budgets]:
            key = model if budget is None else f"{model}.budget_{budget:02d}"
            for branch in branches:
                of_branch = f"{key}.{branch}."
                found = {k.removeprefix(of_branch): v for k, v in values.items()}
                measured = {
                    "linear_top1": found.get("linear_top1_mean", math.nan),
                    "linear_std": found.get("linear_top1_std", math.nan),
                    "knn_top1": found.get("knn_top1", math.nan),
                    "flop_reduction": found.get("flop_reduction", math.nan),
                }
                rows.append(run_row(model, budget, 0, branch, **nothing | measured))
    common = Common(frame(rows), dataset="CIFAR-10", is_that_dataset=comparable)
    return parts()["table_6_1"].table(common)


def report(values: dict[str, float], skipped: list[tuple[str, str]] | None = None) -> str:
    table = table_6_1(values, BUDGETS, comparable=False)
    return dual_gating_report(
        parameters(),
        values,
        models(),
        histories(),
        manifest(skipped or []),
        embedding=embedding(),
        table_6_1=table,
    )


def test_table_6_1_by_hand() -> None:
    table = table_6_1(metrics(), (0.5, 0.3), comparable=True)
    assert list(table["budget_percent"].fillna(0)) == [0, 30, 30, 30, 50, 50, 50]
    gated = table.iloc[3]
    assert (gated["method"], gated["branch"]) == ("dual_gating", "gated")
    assert gated["linear_top1"] == pytest.approx(85)
    assert gated["knn_top1"] == pytest.approx(80)
    assert gated["against_baseline_1"] == pytest.approx(-5)
    assert gated["against_baseline_2"] == pytest.approx(5)
    assert gated["published_linear_top1"] == 90.27
    assert gated["published_flop_reduction"] == 66.43
    assert gated["difference_linear"] == pytest.approx(85 - 90.27)
    assert gated["difference_flop_reduction"] == pytest.approx(66 - 66.43)
    baseline = table.iloc[0]
    assert baseline["published_linear_top1"] == 91.11
    assert pd.isna(baseline["against_baseline_1"])
    assert pd.isna(table.iloc[2]["against_baseline_2"])  # the dense branch


def test_other_images_have_no_differences_and_other_budgets_no_published_row() -> None:
    values = metrics()
    for key in list(values):
        values[key.replace("budget_30", "budget_40")] = values[key]
    table = table_6_1(values, (0.4,), comparable=False)
    assert table["difference_linear"].isna().all()
    assert table["published_linear_top1"].isna().tolist() == [False, True, True, True]


def test_unlabelled_runs_have_costs_only() -> None:
    values = {k: v for k, v in metrics().items() if k == "dense_macs" or "flop" in k}
    table = table_6_1(values, BUDGETS, comparable=False)
    assert table["linear_top1"].isna().all()
    assert table.iloc[3]["flop_reduction"] == pytest.approx(66)
    page = report(values)
    assert "no labels" in page
    assert "nan" not in re.sub(r"data:[^\"]+", "", page)


def test_report_is_self_contained_escaped_and_complete() -> None:
    page = report(metrics(), [("train/<i>x</i>.jpg", "truncated")])
    without_pictures = re.sub(r"data:[^\"]+", "", page)
    assert not re.search(r"(src|href)=\"(?!\s*\")http", without_pictures)
    assert "<script" not in page
    assert "train/&lt;i&gt;x&lt;/i&gt;.jpg" in page
    assert "1 file(s) skipped" in page
    for shown in ("85.00 ± 1.00", "66.00", "+5.00", "90.27 ± 0.03", "30.0\N{NO-BREAK SPACE}%"):
        assert shown in without_pictures, shown
    assert "needs 34\N{NO-BREAK SPACE}% of the dense encoder's" in text_of(page)
    assert page.count("<svg ") == page.count('aria-label="Accuracy') + 2 == 3
    assert page.count("<img ") == page.count('alt="') == 1
    assert len(page) < 2_000_000


def test_channel_bars_add_up_to_all_channels() -> None:
    made = channel_usage_figure(models())
    visible = [axis for axis in made.axes if axis.get_visible()]
    assert len(visible) == 4
    for axis in visible:
        assert len(axis.patches) == 3 * 8
        heights = np.array([patch.get_height() for patch in axis.patches]).reshape(3, 8)
        assert heights.sum(axis=0) == pytest.approx(100)
        assert heights[0] == pytest.approx(10 * np.arange(8))


def test_curves_and_cost_show_every_model() -> None:
    curves = training_curves(histories())
    assert len(curves.axes[0].lines) == 5
    cost = accuracy_against_cost(metrics(), models())
    xs = sorted(x for line in cost.axes[0].lines for x in np.atleast_1d(line.get_xdata()))
    assert 34 in [round(float(x)) for x in xs]
    ys = [float(y) for line in cost.axes[0].lines for y in np.atleast_1d(line.get_ydata())]
    assert any(abs(y - 85) < 1e-9 for y in ys)


def test_embedding_has_one_legend_entry_a_class() -> None:
    made = embedding_figure(embedding("cat"))
    legends = [axis.get_legend() for axis in made.axes if axis.get_legend()]
    assert len(legends) == 1
    assert [text.get_text() for text in legends[0].get_texts()] == ["cat", "dog", "eel"]
    assert made.legends == []


def test_embedding_has_a_row_a_branch_and_a_column_a_budget() -> None:
    made = embedding_figure(embedding("cat"))
    drawn = [
        bool(axis.collections) and len(axis.collections[0].get_offsets()) for axis in made.axes
    ]
    # Rows dual dense, dual gated, VICReg-Gating gated; columns baseline, 30 %, 50 %.
    assert drawn == [6, 6, 6, False, 6, 6, False, 6, 6]
    titles = [axis.get_title(loc="left") for axis in made.axes]
    assert titles[:3] == ["VICReg, dense (Baseline-1)", "budget 30 %", "budget 50 %"]
    points = embedding("cat")
    wanted = points[(points["model"] == "dual.budget_50") & (points["branch"] == "gated")]
    offsets = np.asarray(made.axes[5].collections[0].get_offsets())
    np.testing.assert_allclose(offsets, wanted[["x", "y"]].to_numpy())


def test_a_class_keeps_its_colour_in_every_panel() -> None:
    made = embedding_figure(embedding("cat"))
    shades = [axis.collections[0].get_facecolor() for axis in made.axes if axis.collections]
    for shade in shades:
        np.testing.assert_array_equal(shade, shades[0])
    assert len(np.unique(shades[0], axis=0)) == 3


@pytest.mark.parametrize("name", ["cost $5$ and $", "_hidden", "<b>", "a" * 300, "", "$\\frac{$"])
@pytest.mark.filterwarnings("error")
def test_any_class_name_can_be_drawn(name: str) -> None:
    made = embedding_figure(embedding(name))
    Picture(made, "", "png").markup(1)
    legend = next(axis.get_legend() for axis in made.axes if axis.get_legend())
    assert len(legend.get_texts()) == 3


def test_unlabelled_points_have_one_colour_and_no_legend() -> None:
    points = embedding("").assign(label=-1, class_name="")
    made = embedding_figure(points)
    assert not any(axis.get_legend() for axis in made.axes)
    assert len(np.unique(made.axes[0].collections[0].get_facecolor(), axis=0)) == 1


def test_costs_and_budgets_are_drawn_in_percent() -> None:
    made = training_curves(histories())
    ratio = made.axes[1]
    assert ratio.lines[0].get_ydata() == pytest.approx([50, 50, 50])
    marks = sorted({float(y) for line in ratio.lines[4:] for y in line.get_ydata()})
    assert marks == [30, 50]


def test_a_spread_panel_appears_where_it_was_measured() -> None:
    measured = {
        key: [row | {"embedding_std": 0.9} for row in rows] for key, rows in histories().items()
    }
    assert len(training_curves(histories()).axes) == 2
    spread_panel = training_curves(measured).axes[2]
    assert len(spread_panel.lines) == 5
    assert spread_panel.get_ylim()[0] == 0


def test_baselines_measured_by_1_nn_stand_in_the_1_nn_panel_only() -> None:
    linear, nearest = accuracy_against_cost(metrics(), models()).axes
    horizontal = [line.get_ydata()[0] for line in nearest.lines if line.get_linestyle() == ":"]
    assert sorted(horizontal) == pytest.approx([10, 20, 30])
    assert not [line for line in linear.lines if line.get_linestyle() == ":"]
    poor = {k: 0.1 if "linear_top1_mean" in k else v for k, v in metrics().items()}
    linear, _ = accuracy_against_cost(poor, models()).axes
    assert [line.get_ydata()[0] for line in linear.lines if line.get_linestyle() == ":"] == [10]


def test_titles_of_the_cost_figure_say_the_result() -> None:
    linear, nearest = accuracy_against_cost(metrics(), models()).axes
    assert linear.get_title(loc="left") == "Linear probe: 85.0 % at 34 % of the cost"
    assert nearest.get_title(loc="left") == "1-NN: 80.0 % at 34 % of the cost"


def test_channel_titles_count_the_channels_never_open() -> None:
    made = channel_usage_figure(models())
    # 8 blocks of 10 channels with one always off each.
    assert made.axes[0].get_title(loc="left") == "dual gating, 30 %: 10 % always off"


def test_set_up_lists_differences_and_names_what_agrees() -> None:
    def section(batch_size: int = 64, *, comparable: bool = False) -> Section:
        made = parameters(batch_size, comparable=comparable)
        return closing_sections("6", made, manifest([]), ("vicreg", "dual.budget_30"))[0]

    found = section(512)
    rows = {row[0]: tuple(row[1:]) for row in found.tables[0].rows}
    assert rows["Epochs"] == ("3", "500")
    assert rows["Images"] == ("folder", "CIFAR-10")
    assert rows["Images to pre-train on"] == ("2,000", "50,000")
    assert "Batch size" not in rows
    assert "batch size 512" in found.paragraphs[-1]
    assert found.paragraphs[0].startswith("Recipe: authors. Encoders and losses of the thesis")
    same_data = section(comparable=True)
    assert "Images" not in {row[0] for row in same_data.tables[0].rows}


def test_the_same_results_give_the_same_page() -> None:
    assert report(metrics()) == report(metrics())


def test_a_thousand_skipped_files_are_folded_and_cut() -> None:
    page = report(metrics(), [(f"train/{i}.jpg", "truncated") for i in range(1000)])
    assert "1,000 file(s) skipped" in page
    assert "<summary>Show 200 files</summary>" in page
    assert "train/199.jpg" in page
    assert "train/200.jpg" not in page
    assert "<summary>Show 1 files" not in report(metrics(), [("a.jpg", "truncated")])


def test_report_prints_every_measured_number() -> None:
    page = unescape(re.sub(r"data:[^\"]+", "", report(metrics())))
    for key, value in metrics().items():
        if key == "dense_macs":
            assert "1.0 M" in page
        elif "std" not in key:
            assert (
                f"{100 * value:.2f}" in page or f"{100 * value:.1f}\N{NO-BREAK SPACE}%" in page
            ), key


def test_data_of_the_thesis_adds_differences_to_it() -> None:
    table = table_6_1(metrics(), BUDGETS, comparable=True)
    page = dual_gating_report(
        parameters(comparable=True),
        metrics(),
        models(),
        histories(),
        manifest([]),
        table_6_1=table,
    )
    assert "Run less published" in page
    assert "<td>\N{MINUS SIGN}5.27</td>" in page  # 85 - 90.27
    assert "Run less published" not in report(metrics())
