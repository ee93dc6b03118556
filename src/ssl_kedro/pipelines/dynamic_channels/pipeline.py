"""The graph of chapter 5: the ungated baseline and one namespace a budget."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ssl_kedro.images.load import image_source
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report.page import (
    accuracy_against_cost,
    dynamic_channels_report,
)
from ssl_kedro.pipelines.dynamic_channels.report.tables import metrics, table_5_1
from ssl_kedro.pipelines.gated.graph import (
    EXPORT,
    Made,
    PlannedModel,
    encoder_nodes,
    gathering,
    report_node,
    stages,
)
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.parameters import budget_name

KEY = "dynamic_channels"
PARAMETERS = f"params:{KEY}"


def create_pipeline(parameters: DynamicChannelsParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Chapter 5; the tag "export" adds the nodes that write compact networks to files."""
    exported = EXPORT in asked
    models = planned_models(parameters)
    budgets = [budget_name(budget) for budget in parameters.budgets]
    made = gathering(KEY, models, parameters.dense_method, exported=exported)
    made += _report(stages(models, exported=exported))
    return Pipeline(
        [
            *encoder_nodes(KEY, models, budgets, exported=exported),
            *(report_node(KEY, one, (), exported=exported, prefix=f"{KEY}_") for one in made),
        ]
    )


def planned_models(parameters: DynamicChannelsParameters) -> list[PlannedModel]:
    """SimSiam without gates, which belongs to every budget, then with gates at each."""
    part = "pretrain" if image_source(parameters.data.source).unlabelled else "train"
    budgets = tuple(budget_name(budget) for budget in parameters.budgets)
    dense, gated = parameters.dense_method, parameters.gated_method
    plan: list[tuple[str, float | None, tuple[str, ...]]] = [(dense, None, budgets)]
    plan += [(gated, budget, (budget_name(budget),)) for budget in parameters.budgets]
    found = []
    for method, budget, tags in plan:
        label = method if budget is None else budget_name(budget)
        found.append(
            PlannedModel(
                pipeline=KEY,
                key=method if budget is None else f"{method}.{label}",
                namespace=f"{KEY}.{label}",
                label=label,
                training=Training(method, budget, parameters.seed),
                images=f"{KEY}.{part}_images",
                data=KEY,
                tags=(*tags, method),
                timed=budget is not None and parameters.inference.measures(method),
            )
        )
    return found


def _report(further: Sequence[str]) -> list[Made]:
    """Metrics, Table 5.1, its figure and the report over all models."""

    def given_by_name(*names: str, **others: str) -> dict[str, str]:
        return {"parameters": PARAMETERS, **{name: f"{KEY}.{name}" for name in names}, **others}

    table = f"{KEY}.table_5_1"
    shown = ("metrics", "models", "histories", *further, *(["inference_table"] * bool(further)))
    page = given_by_name(*shown, manifest=f"{KEY}.run_manifest", table=table)
    return [
        (metrics, given_by_name("models", "baselines", *further), "metrics"),
        (table_5_1, given_by_name("metrics"), "table_5_1"),
        (accuracy_against_cost, given_by_name("metrics", table=table), "accuracy_against_cost"),
        (dynamic_channels_report, page, "report"),
    ]
