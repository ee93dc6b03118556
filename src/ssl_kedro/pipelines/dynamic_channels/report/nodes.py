"""Nodes that gather what the models left behind into metrics, table, figures and report."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report import figures, tables
from ssl_kedro.pipelines.dynamic_channels.report.page import dynamic_channels_report
from ssl_kedro.pipelines.gated.inference_nodes import stage_metrics, stage_sections
from ssl_kedro.pipelines.gated.records import DataSummary, Evaluations, Histories, plain
from ssl_kedro.pipelines.gated.report import channels, curves
from ssl_kedro.pipelines.gated.report.page import setup_of
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.training.config import Execution

Json = dict[str, Any]


def metrics(
    parameters: DynamicChannelsParameters,
    models: Evaluations,
    baselines: dict[str, float],
    **stages: Any,
) -> dict[str, float]:
    """The numbers of the run under flat keys; accuracies and shares are fractions."""
    baseline, gated = models[parameters.dense_method], parameters.gated_method
    found: dict[str, float] = {"dense_macs": baseline.macs.dense, **baselines}
    if (nearest := baseline.branches["dense"].knn_top1) is not None:
        found["simsiam.knn_top1"] = nearest
    for budget in parameters.budgets:
        name = budget_name(budget)
        model = models[f"{gated}.{name}"]
        if (nearest := model.branches["gated"].knn_top1) is not None:
            found[f"{name}.knn_top1"] = nearest
        if model.macs.flop_reduction is not None:
            found[f"{name}.flop_reduction"] = model.macs.flop_reduction
        channels = sum(block.channels for block in model.channel_usage)
        for use in ("always_on", "always_off", "dependent"):
            share = sum(getattr(block, use) for block in model.channel_usage) / channels
            found[f"{name}.channels.{use}"] = share
    chosen = tables.operating_point(found, parameters.budgets, parameters.operating_point_within)
    if chosen is not None:
        found["operating_point.budget"] = chosen
    # Budgets have no method's name before them here: there is one.
    further = stage_metrics(stages)
    return found | {key.removeprefix(f"{gated}."): value for key, value in further.items()}


def table_5_1(parameters: DynamicChannelsParameters, metrics: dict[str, float]) -> pd.DataFrame:
    """Table 5.1 with the published figures beside the measured ones."""
    return tables.table_5_1(
        metrics,
        parameters.budgets,
        parameters.published,
        comparable=parameters.published_data_is_ours,
    )


def describe_run(
    parameters: DynamicChannelsParameters,
    data: DataSummary,
    execution: Execution,
    models: Evaluations,
) -> Json:
    """Versions, commit, data, seed, device and cost of the run."""
    return run_manifest(
        seed=parameters.seed,
        data=plain(data),
        execution=plain(execution),
        parameters=parameters.model_dump(mode="json"),
        training_seconds=sum(model.training.seconds for model in models.values()),
    )


def training_curves(histories: Histories) -> Figure:
    """Loss, realised cost and spread over the epochs."""
    return curves.training_curves(histories)


def channel_usage(models: Evaluations) -> Figure:
    """Fig. 5.1: always on, always off, dependent, per block and budget."""
    return channels.channel_usage_figure(plain(models))


def accuracy_against_cost(
    parameters: DynamicChannelsParameters, metrics: dict[str, float], table: pd.DataFrame
) -> Figure:
    """1-NN accuracy over FLOPs with the baseline as a line and the operating point marked."""
    return figures.accuracy_against_cost(
        metrics, table, within_points=parameters.operating_point_within
    )


def render_report(
    parameters: DynamicChannelsParameters,
    metrics: dict[str, float],
    models: Evaluations,
    histories: Histories,
    manifest: Json,
    table: pd.DataFrame,
    **stages: Any,
) -> str:
    """The self-contained HTML report."""
    sections = stage_sections(models, stages, metrics.get("operating_point.budget"))
    setup = setup_of(
        parameters, manifest, parameters.published, parameters.published_data_is_ours
    ) | {"within_points": parameters.operating_point_within}
    return dynamic_channels_report(
        metrics, plain(models), histories, manifest, setup, table, sections
    )
