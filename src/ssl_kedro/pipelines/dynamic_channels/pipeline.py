"""The graph of chapter 5: the ungated baseline and one namespace a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.images.load import has_unlabelled_part
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report import nodes
from ssl_kedro.pipelines.gated.graph import (
    Inputs,
    PlannedTraining,
    evaluation_nodes,
    preparation_nodes,
    training_node,
)
from ssl_kedro.pipelines.gated.inference_graph import (
    EXPORT,
    export_nodes,
    gathering,
    measurement_nodes,
    stage_tags,
    stages,
)
from ssl_kedro.pipelines.gated.nodes import collect_by_model, collect_histories
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.parameters import budget_name

KEY = "dynamic_channels"
PARAMETERS = f"params:{KEY}"


def create_pipeline(parameters: DynamicChannelsParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Chapter 5; the tag "export" adds the nodes that write compact networks to files."""
    exported = EXPORT in asked
    part = "pretrain" if has_unlabelled_part(parameters.data.source) else "train"
    images = f"{KEY}.{part}_images"
    budgets = tuple(budget_name(budget) for budget in parameters.budgets)
    models = [_model(parameters, None, images, budgets)]
    models += [
        _model(parameters, budget, images, (budget_name(budget),)) for budget in parameters.budgets
    ]
    graph = preparation_nodes(KEY, images, budgets)
    for model in models:
        graph += [training_node(model), *evaluation_nodes(model)]
    timed = models[1:] if parameters.inference.measures(parameters.gated_method) else []
    graph += measurement_nodes(KEY, timed, budgets)
    if exported:
        graph += export_nodes(KEY, timed)
    return Pipeline([*graph, *_report_nodes(parameters, models, timed, exported)])


def _model(
    parameters: DynamicChannelsParameters,
    budget: float | None,
    images: str,
    tags: tuple[str, ...],
) -> PlannedTraining:
    method = parameters.dense_method if budget is None else parameters.gated_method
    label = method if budget is None else budget_name(budget)
    return PlannedTraining(
        pipeline=KEY,
        namespace=f"{KEY}.{label}",
        label=label,
        training=Training(method, budget, parameters.seed),
        pretrain_images=images,
        data_summary=f"{KEY}.data_summary",
        tags=(*tags, method),
    )


def _report_nodes(
    parameters: DynamicChannelsParameters,
    models: Sequence[PlannedTraining],
    timed: Sequence[PlannedTraining],
    exported: bool,
) -> list[Node]:
    """Metrics, Table 5.1, figures, manifest and report over all models."""
    further = stages(timed, exported=exported)
    shown = (*further, *(["inference_table"] if further else []))
    gated = parameters.gated_method
    timed_keys = [f"{gated}.{model.label}" for model in timed]

    def named(output: str) -> dict[str, str]:
        return {
            model.label if model.training.budget is None else f"{gated}.{model.label}": (
                f"{model.namespace}.{output}"
            )
            for model in models
        }

    made: list[tuple[Callable[..., Any], Inputs, str]] = [
        (collect_by_model, named("evaluation"), "models"),
        (collect_histories, named("training"), "histories"),
        (
            nodes.metrics,
            {"parameters": PARAMETERS}
            | {name: f"{KEY}.{name}" for name in ("models", "baselines", *further)},
            "metrics",
        ),
        *gathering(KEY, timed, timed_keys, parameters.dense_method, exported=exported),
        (nodes.table_5_1, [PARAMETERS, f"{KEY}.metrics"], "table_5_1"),
        (
            nodes.describe_run,
            [PARAMETERS, f"{KEY}.data_summary", f"{KEY}.execution", f"{KEY}.models"],
            "run_manifest",
        ),
        (nodes.training_curves, [f"{KEY}.histories"], "training_curves"),
        (nodes.channel_usage, [f"{KEY}.models"], "channel_usage"),
        (
            nodes.accuracy_against_cost,
            [PARAMETERS, f"{KEY}.metrics", f"{KEY}.table_5_1"],
            "accuracy_against_cost",
        ),
        (
            nodes.render_report,
            {"parameters": PARAMETERS, "manifest": f"{KEY}.run_manifest"}
            | {"table": f"{KEY}.table_5_1"}
            | {name: f"{KEY}.{name}" for name in ("metrics", "models", "histories", *shown)},
            "report",
        ),
    ]
    return [
        node(
            function,
            inputs,
            f"{KEY}.{output}",
            name=f"{KEY}_{output}",
            tags=["report", *stage_tags(output, exported=exported)],
        )
        for function, inputs, output in made
    ]
