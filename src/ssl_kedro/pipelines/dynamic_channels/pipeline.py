"""The graph of chapter 5: the ungated baseline and one namespace a budget."""

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
    named,
    report_node,
    stages,
)
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.parameters import budget_name

KEY = "dynamic_channels"


def create_pipeline(parameters: DynamicChannelsParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Chapter 5; the tag "export" adds the nodes that write compact networks to files."""
    exported = EXPORT in asked
    models = planned_models(parameters)
    budgets = [budget_name(budget) for budget in parameters.budgets]
    further = stages(models, exported=exported)
    table = ["inference_table"] * bool(further)
    page = ("parameters", "metrics", "models", "histories", "run_manifest", "table_5_1")
    figure = named(KEY, "parameters", "metrics", "table_5_1")
    made: list[Made] = [
        *gathering(KEY, models, parameters.dense_method, exported=exported),
        (metrics, named(KEY, "parameters", "models", "baselines", *further), "metrics"),
        (table_5_1, named(KEY, "parameters", "metrics"), "table_5_1"),
        (accuracy_against_cost, figure, "accuracy_against_cost"),
        (dynamic_channels_report, named(KEY, *page, *further, *table), "report"),
    ]
    return Pipeline(
        [
            *encoder_nodes(KEY, models, budgets, exported=exported),
            *(report_node(KEY, one, (), exported=exported, prefix=f"{KEY}_") for one in made),
        ]
    )


def planned_models(parameters: DynamicChannelsParameters) -> list[PlannedModel]:
    """SimSiam without gates, which belongs to every budget, then with gates at each."""
    part = "pretrain" if image_source(parameters.data.source).unlabelled else "train"
    found = []
    for budget in (None, *parameters.budgets):
        method = parameters.dense_method if budget is None else parameters.gated_method
        label = method if budget is None else budget_name(budget)
        budgets = parameters.budgets if budget is None else (budget,)
        found.append(
            PlannedModel(
                pipeline=KEY,
                key=method if budget is None else f"{method}.{label}",
                namespace=f"{KEY}.{label}",
                label=label,
                training=Training(method, budget, parameters.seed),
                images=f"{KEY}.{part}_images",
                data=KEY,
                tags=(*map(budget_name, budgets), method),
                timed=budget is not None and parameters.inference.measures(method),
            )
        )
    return found
