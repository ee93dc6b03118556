"""Nodes that gather what the models left behind into metrics, table, figures and report."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report import figures, tables
from ssl_kedro.pipelines.dynamic_channels.report.page import dynamic_channels_report
from ssl_kedro.pipelines.gated.inference_nodes import stage_metrics, stage_sections
from ssl_kedro.pipelines.gated.report import channels, curves
from ssl_kedro.pipelines.gated.report.page import setup_of
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.manifest import run_manifest

Json = dict[str, Any]


def collect_models(*evaluations: Json, keys: tuple[str, ...]) -> Json:
    """All models' evaluations by model name."""
    return {_model_name(k): e for k, e in zip(keys, evaluations, strict=True)}


def collect_histories(*trainings: Json, keys: tuple[str, ...]) -> Json:
    """All models' per-epoch rows by model name."""
    return {_model_name(k): t["history"] for k, t in zip(keys, trainings, strict=True)}


def _model_name(label: str) -> str:
    return f"simsiam_gating.{label}" if label.startswith("budget_") else label


def metrics(
    parameters: DynamicChannelsParameters,
    models: Json,
    baselines: Json,
    *measured: Json,
    stages: tuple[str, ...] = (),
) -> Json:
    """The numbers of the run under flat keys; accuracies and shares are fractions."""
    found: Json = {"dense_macs": models["simsiam"]["macs"]["dense"], **baselines}
    accuracies = models["simsiam"]["branches"]["dense"]
    if accuracies:
        found["simsiam.knn_top1"] = accuracies["knn_top1"]
    for budget in parameters.budgets:
        name = budget_name(budget)
        model = models[f"simsiam_gating.{name}"]
        if model["branches"]["gated"]:
            found[f"{name}.knn_top1"] = model["branches"]["gated"]["knn_top1"]
        found[f"{name}.flop_reduction"] = model["macs"]["flop_reduction"]
        channels = sum(block["channels"] for block in model["channel_usage"])
        for use in ("always_on", "always_off", "dependent"):
            share = sum(block[use] for block in model["channel_usage"]) / channels
            found[f"{name}.channels.{use}"] = share
    chosen = tables.operating_point(found, parameters.budgets, parameters.operating_point_within)
    if chosen is not None:
        found["operating_point.budget"] = chosen
    further = stage_metrics(dict(zip(stages, measured, strict=True)))
    # Budgets have no method's name before them here: there is one.
    return found | {
        key.removeprefix(f"{parameters.gated_method}."): value for key, value in further.items()
    }


def table_5_1(parameters: DynamicChannelsParameters, metrics: Json) -> pd.DataFrame:
    """Table 5.1 with the published figures beside the measured ones."""
    return tables.table_5_1(
        metrics,
        parameters.budgets,
        parameters.published,
        comparable=parameters.published_data_is_ours,
    )


def describe_run(
    parameters: DynamicChannelsParameters, data: Json, execution: Json, models: Json
) -> Json:
    """Versions, commit, data, seed, device and cost of the run."""
    return run_manifest(
        seed=parameters.seed,
        data=data,
        execution=execution,
        parameters=parameters.model_dump(mode="json"),
        training_seconds=sum(model["training"]["seconds"] for model in models.values()),
    )


def training_curves(histories: Json) -> Figure:
    """Loss, realised cost and spread over the epochs."""
    return curves.training_curves(histories)


def channel_usage(models: Json) -> Figure:
    """Fig. 5.1: always on, always off, dependent, per block and budget."""
    return channels.channel_usage_figure(models)


def accuracy_against_cost(
    parameters: DynamicChannelsParameters, metrics: Json, table: pd.DataFrame
) -> Figure:
    """1-NN accuracy over FLOPs with the baseline as a line and the operating point marked."""
    return figures.accuracy_against_cost(
        metrics, table, within_points=parameters.operating_point_within
    )


def render_report(
    parameters: DynamicChannelsParameters,
    metrics: Json,
    models: Json,
    histories: Json,
    manifest: Json,
    table: pd.DataFrame,
    *found: Any,
    shown: tuple[str, ...] = (),
) -> str:
    """The self-contained HTML report."""
    chosen = metrics.get("operating_point.budget")
    sections = stage_sections(models, dict(zip(shown, found, strict=True)), chosen)
    setup = setup_of(
        parameters, manifest, parameters.published, parameters.published_data_is_ours
    ) | {"within_points": parameters.operating_point_within}
    return dynamic_channels_report(metrics, models, histories, manifest, setup, table, sections)
