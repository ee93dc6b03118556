"""The report of the dual_gating pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from ssl_kedro.reporting.chapter6_figures import (
    LEGEND_CLASSES,
    accuracy_against_cost,
    channel_usage_figure,
    embedding_figure,
    training_curves,
)
from ssl_kedro.reporting.chapter6_models import (
    Histories,
    Models,
    dual_models,
    middle_dual_model,
)
from ssl_kedro.reporting.chapter6_part_sections import part_sections
from ssl_kedro.reporting.chapter6_results import has_several_seeds
from ssl_kedro.reporting.chapter6_setup import setup_section
from ssl_kedro.reporting.chapter6_table_section import table_6_1_section
from ssl_kedro.reporting.html import Card, Picture, Report, Section, rendered
from ssl_kedro.reporting.number_format import MINUS, percent
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section

_NO_LABELS = (
    "These images carry no labels: linear evaluation, 1-NN and their baselines were skipped, "
    "which is why accuracies are a dash. Training, costs and channel usage are complete. To "
    "evaluate, put the images into one folder a class."
)
_NO_TABLES: Mapping[str, pd.DataFrame] = MappingProxyType({})
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
        "Top-1 accuracy of one linear layer trained on frozen features, mean of its runs; the "
        "standard deviation is over training seeds, or over those runs where there is one seed.",
    ),
    ("1-NN", "Top-1 accuracy of naming the class of the nearest training image in feature space."),
)


def dual_gating_report(
    metrics: Mapping[str, float],
    models: Models,
    histories: Histories,
    embedding: pd.DataFrame | None,
    manifest: Mapping[str, Any],
    setup: Mapping[str, Any],
    table: pd.DataFrame | None,
    part_tables: Mapping[str, pd.DataFrame] = _NO_TABLES,
    further: Sequence[Section] = (),
) -> str:
    """Self-contained HTML with the results of whatever parts of chapter 6 were run.

    Args:
        metrics: flat metrics (fractions), means over seeds.
        models: evaluation of every model, of the first seed.
        histories: per-epoch rows of every model, of the first seed.
        embedding: 2-D points of every model and branch; None without Fig. 6.2.
        manifest: of the run.
        setup: what differs from the thesis' set-up, with "published" and "comparable".
        table: Table 6.1; None where it was not made, and with it accuracy against cost.
        part_tables: the other tables and the questions, by part.
        further: sections to stand behind accuracy against cost.
    """
    sections = [
        *([] if "chance" in metrics else [Section("No labels", (_NO_LABELS,))]),
        *([] if table is None else [table_6_1_section(metrics, table, setup)]),
        *part_sections(part_tables, setup),
        *([] if table is not None else _to_beat_section(metrics)),
        *([] if table is None else [_cost_section(metrics, models, setup)]),
        *further,
        _training_section(metrics, models, histories),
        *_channels_section(metrics, models),
        *([] if embedding is None else [_embedding_section(embedding)]),
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
    middle = middle_dual_model(models)
    if middle is None:
        return f"{len(models)} encoders were trained; the tables below compare them."
    key, model = middle
    cost = percent(1 - metrics[f"{key}.gated.flop_reduction"], 0)
    sentence = (
        f"Trained for a budget of {percent(model['budget'], 0)}, the gated encoder needs {cost} of "
        "the dense encoder's FLOPs (MACs)"
    )
    if f"{key}.gated.linear_top1_mean" not in metrics:
        return sentence + ". The images have no labels, so accuracy was not evaluated."
    gated = percent(metrics[f"{key}.gated.linear_top1_mean"])
    dense = percent(metrics[f"{key}.dense.linear_top1_mean"])
    reached = (
        f"{sentence} and reaches {gated} in linear evaluation; the same weights used dense reach "
        f"{dense}"
    )
    if "vicreg.dense.linear_top1_mean" not in metrics:
        return f"{reached}."
    baseline = percent(metrics["vicreg.dense.linear_top1_mean"])
    return f"{reached}, a dense encoder trained on its own {baseline}."


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
    for key, model in dual_models(models).items():
        label = f"FLOPs (MACs) saved at budget {percent(model['budget'], 0)}"
        if f"{key}.gated.linear_top1_mean" in metrics:
            gated = percent(metrics[f"{key}.gated.linear_top1_mean"])
            dense = percent(metrics[f"{key}.dense.linear_top1_mean"])
            label += f"; linear top-1 {gated} gated, {dense} dense"
        cards.append(Card(percent(metrics[f"{key}.gated.flop_reduction"], 0), label))
    return cards


def _to_beat(metrics: Mapping[str, float]) -> str:
    """Baselines in a sentence; the dense encoder's where it was trained."""
    sentence = (
        f"What there is to beat, by 1-NN: chance {percent(metrics['chance'])} (the most frequent "
        f"class), raw pixels {percent(metrics.get('raw_pixels.knn_top1'))}, an encoder with random "
        f"weights {percent(metrics.get('random_init.knn_top1'))}."
    )
    if "vicreg.dense.knn_top1" not in metrics:
        return sentence
    return f"{sentence} VICReg, dense, reaches {percent(metrics['vicreg.dense.knn_top1'])}."


def _to_beat_section(metrics: Mapping[str, float]) -> list[Section]:
    """The baselines, for a page without accuracy against cost; nothing without labels."""
    return [Section("Baselines", (_to_beat(metrics),))] if "chance" in metrics else []


def _cost_section(
    metrics: Mapping[str, float], models: Models, setup: Mapping[str, Any]
) -> Section:
    if "chance" not in metrics:
        return Section(
            "Accuracy against cost",
            ("Not evaluated: the images carry no labels. Costs are in Table 6.1.",),
        )
    to_beat = _to_beat(metrics)
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


def _training_section(
    metrics: Mapping[str, float], models: Models, histories: Histories
) -> Section:
    seconds = sum(model["training"]["seconds"] for model in models.values())
    rates = [model["training"]["images_per_second"] for model in models.values()]
    of_seed = " of the first seed" if has_several_seeds(metrics) else ""
    sentence = (
        f"{len(models)} trainings{of_seed} took {seconds / 60:.1f} minutes in all, at "
        f"{min(rates):,.0f} to {max(rates):,.0f} images a second (two views each). Losses of "
        "different methods have different terms: compare their shapes, not their heights."
    )
    picture = Picture(
        training_curves(histories),
        "Training loss, realised cost and spread of the embedding of each model over the epochs",
    )
    return Section("Training", (sentence,), pictures=[picture])


def _channels_section(metrics: Mapping[str, float], models: Models) -> list[Section]:
    if not any(model["channel_usage"] for model in models.values()):
        return []
    sentence = (
        "Per residual block, the share of channels that the gates open for every evaluation "
        "image, for some, and for none. “Always off” is an observation on these images."
    )
    if has_several_seeds(metrics):
        sentence += " Shown is the first seed."
    picture = Picture(
        channel_usage_figure(models),
        "Stacked bars of channel usage for each residual block and model: always on, depends on "
        "the image, always off",
    )
    return [Section("Channels", (sentence,), pictures=[picture])]


def _embedding_section(embedding: pd.DataFrame) -> Section:
    paragraphs = [
        "UMAP of evaluation features with a fixed seed. Neighbourhoods mean something, distances "
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
