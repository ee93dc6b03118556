from __future__ import annotations

import io
import re
from html import unescape
from typing import Any

import pandas as pd
import pytest

from pipelines.page_text import text_of
from pipelines.run_rows import METHODS, NAN, Row, evaluation, frame, random_rows, run_row
from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.report.page import dual_gating_report
from ssl_kedro.pipelines.dual_gating.report.part_sections import part_sections
from ssl_kedro.pipelines.dual_gating.report.runs import flat_metrics
from ssl_kedro.pipelines.dual_gating.row import Row as Common
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.report.channels import channel_usage_figure
from ssl_kedro.pipelines.gated.report.trainings import training_curves
from ssl_kedro.reporting.number_format import DASH, MINUS, three_digits


def parameters(published: str = "CIFAR-100", *, comparable: bool = True) -> DualGatingParameters:
    return DualGatingParameters.model_validate(
        {
            "encoder": {"width": 8, "stem": "cifar"},
            "train": {"epochs": 3, "warmup_epochs": 1},
            "published": published,
            "data": {"source": published.lower().replace("-", ""), "root": "anywhere"},
            "published_data_is_ours": comparable,
        }
    )


SETUP = parameters()
OF_RUNS = ["table_6_3", "table_6_4", "table_6_5", "table_6_6"]
OF_RUNS += [f"question_{number}" for number in range(1, 7)]


def made(part: str, rows: list[Row], setup: DualGatingParameters = SETUP) -> pd.DataFrame:
    """The part's frame as it comes back from its CSV file."""
    common = Common(
        frame(rows),
        dataset=setup.published,
        is_that_dataset=setup.on_published_data,
        published_names={"a": "CIFAR-100", "b": "CIFAR-10"},
    )
    table = parts()[part].table(common)
    return pd.read_csv(io.StringIO(table.to_csv(index=False)))


def transfer_rows(seeds: int) -> list[Row]:
    rows = []
    for seed in range(seeds):
        for model, branch in (("vicreg", "dense"), ("dual", "dense"), ("dual", "gated")):
            row = run_row(model, None if model == "vicreg" else 10, seed, branch)
            rows.append(row | {"source": "a", "target": "b", "linear_top1": 0.5 + 0.01 * seed})
    return rows


def evaluations(rows: list[Row]) -> Evaluations:
    """The models' evaluations that belong to the rows."""
    found: Evaluations = {}
    for row in rows:
        budget = row["budget_percent"]
        key = row["model"] if budget is None else f"{row['model']}.budget_{budget:02d}"
        usage = [BlockUsage("layer1.0", 4, 1, 2, 1, 0.5)]
        gated = row["branch"] == "gated" or (key in found and found[key].channel_usage)
        found[key] = evaluation(row["method"], budget, usage if gated else ())
    return found


def histories(rows: list[Row]) -> dict[str, list[dict[str, float]]]:
    return {
        key: [
            {"epoch": e, "loss": 2.0} | ({"flop_ratio": 0.3} if model.channel_usage else {})
            for e in (1, 2)
        ]
        for key, model in evaluations(rows).items()
    }


def report(names: list[str], rows: list[Row], baselines: dict[str, float]) -> str:
    manifest = {
        "created": "2026-01-01T00:00:00+00:00",
        "seed": 0,
        "git_commit": None,
        "python": "3.11",
        "platform": "Linux x86_64",
        "versions": {},
        "execution": {"device": "cpu", "precision": "fp32"},
        "training_seconds": 150.0,
        "earlier_results": {},
        "peak_memory_mb": None,
        "data": {"skipped": [], "images": {"train": 20}, "fingerprints": {"train": "abc"}},
    }
    tables = {part: made(part, rows) for part in names}
    page = dual_gating_report(
        SETUP,
        flat_metrics(frame(rows), baselines),
        evaluations(rows),
        histories(rows),
        manifest,
        **tables,
    )
    return unescape(re.sub(r"data:[^\"]+", "", page))


def test_sections_stand_in_the_chapters_order_and_hold_every_row() -> None:
    rows = random_rows(list(METHODS), [10, 30], [0, 1, 2])
    tables = {part: made(part, rows) for part in reversed(OF_RUNS)}
    sections = part_sections(tables, SETUP)
    assert [section.title.split(":")[0] for section in sections] == [
        "Table 6.3",
        "Table 6.4",
        "Table 6.5",
        "Table 6.6",
        *["Open question"] * 6,
    ]
    for part, section in zip(OF_RUNS, sections, strict=True):
        table = section.tables[0]
        assert len(table.rows) == len(tables[part])
        for shown in section.tables:
            assert {len(row) for row in shown.rows} == {len(shown.columns)}
            assert sum(count for _, count in shown.groups) == len(shown.columns)
            budgets = [row[shown.columns.index("Budget")] for row in shown.rows]
            changes = [i for i in range(1, len(budgets)) if budgets[i] != budgets[i - 1]]
            assert list(shown.breaks) == changes
        assert "over 3 seeds" in table.caption
        assert len(section.paragraphs) == (1 if part.startswith("question") else 0)


def test_cells_show_mean_and_deviation_in_percent() -> None:
    rows = []
    for seed, (variant, dual) in enumerate(((0.5, 0.6), (0.6, 0.8))):
        for branch in ("dense", "gated"):
            rows.append(run_row("dual", 30, seed, branch, knn_top1=dual))
            rows.append(run_row("barlow_dual", 30, seed, branch, knn_top1=variant))
    (section,) = part_sections({"table_6_4": made("table_6_4", rows)}, SETUP)
    shown, compared = section.tables
    cells = dict(zip(shown.columns[:5], shown.rows[1][:5], strict=True))
    assert list(cells.values()) == [
        "Barlow Twins dual",
        "30\N{NO-BREAK SPACE}%",
        "55.00 ± 7.07",
        "55.00 ± 7.07",
        "50.00 ± 0.00",
    ]
    # Published, and the run less published.
    assert list(shown.rows[1][5:]) == [
        "55.03",
        "54.89",
        "66.09",
        f"{MINUS}0.03",
        "+0.11",
        f"{MINUS}16.09",
    ]
    assert compared.rows == [
        [
            "Barlow Twins dual",
            "30\N{NO-BREAK SPACE}%",
            # Student's quantile of one degree of freedom: 12.706 * 7.071 / sqrt(2) = 63.53.
            *[f"{MINUS}15.00 [{MINUS}78.53, +48.53]"] * 2,
            "0.00 [0.00, 0.00]",
        ]
    ]


def test_captions_say_whose_figures_stand_beside_and_why_there_is_no_difference() -> None:
    rows = random_rows(["dual", "two_encoders"], [30], [0])

    def caption(differences: bool, **setup: Any) -> str:
        context = parameters(**setup)
        (section,) = part_sections({"table_6_5": made("table_6_5", rows, context)}, context)
        groups = [name for name, _ in section.tables[0].groups]
        assert ("Run less published" in groups) == differences
        return section.tables[0].caption

    own = caption(differences=True)
    assert own.endswith("Published: thesis, Table 6.5, CIFAR-100.")
    assert "one seed" in own
    assert "did not use CIFAR-100" in caption(differences=False, comparable=False)
    nearest = caption(differences=False, published="CIFAR-10")
    assert "thesis, Table 6.5, CIFAR-100. It has no figures for CIFAR-10" in nearest


def test_transfer_shows_published_figures_only_where_there_are_any() -> None:
    table = made("table_6_2", transfer_rows(2))
    (section,) = part_sections({"table_6_2": table}, SETUP)
    shown = section.tables[0]
    assert shown.rows[2][:5] == ["a", "b", "Dual gating", "gated", "10\N{NO-BREAK SPACE}%"]
    assert shown.rows[2][5:] == [
        "50.50 ± 0.71",
        "0.00 [0.00, 0.00]",
        "79.92",
        f"{MINUS}0.16",
        f"{MINUS}29.42",
    ]
    assert shown.rows[0][4] == DASH
    unnamed = table.assign(
        published_linear_top1=NAN, published_against_vicreg=NAN, difference_linear=NAN
    )
    (section,) = part_sections({"table_6_2": unnamed}, SETUP)
    assert len(section.tables[0].columns) == 7
    assert "no figures for these pairs" in section.tables[0].caption


def test_the_second_table_of_a_question_holds_differences_only() -> None:
    rows = random_rows(["dual", "channel_diversity"], [10, 30], [0, 1])
    (section,) = part_sections({"question_2": made("question_2", rows)}, SETUP)
    assert [row[0] for row in section.tables[1].rows] == ["Channel diversity"] * 2
    plain = [row for row in rows if row["model"] == "dual"]
    (alone,) = part_sections({"question_2": made("question_2", plain)}, SETUP)
    assert len(alone.tables) == 1


@pytest.mark.parametrize("number", ["4", "5", "6"])
def test_a_run_of_one_table_needs_no_baseline(number: str) -> None:
    variant = {"4": "barlow_dual", "5": "two_encoders", "6": "without_invariance"}[number]
    rows = random_rows(["dual", variant], [30], [0])
    page = report([f"table_6_{number}"], rows, {"chance": 0.1})
    assert f"Table 6.{number}" in page
    for absent in ("Table 6.1", "Accuracy against cost", "trained on its own", "Embedding", "nan"):
        assert absent not in page, absent


def test_a_report_without_dual_gating_or_gates_has_neither_lead_nor_channels_of_them() -> None:
    rows = random_rows(["simreg", "vicreg"], [30], [0])
    page = text_of(report([], rows, {"chance": 0.1}))
    assert "2 encoders were trained." in page and "tables below" not in page
    assert "Channels" not in page


def test_unlabelled_parts_say_so_once_and_show_costs() -> None:
    nothing = dict.fromkeys(("linear_top1", "linear_std", "knn_top1", "knn_normalised_top1"), NAN)
    rows = [row | nothing for row in random_rows(["vicreg", *list(METHODS)[2:]], [10, 30], [0, 1])]
    page = report(OF_RUNS, rows, {})
    assert page.count("carry no labels") == 1
    assert "nan" not in page
    assert "was not measured" in page


def test_cards_and_lead_are_means_over_seeds_of_plain_dual_gating() -> None:
    rows = []
    for seed, reduction in ((0, 0.6), (1, 0.8)):
        for branch in ("dense", "gated"):
            saved = {"flop_reduction": reduction if branch == "gated" else NAN}
            rows.append(run_row("dual", 30, seed, branch, **saved))
            rows.append(run_row("dual_ascent", 30, seed, branch))
    page = text_of(report(["question_4"], rows, {"chance": 0.1}))
    assert "needs 30\N{NO-BREAK SPACE}% of the dense encoder's" in page
    # Dual ascent has the same method, yet no card.
    assert page.count("FLOPs (MACs) saved at budget") == 1
    assert "2 trainings of the first seed" in page
    assert "Shown is the first seed." in page


def test_models_beyond_table_6_1_have_rows_of_curves_of_their_own() -> None:
    rows = random_rows(list(METHODS), [10, 30], [0])
    curves = training_curves(histories(rows))
    visible = [axis for axis in curves.axes if axis.axison]
    losses = [axis for axis in visible if axis.get_title(loc="left").endswith("loss")]
    assert len(losses) == len(METHODS)
    assert sum(len(axis.lines) for axis in losses) == len(evaluations(rows))
    costs = [axis for axis in visible if axis.get_title(loc="left").endswith("cost")]
    assert len(costs) == len(METHODS) - 3  # VICReg and the students have no gates
    (legend,) = curves.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["budget 10 %", "budget 30 %", "no budget"]
    few = training_curves(histories(random_rows(["vicreg", "dual"], [10, 30], [0])))
    assert len(few.axes) == 2


def test_widths_of_a_model_have_colours_and_names_of_their_own() -> None:
    rows = [{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0}]
    keys = ("vicreg", "dual.budget_30", "thin.width_11", "thin.width_9", "distilled.width_9")
    curves = training_curves(dict.fromkeys(keys, rows))
    named = [text.get_text() for text in curves.legends[0].get_texts()]
    assert named == ["budget 30 %", "width 9", "width 11", "no budget"]
    panels = {axis.get_title(loc="left"): axis for axis in curves.axes if axis.axison}
    wide, narrow = panels["thin: loss"].lines
    (taught,) = panels["distilled: loss"].lines
    assert wide.get_color() != narrow.get_color() == taught.get_color()


@pytest.mark.parametrize(("budgets", "columns"), [([10, 30, 50], 3), ([30], 3)])
def test_channel_panels_keep_the_budgets_of_a_model_in_a_row(
    budgets: list[int], columns: int
) -> None:
    names = ["dual_ascent", "two_encoders", "dual", "barlow_dual", "dense_anchored", "vicreg"]
    made_figure = channel_usage_figure(evaluations(random_rows(names, budgets, [0])))
    visible = [axis for axis in made_figure.axes if axis.get_visible()]
    assert len(visible) == 5 * len(budgets)
    grid = made_figure.axes[0].get_subplotspec().get_gridspec()
    assert grid.ncols == columns
    titles = [axis.get_title(loc="left") for axis in visible]
    assert titles[0] == f"dual gating, {budgets[0]} %: 50 % always off"
    models = [title.split(",")[0] for title in titles]
    assert models == sorted(models, key=models.index)


@pytest.mark.parametrize(
    ("value", "text"),
    [(105_534.2, "105,534"), (99.96, "100"), (1.317, "1.32"), (0.00123, "0.00123"), (NAN, DASH)],
)
def test_quantities_have_three_significant_digits(value: float, text: str) -> None:
    assert three_digits(value) == text


def test_a_folder_in_place_of_an_environments_data_is_not_what_was_published() -> None:
    setup = parameters("CIFAR-10")
    assert setup.on_published_data
    data = setup.data.__class__(source="folder", root="anywhere")
    assert not setup.model_copy(update={"data": data}).on_published_data
    assert not parameters("CIFAR-10", comparable=False).on_published_data
