"""The report of the dual_gating pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssl_kedro.reporting.chapter6_figures import (
    LEGEND_CLASSES,
    accuracy_against_cost,
    channel_usage_figure,
    embedding_figure,
    training_curves,
)
from ssl_kedro.reporting.chapter6_models import Histories, Models, middle_dual_model
from ssl_kedro.reporting.chapter6_setup import setup_section
from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, MINUS, percent, plain, signed, with_std
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section

_NO_LABELS = (
    "These images carry no labels: linear evaluation, 1-NN and their baselines were skipped, "
    "which is why accuracies are a dash. Training, costs and channel usage are complete. To "
    "evaluate, put the images into one folder a class."
)
_GLOSSARY = (
    ("Budget, t_d", "The share of the dense encoder's cost that training asks the gates for."),
    (
        "FLOPs (MACs)",
        "Multiply-accumulates of convolutions (stem, blocks, downsample, gates) for one image; "
        "batch norm, ReLU and pooling are free. The thesis calls them FLOPs.",
    ),
    (
        "FLOP reduction",
        f"1 {MINUS} mean gated MACs / dense MACs over the evaluation images.",
    ),
    (
        "Dense, gated",
        "The same weights with every channel computed, or only those that the gates open for "
        "the image. Wall-clock time follows only with an engine that skips closed channels.",
    ),
    (
        "Linear probe",
        "Top-1 accuracy of one linear layer trained on frozen features; mean and standard "
        "deviation over its runs.",
    ),
    ("1-NN", "Top-1 accuracy of naming the class of the nearest training image in feature space."),
)


def dual_gating_report(
    metrics: Mapping[str, float],
    models: Models,
    histories: Histories,
    embedding: pd.DataFrame,
    manifest: Mapping[str, Any],
    setup: Mapping[str, Any],
    table: pd.DataFrame,
) -> str:
    """Self-contained HTML with the results of chapter 6.

    Args:
        metrics: flat metrics (fractions).
        models: evaluation of every model.
        histories: per-epoch rows of every model.
        embedding: 2-D points of every model and branch.
        manifest: of the run.
        setup: what differs from the thesis' set-up, with "published" and "comparable".
        table: Table 6.1.
    """
    sections = [
        _table_section(metrics, table, setup),
        _cost_section(metrics, models, setup),
        _training_section(models, histories),
        _channels_section(models),
        _embedding_section(embedding),
        setup_section(setup),
        *skipped_section(manifest),
        manifest_section(manifest),
        Section("Terms", terms=_GLOSSARY),
    ]
    report = Report(
        title="One encoder, trained once, usable dense and gated",
        lead=_lead(metrics, models),
        origin=(
            f"Dual gating (chapter 6) on {setup['source']} images, width {setup['width']}, "
            f"{setup['epochs']} epochs, seed {manifest['seed']}, {manifest['created'][:10]}"
        ),
        cards=_cards(metrics, models, setup),
        sections=sections,
    )
    return rendered(report)


def _lead(metrics: Mapping[str, float], models: Models) -> str:
    key, model = middle_dual_model(models)
    cost = percent(1 - model["macs"]["flop_reduction"], 0)
    sentence = (
        f"Trained for a budget of {percent(model['budget'], 0)}, the gated encoder needs {cost} of "
        "the dense encoder's FLOPs (MACs)"
    )
    if f"{key}.gated.linear_top1_mean" not in metrics:
        return sentence + ". The images have no labels, so accuracy was not evaluated."
    gated = percent(metrics[f"{key}.gated.linear_top1_mean"])
    dense = percent(metrics[f"{key}.dense.linear_top1_mean"])
    baseline = percent(metrics["vicreg.dense.linear_top1_mean"])
    return (
        f"{sentence} and reaches {gated} in linear evaluation; the same weights used dense reach "
        f"{dense}, a dense encoder trained on its own {baseline}."
    )


def _cards(metrics: Mapping[str, float], models: Models, setup: Mapping[str, Any]) -> list[Card]:
    cards = [
        Card(
            f"{metrics['dense_macs'] / 1e6:,.1f} M",
            f"FLOPs (MACs) an image, dense encoder, “{setup['stem']}” stem",
        )
    ]
    if "vicreg.dense.linear_top1_mean" in metrics:
        baseline = percent(metrics["vicreg.dense.linear_top1_mean"])
        cards.append(Card(baseline, "linear top-1 of VICReg, dense (Baseline-1)"))
    for key, model in models.items():
        if model["method"] != "dual_gating":
            continue
        label = f"FLOPs (MACs) saved at budget {percent(model['budget'], 0)}"
        if f"{key}.gated.linear_top1_mean" in metrics:
            gated = percent(metrics[f"{key}.gated.linear_top1_mean"])
            dense = percent(metrics[f"{key}.dense.linear_top1_mean"])
            label += f"; linear top-1 {gated} gated, {dense} dense"
        cards.append(Card(percent(model["macs"]["flop_reduction"], 0), label))
    return cards


def _table_section(
    metrics: Mapping[str, float], table: pd.DataFrame, setup: Mapping[str, Any]
) -> Section:
    groups = [
        ("", 3),
        ("This run", 3),
        ("Linear less baseline", 2),
        (f"Published ({setup['published']}, width 64, 500 epochs)", 2),
    ]
    columns = ["Model", "Branch", "Budget", "Linear", "1-NN", "FLOP reduction"]
    columns += ["1", "2", "Linear", "FLOP reduction"]
    if setup["comparable"]:
        groups.append(("Run less published", 2))
        columns += ["Linear", "FLOP reduction"]
    rows = [_table_row(row)[: len(columns)] for row in table.to_dict("records")]
    budgets = list(table["budget_percent"].fillna(0))
    breaks = [i for i in range(1, len(budgets)) if budgets[i] != budgets[i - 1]]
    explained = (
        ""
        if setup["comparable"]
        else f" This run did not use {setup['published']}, so it takes no difference to the "
        "published figures: they stand beside for scale."
    )
    caption = (
        "Top-1 accuracies and FLOPs (MACs) reductions in percent, differences in percentage "
        f"points, costs with the “{setup['stem']}” stem; ± is the standard deviation over the "
        f"probe's runs. Published: thesis, Table 6.1.{explained}"
    )
    return Section(
        "Table 6.1: linear evaluation",
        () if "chance" in metrics else (_NO_LABELS,),
        tables=[Table(columns, rows, left=2, groups=groups, breaks=breaks, caption=caption)],
    )


def _table_row(row: Mapping[Any, Any]) -> list[str]:
    budget = row["budget_percent"]
    return [
        row["model"],
        row["branch"],
        DASH if pd.isna(budget) else percent(int(budget) / 100, 0),
        with_std(row["linear_top1"], row["linear_std"]),
        plain(row["knn_top1"]),
        plain(row["flop_reduction"]),
        signed(row["against_baseline_1"]),
        signed(row["against_baseline_2"]),
        with_std(row["published_linear_top1"], row["published_linear_std"]),
        plain(row["published_flop_reduction"]),
        signed(row["difference_linear"]),
        signed(row["difference_flop_reduction"]),
    ]


def _cost_section(
    metrics: Mapping[str, float], models: Models, setup: Mapping[str, Any]
) -> Section:
    if "chance" not in metrics:
        return Section(
            "Accuracy against cost",
            ("Not evaluated: the images carry no labels. Costs are in Table 6.1.",),
        )
    dense = percent(metrics["vicreg.dense.knn_top1"])
    to_beat = (
        f"What there is to beat, by 1-NN: chance {percent(metrics['chance'])} (the most frequent "
        f"class), raw pixels {percent(metrics['raw_pixels.knn_top1'])}, an encoder with random "
        f"weights {percent(metrics['random_init.knn_top1'])}. VICReg, dense, reaches {dense}."
    )
    how = (
        f"Cost is in FLOPs (MACs) with the “{setup['stem']}” stem, relative to the dense encoder. "
        "The left axis is magnified and does not start at zero."
    )
    picture = Picture(
        accuracy_against_cost(metrics, models),
        "Accuracy of each encoder over its cost, with raw pixels, a random encoder and chance as "
        f"lines. {to_beat}",
    )
    return Section("Accuracy against cost", (to_beat, how), pictures=[picture])


def _training_section(models: Models, histories: Histories) -> Section:
    seconds = sum(model["training"]["seconds"] for model in models.values())
    rates = [model["training"]["images_per_second"] for model in models.values()]
    sentence = (
        f"{len(models)} trainings took {seconds / 60:.1f} minutes in all, at "
        f"{min(rates):,.0f} to {max(rates):,.0f} images a second (two views each). Losses of "
        "different methods have different terms: compare their shapes, not their heights."
    )
    picture = Picture(
        training_curves(histories),
        "Training loss, realised cost and spread of the embedding of each model over the epochs",
    )
    return Section("Training", (sentence,), pictures=[picture])


def _channels_section(models: Models) -> Section:
    sentence = (
        "Per residual block, the share of channels that the gates open for every evaluation "
        "image, for some, and for none. “Always off” is an observation on these images."
    )
    picture = Picture(
        channel_usage_figure(models),
        "Stacked bars of channel usage for each residual block and model: always on, depends on "
        "the image, always off",
    )
    return Section("Channels", (sentence,), pictures=[picture])


def _embedding_section(embedding: pd.DataFrame) -> Section:
    paragraphs = [
        "t-SNE of evaluation features with a fixed seed. Neighbourhoods mean something, distances "
        "between clusters do not."
    ]
    classes = int(embedding.loc[embedding["label"] >= 0, "label"].nunique())
    if classes == 0:
        paragraphs.append("The images carry no labels, so all points are grey.")
    elif classes > LEGEND_CLASSES:
        paragraphs.append(f"{classes} classes share ten colours, so there is no legend.")
    picture = Picture(
        embedding_figure(embedding),
        "Two-dimensional embeddings of dense and gated features, coloured by class",
        "png",
    )
    return Section("Embedding", paragraphs, pictures=[picture])
