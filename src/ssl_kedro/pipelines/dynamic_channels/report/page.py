"""The report of the dynamic_channels pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.dynamic_channels.report.figures import accuracy_against_cost
from ssl_kedro.pipelines.dynamic_channels.report.tables import COLUMNS, GROUPS
from ssl_kedro.pipelines.gated.report.channels import channels_section
from ssl_kedro.pipelines.gated.report.curves import Histories, training_section
from ssl_kedro.pipelines.gated.report.levels import to_beat
from ssl_kedro.pipelines.gated.report.page import closing_sections, cost_card, origin
from ssl_kedro.pipelines.gated.variants import label_of
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.html import Card, Picture, Report, Section, rendered
from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.published import published_heading
from ssl_kedro.reporting.table import PUBLISHED, shown

Models = Mapping[str, Mapping[str, Any]]
_NO_LABELS = (
    "These images carry no labels: 1-NN and its baselines were skipped, which is why accuracies "
    "are a dash and no operating point is named. Training, costs, channel usage and the trained "
    "encoders are complete. To evaluate, put the images into one folder a class."
)
_TERMS = (
    (
        "Operating point",
        "The budget that saves most among those whose 1-NN accuracy stays within the allowed "
        "distance of the ungated baseline's.",
    ),
)


def dynamic_channels_report(
    metrics: Mapping[str, float],
    models: Models,
    histories: Histories,
    manifest: Mapping[str, Any],
    setup: Mapping[str, Any],
    table: pd.DataFrame,
    further: Sequence[Section] = (),
) -> str:
    """Self-contained HTML with the results of chapter 5.

    Args:
        metrics: flat metrics (fractions).
        models: evaluation of every model.
        histories: per-epoch rows of every model.
        manifest: of the run.
        setup: of the run, with "published", "comparable" and "within_points".
        table: Table 5.1.
        further: sections to stand behind accuracy against cost.
    """
    labelled = "simsiam.knn_top1" in metrics
    sections = [
        *_collapse_section(models),
        *([] if labelled else [Section("No labels", (_NO_LABELS,))]),
        _table_section(table, setup),
        *([_cost_section(metrics, table, setup)] if labelled else []),
        *further,
        *channels_section(models),
        training_section(models, histories),
        *closing_sections("5", setup, manifest, _TERMS),
    ]
    report = Report(
        title="Only the channels an image needs",
        lead=_lead(metrics, setup),
        origin=origin("Dynamic channel selection (chapter 5)", setup, manifest),
        cards=_cards(metrics, models, setup),
        sections=sections,
    )
    return rendered(report)


def _lead(metrics: Mapping[str, float], setup: Mapping[str, Any]) -> str:
    if "simsiam.knn_top1" not in metrics:
        return "The images have no labels, so accuracy was not evaluated; costs are below."
    baseline = percent(metrics["simsiam.knn_top1"])
    chosen = metrics.get("operating_point.budget")
    allowed = f"{setup['within_points']:g} points of the ungated encoder's {baseline}"
    if chosen is None:
        return f"No budget stays within {allowed} by 1-NN."
    key = budget_name(chosen)
    return (
        f"The cheapest gated encoder within {allowed} by 1-NN is the one trained for "
        f"{percent(chosen, 0)}: {percent(metrics[f'{key}.knn_top1'])} at "
        f"{percent(1 - metrics[f'{key}.flop_reduction'], 0)} of the FLOPs (MACs)."
    )


def _cards(metrics: Mapping[str, float], models: Models, setup: Mapping[str, Any]) -> list[Card]:
    cards = [cost_card(metrics, setup, "ungated")]
    if "simsiam.knn_top1" in metrics:
        cards.append(Card(percent(metrics["simsiam.knn_top1"]), "1-NN top-1 of ungated SimSiam"))
    for model in models.values():
        if model["budget"] is None:
            continue
        key = budget_name(model["budget"])
        label = f"FLOPs (MACs) saved at budget {percent(model['budget'], 0)}"
        if f"{key}.knn_top1" in metrics:
            label += f"; 1-NN top-1 {percent(metrics[f'{key}.knn_top1'])}"
        cards.append(Card(percent(metrics[f"{key}.flop_reduction"], 0), label))
    return cards


def _collapse_section(models: Models) -> list[Section]:
    """Names of models whose embedding has become one point."""
    collapsed = [key for key, model in models.items() if model["training"]["collapsed"]]
    if not collapsed:
        return []
    listed = ", ".join(label_of(key) for key in collapsed)
    text = (
        f"{listed}: the embeddings of all images have become nearly one point (spread "
        "below a tenth of an even one). Their accuracies say nothing about the method. A lower "
        "learning rate, more warm-up or fewer epochs at the peak rate usually help."
    )
    return [Section("Collapsed", (text,))]


def _table_section(table: pd.DataFrame, setup: Mapping[str, Any]) -> Section:
    beside = setup["published"]
    headings = {PUBLISHED: published_heading("5", beside)}
    explained = (
        ""
        if setup["comparable"]
        else f" This run did not use {beside}, so it takes no difference to the published "
        "figures: they stand beside for scale."
    )
    caption = (
        "1-NN top-1, FLOP reductions and channel shares in percent, differences in percentage "
        f"points; FLOPs are MACs with the “{setup['stem']}” stem. Published: thesis, Table 5.1."
        f"{explained}"
    )
    groups = {group: headings.get(group, group) for group in GROUPS}
    return Section(
        "Table 5.1: SimSiam with dynamic channel selection",
        tables=[shown(COLUMNS, table, groups, ["method"], caption)],
    )


def _cost_section(
    metrics: Mapping[str, float], table: pd.DataFrame, setup: Mapping[str, Any]
) -> Section:
    levels = to_beat(metrics)
    picture = Picture(
        accuracy_against_cost(metrics, table, within_points=setup["within_points"]),
        "1-NN accuracy of each budget over its cost, the ungated baseline and what there is to "
        f"beat as lines. {levels}",
    )
    return Section("Accuracy against cost", (levels,), pictures=[picture])
