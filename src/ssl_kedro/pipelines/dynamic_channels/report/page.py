"""The report of the dynamic_channels pipeline."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.evaluation.gate_responses import GateResponses
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report.consistency import consistency_section
from ssl_kedro.pipelines.dynamic_channels.report.tables import COLUMNS, GROUPS, TRANSFER_COLUMNS
from ssl_kedro.pipelines.gated.inference.records import (
    Deployment,
    Exports,
    Measurements,
    why_missing,
)
from ssl_kedro.pipelines.gated.look import Overview
from ssl_kedro.pipelines.gated.nodes import Arrays
from ssl_kedro.pipelines.gated.records import Evaluations, Histories, Usages
from ssl_kedro.pipelines.gated.report.budgets import BUDGETS_TITLE, budgets_cards, budgets_lead
from ssl_kedro.pipelines.gated.report.channels import channels_section
from ssl_kedro.pipelines.gated.report.data_section import data_section
from ssl_kedro.pipelines.gated.report.few_labels import label_section
from ssl_kedro.pipelines.gated.report.frontier_section import frontier_sections
from ssl_kedro.pipelines.gated.report.gate_section import gate_section
from ssl_kedro.pipelines.gated.report.overhead import overhead_section
from ssl_kedro.pipelines.gated.report.overview import overview_sections, unlabelled_sections
from ssl_kedro.pipelines.gated.report.page import (
    cost_card,
    levels_to_beat,
    page,
    reference_lines,
    to_beat,
)
from ssl_kedro.pipelines.gated.report.peers import peers_section
from ssl_kedro.pipelines.gated.report.speed_section import speed_sections
from ssl_kedro.pipelines.gated.report.trainings import training_section
from ssl_kedro.pipelines.gated.report.use_section import paths, use_section
from ssl_kedro.pipelines.gated.variants import label_of, name_of
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.html import Card, Section
from ssl_kedro.reporting.labels import label_point, mark_point, settled
from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.published import published_heading
from ssl_kedro.reporting.style import BLUE, GREY, ORANGE, figure, title
from ssl_kedro.reporting.table import PUBLISHED, RUN, shown


def dynamic_channels_report(
    parameters: DynamicChannelsParameters,
    metrics: dict[str, float],
    models: Evaluations,
    histories: Histories,
    run_manifest: dict[str, Any],
    table_5_1: pd.DataFrame | None = None,
    consistency: pd.DataFrame | None = None,
    inference_models: Measurements | None = None,
    inference_table: pd.DataFrame | None = None,
    frontier_table: pd.DataFrame | None = None,
    deployment: Deployment | None = None,
    exports: Exports | None = None,
    peers: pd.DataFrame | None = None,
    gate_responses: GateResponses | None = None,
    eval_images: ImageSet | None = None,
    overview: Overview | None = None,
    label_table: pd.DataFrame | None = None,
    transfer_table: pd.DataFrame | None = None,
    data_pictures: Arrays | None = None,
    kept_channels: Usages | None = None,
    bundles: str = "",
    *,
    spaces: Mapping[str, str] | None = None,
) -> str:
    """Self-contained HTML with the results of chapter 5.

    Args:
        parameters: of the run.
        metrics: flat metrics (fractions).
        models: evaluation of every model.
        histories: per-epoch rows of every model.
        run_manifest: of the run.
        table_5_1: the table; None with one encoder for every budget instead of gates.
        consistency: table of gates that should decide alike, where they were trained.
        inference_models: what was timed, by model.
        inference_table: the same as a table.
        frontier_table: every network, precision and engine.
        deployment: what to deploy of these.
        exports: checks of exported files, by model.
        peers: table of what a user would take instead.
        gate_responses: what the gates of one encoder look at; None without gates.
        eval_images: those that its pictures are of.
        overview: what features show of the images.
        label_table: what fine-tuning with some of the labels gives; None without.
        transfer_table: linear accuracies on other data; None without.
        data_pictures: some images and their views; None without.
        kept_channels: of networks that are cut for a budget; None without.
        bundles: folder that encoders lie in.
        spaces: name of each model's folder in it.
    """
    labelled, chosen = "simsiam.knn_top1" in metrics, metrics.get("operating_point.budget")
    alone = peers if table_5_1 is None else None
    of_budgets = "" if alone is None else budgets_lead(parameters, alone)
    sections = [
        *_collapse_section(models),
        *([] if labelled else unlabelled_sections(overview)),
        *frontier_sections(
            parameters.inference, frontier_table, deployment, why_missing(inference_models or {})
        ),
        *use_section(models, deployment, exports, paths(bundles, spaces or {})),
        *data_section(run_manifest, data_pictures),
        *channels_section(models, kept_channels),
        *overhead_section(parameters, models),
        *gate_section(gate_responses, eval_images),
        *peers_section(parameters, peers, metrics),
        *_chapter_sections(metrics, table_5_1, parameters),
        *label_section(parameters.few_labels, label_table),
        *_transfer_section(transfer_table),
        *consistency_section(consistency),
        *speed_sections(models, inference_models, inference_table, exports, chosen),
        *(overview_sections(overview) if labelled else []),
        training_section(models, histories),
    ]
    return page(
        "5",
        parameters,
        run_manifest,
        models=models,
        title="Only the channels an image needs" if alone is None else BUDGETS_TITLE,
        name="Dynamic channel selection",
        result=of_budgets or _result(metrics, parameters),
        deployment=deployment,
        cards=(
            _cards(metrics, models, parameters)
            if alone is None
            else budgets_cards(parameters, metrics, alone)
        ),
        sections=sections,
    )


def _result(metrics: Mapping[str, float], parameters: DynamicChannelsParameters) -> str:
    if "simsiam.knn_top1" not in metrics:
        return "The images have no labels, so accuracy was not evaluated."
    baseline = percent(metrics["simsiam.knn_top1"])
    chosen = metrics.get("operating_point.budget")
    allowed = f"{parameters.operating_point_within:g} points of the ungated encoder's {baseline}"
    if chosen is None:
        return f"No budget stays within {allowed} by 1-NN."
    key = budget_name(chosen)
    return (
        f"The cheapest gated encoder within {allowed} by 1-NN is the one trained for "
        f"{percent(chosen, 0)}: {percent(metrics[f'{key}.knn_top1'])} at "
        f"{percent(1 - metrics[f'{key}.flop_reduction'], 0)} of the FLOPs (MACs)."
    )


def _cards(
    metrics: Mapping[str, float], models: Evaluations, parameters: DynamicChannelsParameters
) -> list[Card]:
    cards = [cost_card(metrics, parameters, "ungated")]
    if "simsiam.knn_top1" in metrics:
        cards.append(Card(percent(metrics["simsiam.knn_top1"]), "1-NN top-1 of ungated SimSiam"))
    for name, model in models.items():
        if name_of(name) != parameters.gated_method or model.budget is None:
            continue
        key = budget_name(model.budget)
        label = f"FLOPs (MACs) saved at budget {percent(model.budget, 0)}"
        if f"{key}.knn_top1" in metrics:
            label += f"; 1-NN top-1 {percent(metrics[f'{key}.knn_top1'])}"
        cards.append(Card(percent(metrics[f"{key}.flop_reduction"], 0), label))
    return cards


def _collapse_section(models: Evaluations) -> list[Section]:
    """Names of models whose embedding has become one point."""
    collapsed = [key for key, model in models.items() if model.training.collapsed]
    if not collapsed:
        return []
    listed = ", ".join(label_of(key) for key in collapsed)
    text = (
        f"{listed}: the embeddings of all images have become nearly one point (spread "
        "below a tenth of an even one). Their accuracies say nothing about the method. A lower "
        "learning rate, more warm-up or fewer epochs at the peak rate usually help."
    )
    return [Section("Collapsed", (text,))]


def _chapter_sections(
    metrics: Mapping[str, float], table: pd.DataFrame | None, parameters: DynamicChannelsParameters
) -> list[Section]:
    if table is None:
        return []
    labelled = "simsiam.knn_top1" in metrics
    cost = [_cost_section(metrics, table, parameters)] if labelled else []
    return [_table_section(table, parameters), *cost]


def _transfer_section(table: pd.DataFrame | None) -> list[Section]:
    if table is None:
        return []
    spread = "over seeds" if table["seeds"].max() > 1 else "over the probe's runs, one seed"
    caption = (
        "Top-1 of a linear layer on features that stay as they are, in percent, ± standard "
        f"deviation {spread}; differences in percentage points to SimSiam without gates."
    )
    groups = {group: group for group in ("", RUN)}
    shown_table = shown(TRANSFER_COLUMNS, table, groups, ["source", "target"], caption)
    return [Section("Transfer to other data", tables=[shown_table])]


def _table_section(table: pd.DataFrame, parameters: DynamicChannelsParameters) -> Section:
    beside = parameters.published
    explained = (
        ""
        if parameters.on_published_data
        else f" This run did not use {beside}, so it takes no difference to the published "
        "figures: they stand beside for scale."
    )
    caption = (
        "1-NN top-1, FLOP reductions and channel shares in percent, differences in percentage "
        f"points; FLOPs are MACs with {parameters.stem}. Published: thesis, Table 5.1."
        f"{explained}"
    )
    groups = {group: group for group in GROUPS} | {PUBLISHED: published_heading("5", beside)}
    return Section(
        "Table 5.1: SimSiam with dynamic channel selection",
        tables=[shown(COLUMNS, table, groups, ["method"], caption)],
    )


def _cost_section(
    metrics: Mapping[str, float], table: pd.DataFrame, parameters: DynamicChannelsParameters
) -> Section:
    levels = to_beat(metrics)
    picture = Picture(
        accuracy_against_cost(parameters, metrics, table),
        "1-NN accuracy of each budget over its cost, the ungated baseline and what there is to "
        f"beat as lines. {levels}",
    )
    return Section("Accuracy against cost", (levels,), pictures=[picture])


def accuracy_against_cost(
    parameters: DynamicChannelsParameters, metrics: Mapping[str, float], table_5_1: pd.DataFrame
) -> Figure:
    """1-NN accuracy of every budget over its cost, the ungated baseline as a line.

    Args:
        parameters: of the run.
        metrics: flat metrics (fractions).
        table_5_1: percent.
    """
    made, (axis,) = figure(7.2, 4.4)
    axis.set_xlabel("FLOPs (MACs) of the ungated encoder (%)")
    axis.set_ylabel("1-NN top-1 (%)")
    axis.set_xlim(0, 104)
    gated = table_5_1[table_5_1["method"] == "simsiam_gating"].sort_values("flop_reduction")
    if gated["knn_top1"].isna().all():
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no labels: not evaluated", ha="center", transform=axis.transAxes)
        return made
    costs = 100 - gated["flop_reduction"]
    axis.plot(costs, gated["knn_top1"], marker="o", color=BLUE, lw=1.2, label="SimSiam, gated")
    points = zip(costs, gated["knn_top1"], gated["budget_percent"], strict=True)
    for cost, accuracy, budget in points:
        told = f"budget {budget:.0f} %: {accuracy:.1f} % 1-NN at {cost:.0f} % of the FLOPs"
        mark_point(axis, (cost, accuracy), told, color=BLUE, marker="o")
        label_point(axis, f"{budget:.0f} %", (cost, accuracy), BLUE)
    level, within = 100 * metrics["simsiam.knn_top1"], parameters.operating_point_within
    axis.axhline(level, color=GREY, lw=1.5, label="SimSiam, ungated")
    axis.axhspan(level - within, level, color=GREY, alpha=0.12, lw=0)
    reference_lines(axis, levels_to_beat(metrics))
    heading = "No budget is within reach of the baseline"
    chosen = metrics.get("operating_point.budget")
    if chosen is not None:
        at = gated[gated["budget_percent"] == round(100 * chosen)].iloc[0]
        saved = at["flop_reduction"]
        heading = f"{within:g} points below the baseline buy {saved:.0f} % of its FLOPs"
        label = f"operating point: budget {round(100 * chosen)} %"
        point = (100 - saved, at["knn_top1"])
        axis.plot(*point, "o", ms=14, mfc="none", mec=ORANGE, mew=2, label=label)
    title(axis, heading)
    axis.margins(y=0.14)
    made.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return settled(made)
