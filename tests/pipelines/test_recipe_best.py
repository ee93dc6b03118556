"""`recipe: best`: one encoder for every budget beside the dense baseline, and its report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from conftest import TINY, Project
from pipelines.test_dynamic_channels import TINY as TINY_DYNAMIC
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.encoders.nested_resnet18 import NestedResNet18
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.report.budgets import (
    accuracy_by_budget,
    budgets_cards,
    budgets_lead,
)

BOTH = pytest.mark.parametrize(
    ("pipeline", "dense"), [(dual_gating, "vicreg"), (dynamic_channels, "simsiam")]
)
SMALL = {"encoder": {"width": 16}, "recipe": "best"}
PARAMETERS = DualGatingParameters.model_validate({})
COSTS = {"nested.budget_14": 14.0, "nested.budget_32": 32.0, "nested": 100.0, "vicreg": 100.0}


def trained(made: Any) -> set[str]:
    """Last names of what is trained or cut."""
    words = ("training", "trained")
    nodes = [n for n in made.nodes if set(getattr(n.func, "keywords", {})) & set(words)]
    return {str(n.namespace).split(".", 1)[1] for n in nodes}


@BOTH
def test_a_run_without_tags_trains_a_dense_encoder_and_the_one_for_every_budget(
    pipeline: ModuleType, dense: str
) -> None:
    made = pipeline.create_pipeline(SMALL, ())
    budgets = {f"budget_{budget}.nested" for budget in (14, 19, 32, 47, 65)}
    assert trained(made) == {dense, "nested", *budgets}
    names = {node.name for node in made.nodes}
    assert not any("table_" in name for name in names)
    assert {"peers", "peers_plot"} <= {name.rsplit(".", 1)[-1] for name in names}
    same = pipeline.create_pipeline({**SMALL, "recipe": "authors"}, ("best",))
    assert {node.name for node in same.filter(tags=["best"]).nodes} == names


@BOTH
def test_what_the_thesis_has_is_asked_for_by_tags(pipeline: ModuleType, dense: str) -> None:
    made = pipeline.create_pipeline({**SMALL, "budgets": [0.3]}, ("frontier",))
    assert {dense, "budget_30", "nested", "width_9.thin"} <= trained(made)


def test_all_seeds_are_trained_and_timed() -> None:
    made = dual_gating.create_pipeline({**SMALL, "repeats": 2}, ())
    assert {"vicreg.seed_1", "nested.seed_1", "budget_14.nested.seed_1"} <= trained(made)
    timed = {
        str(n.namespace) for n in made.nodes if n.name.split(".")[-1].startswith("measure_inf")
    }
    assert "dual_gating.budget_14.nested.seed_1" in timed
    untimed = dual_gating.create_pipeline({**SMALL, "inference": {"models": []}}, ())
    assert not any("frontier_table" in node.name for node in untimed.nodes)


def table(linear: dict[str, float], *, labels: bool = True) -> pd.DataFrame:
    rows = [
        {
            "model": key,
            "network": "dense",
            "cost_share": COSTS[key],
            "linear_top1": value if labels else float("nan"),
            "linear_top1_std": float("nan"),
            "knn_top1": value - 9 if labels else float("nan"),
            "knn_top1_std": float("nan"),
        }
        for key, value in linear.items()
    ]
    return pd.DataFrame(rows)


def test_the_lead_names_the_lightest_that_keeps_up() -> None:
    made = table({"vicreg": 52.0, "nested": 54.0, "nested.budget_14": 50.0, "nested.budget_32": 51})
    said = budgets_lead(PARAMETERS, made).replace("\N{NO-BREAK SPACE}", " ")
    assert "from 14 % to 100 % of the FLOPs" in said
    assert "within 1 point of a dense VICReg (52.0 % in linear evaluation)" in said
    assert said.endswith("needs 32 % and reaches 51.0 %.")


def test_the_lead_admits_that_none_keeps_up() -> None:
    made = table({"vicreg": 52.0, "nested": 50.9, "nested.budget_32": 41.0})
    said = budgets_lead(PARAMETERS, made).replace("\N{NO-BREAK SPACE}", " ")
    assert "None is within 1 point" in said and said.endswith("the best has 50.9 %.")
    unlabelled = budgets_lead(PARAMETERS, table({"vicreg": 1, "nested": 1}, labels=False))
    assert "no labels" in unlabelled
    assert budgets_lead(PARAMETERS, table({"vicreg": 52.0})) == ""


def test_cards_are_the_baseline_and_each_budget() -> None:
    made = table({"vicreg": 52.0, "nested": 54.0, "nested.budget_14": 50.0})
    cards = budgets_cards(PARAMETERS, {"dense_macs": 1e6}, made)
    assert [card.value.replace("\N{NO-BREAK SPACE}", " ") for card in cards[1:]] == [
        "52.0 %",
        "50.0 %",
        "54.0 %",
    ]


def test_the_curve_has_a_point_a_network() -> None:
    made = table({"vicreg": 52.0, "nested": 54.0, "nested.budget_14": 50.0})
    figure = accuracy_by_budget(PARAMETERS, made, {"chance": 0.1, "raw_pixels.knn_top1": 0.4})
    linear, knn = figure.axes
    points = {tuple(line.get_xdata()) for line in linear.get_lines()}  # type: ignore[arg-type]
    assert {(100.0,), (14.0, 100.0)} <= points
    assert {text.get_text() for text in knn.texts} >= {"14 %", "100 %", "raw pixels 40.0 %"}
    assert not any("raw pixels" in text.get_text() for text in linear.texts)


def test_a_run_leaves_every_budget_and_a_report(project: Project) -> None:
    changes = {
        **TINY_DYNAMIC,
        "recipe": "best",
        "train.epochs": 1,
        "frontier.budgets": "0.3;0.5",
        "inference.models": "",
    }
    parameters = ",".join(f"dynamic_channels.{key}={value}" for key, value in changes.items())
    done = project.kedro("run", "--pipeline", "dynamic_channels", "--params", parameters)
    assert done.returncode == 0, done.stdout + done.stderr
    results = project.path / "data/08_reporting/dynamic_channels"
    with (results / "peers.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"simsiam", "nested", "nested.budget_30", "nested.budget_50"}
    metrics = json.loads((results / "metrics.json").read_text())
    share = 100 * (1 - metrics["nested.budget_30.dense.flop_reduction"])
    assert float(rows["nested.budget_30"]["cost_share"]) == pytest.approx(share)
    assert share <= 30
    page = (results / "report.html").read_text()
    assert "One encoder, trained once, for every budget" in page
    assert "Recipe: best." in page
    assert not (results / "table_5_1.csv").exists()
    encoder = load_encoder(Path(project.path, "data/06_models/dynamic_channels.nested/encoder"))
    assert isinstance(encoder, NestedResNet18)


def test_the_thesis_recipe_is_one_parameter_away() -> None:
    assert TINY["recipe"] == "authors"
    made = dual_gating.create_pipeline({**SMALL, "recipe": "authors", "budgets": [0.3]}, ())
    assert {"vicreg", "budget_30", "budget_30.vicreg_gating"} == trained(made)


@BOTH
def test_budgets_of_the_run_are_what_the_encoder_is_cut_to(
    pipeline: ModuleType, dense: str
) -> None:
    made = trained(pipeline.create_pipeline({**SMALL, "budgets": [0.2, 0.4]}, ()))
    assert made == {dense, "nested", "budget_20.nested", "budget_40.nested"}
    both = trained(pipeline.create_pipeline({**SMALL, "budgets": [0.2]}, ("frontier",)))
    assert {"budget_20", "budget_14.nested"} <= both
    assert "budget_20.nested" not in both
    with pytest.raises(ConfigError, match=r"budgets = 0\.05: .*or recipe = authors"):
        pipeline.create_pipeline({**SMALL, "budgets": [0.05]}, ())


def test_parts_that_are_named_are_made_with_any_recipe() -> None:
    made = dual_gating.create_pipeline({**SMALL, "parts": ["table_6_5"]}, ())
    assert "two_encoders" in {name.rsplit(".", 1)[-1] for name in trained(made)}
    assert "nested" not in trained(made)
