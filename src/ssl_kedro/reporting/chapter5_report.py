"""The report of the dynamic_channels pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssl_kedro.reporting.chapter5_figures import accuracy_against_cost
from ssl_kedro.reporting.chapter6_figures import channel_usage_figure, training_curves
from ssl_kedro.reporting.chapter6_models import Histories, Models, budget_label
from ssl_kedro.reporting.chapter6_setup import setup_section, thesis_setup
from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, MINUS, percent, plain, signed
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section

_NO_LABELS = (
    "These images carry no labels: 1-NN and its baselines were skipped, which is why accuracies "
    "are a dash and no operating point is named. Training, costs, channel usage and the trained "
    "encoders are complete. To evaluate, put the images into one folder a class."
)
_GLOSSARY = (
    ("Budget, t_d", "The share of the ungated encoder's cost that training asks the gates for."),
    (
        "FLOPs (MACs)",
        "Multiply-accumulates of convolutions (stem, blocks, downsample, gates) for one image; "
        "batch norm, ReLU and pooling are free. The thesis calls them FLOPs.",
    ),
    ("FLOP reduction", f"1 {MINUS} mean gated MACs / ungated MACs over the evaluation images."),
    ("1-NN", "Top-1 accuracy of naming the class of the nearest training image in feature space."),
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
        _channels_section(models),
        _training_section(models, histories),
        setup_section(setup, _thesis_setup(setup["published"]), "Thesis, 5.4 and its script"),
        *skipped_section(manifest),
        manifest_section(manifest),
        Section("Terms", terms=_GLOSSARY),
    ]
    report = Report(
        title="Only the channels an image needs",
        lead=_lead(metrics, setup),
        origin=(
            f"Dynamic channel selection (chapter 5) on {setup['source']} images, width "
            f"{setup['width']}, {setup['epochs']} epochs, seed {manifest['seed']}, "
            f"{manifest['created'][:10]}"
        ),
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
    key = f"budget_{round(100 * chosen):02d}"
    return (
        f"The cheapest gated encoder within {allowed} by 1-NN is the one trained for "
        f"{percent(chosen, 0)}: {percent(metrics[f'{key}.knn_top1'])} at "
        f"{percent(1 - metrics[f'{key}.flop_reduction'], 0)} of the FLOPs (MACs)."
    )


def _cards(metrics: Mapping[str, float], models: Models, setup: Mapping[str, Any]) -> list[Card]:
    cards = [
        Card(
            f"{metrics['dense_macs'] / 1e6:,.1f} M",
            f"FLOPs (MACs) an image, ungated encoder, “{setup['stem']}” stem",
        )
    ]
    if "simsiam.knn_top1" in metrics:
        cards.append(Card(percent(metrics["simsiam.knn_top1"]), "1-NN top-1 of ungated SimSiam"))
    for model in models.values():
        if model["budget"] is None:
            continue
        key = f"budget_{round(100 * model['budget']):02d}"
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
    listed = ", ".join(budget_label(key) for key in collapsed)
    text = (
        f"{listed}: the embeddings of all images have become nearly one point (spread "
        "below a tenth of an even one). Their accuracies say nothing about the method. A lower "
        "learning rate, more warm-up or fewer epochs at the peak rate usually help."
    )
    return [Section("Collapsed", (text,))]


def _table_section(table: pd.DataFrame, setup: Mapping[str, Any]) -> Section:
    groups = [
        ("", 2),
        ("This run", 4),
        ("Channels", 3),
        (f"Published ({setup['published']}, width 64, 500 epochs)", 3),
    ]
    columns = ["Model", "Budget", "1-NN", "less baseline", "FLOPs (M)", "FLOP reduction"]
    columns += ["always on", "dependent", "always off", "1-NN", "less baseline", "FLOP reduction"]
    if setup["comparable"]:
        groups.append(("Run less published", 2))
        columns += ["1-NN", "FLOP reduction"]
    rows = [_table_row(row)[: len(columns)] for row in table.to_dict("records")]
    explained = (
        ""
        if setup["comparable"]
        else f" This run did not use {setup['published']}, so it takes no difference to the "
        "published figures: they stand beside for scale."
    )
    caption = (
        "1-NN top-1, FLOP reductions and channel shares in percent, differences in percentage "
        f"points; FLOPs are MACs with the “{setup['stem']}” stem. Published: thesis, Table 5.1."
        f"{explained}"
    )
    return Section(
        "Table 5.1: SimSiam with dynamic channel selection",
        tables=[Table(columns, rows, left=1, groups=groups, breaks=[1], caption=caption)],
    )


def _table_row(row: Mapping[Any, Any]) -> list[str]:
    budget = row["budget_percent"]
    return [
        "SimSiam, ungated" if pd.isna(budget) else "SimSiam, gated",
        DASH if pd.isna(budget) else percent(int(budget) / 100, 0),
        plain(row["knn_top1"]),
        signed(row["against_baseline"]),
        plain(row["macs"] / 1e6),
        plain(row["flop_reduction"]),
        plain(row["always_on"], 1),
        plain(row["dependent"], 1),
        plain(row["always_off"], 1),
        plain(row["published_knn_top1"]),
        signed(row["published_against_baseline"]),
        plain(row["published_flop_reduction"]),
        signed(row["difference_knn"]),
        signed(row["difference_reduction"]),
    ]


def _cost_section(
    metrics: Mapping[str, float], table: pd.DataFrame, setup: Mapping[str, Any]
) -> Section:
    to_beat = (
        f"What there is to beat, by 1-NN: chance {percent(metrics['chance'])} (the most frequent "
        f"class), raw pixels {percent(metrics['raw_pixels.knn_top1'])}, an encoder with random "
        f"weights {percent(metrics['random_init.knn_top1'])}."
    )
    picture = Picture(
        accuracy_against_cost(metrics, table, within_points=setup["within_points"]),
        "1-NN accuracy of each budget over its cost, the ungated baseline and what there is to "
        f"beat as lines. {to_beat}",
    )
    return Section("Accuracy against cost", (to_beat,), pictures=[picture])


def _channels_section(models: Models) -> Section:
    sentence = (
        "Fig. 5.1 of the thesis: per residual block, the share of channels that the gates open "
        "for every evaluation image, for some, and for none. “Always off” is an observation on "
        "these images."
    )
    picture = Picture(
        channel_usage_figure(models),
        "Stacked bars of channel usage for each residual block and budget: always on, depends on "
        "the image, always off",
    )
    return Section("Channels", (sentence,), pictures=[picture])


def _training_section(models: Models, histories: Histories) -> Section:
    seconds = sum(model["training"]["seconds"] for model in models.values())
    rates = [model["training"]["images_per_second"] for model in models.values()]
    sentence = (
        f"{len(models)} trainings took {seconds / 60:.1f} minutes in all, at "
        f"{min(rates):,.0f} to {max(rates):,.0f} images a second (two views each)."
    )
    picture = Picture(
        training_curves(histories),
        "Training loss, realised cost and spread of the embedding of each model over the epochs",
    )
    return Section("Training", (sentence,), pictures=[picture])


def _thesis_setup(dataset: str) -> dict[str, Any]:
    """Set-up of chapter 5: text (5.4), and the authors' script where the two differ."""
    common = {"epochs": 500, "batch_size": 256, "optimiser": "sgd", "lr": 0.5}
    return thesis_setup(dataset) | common
