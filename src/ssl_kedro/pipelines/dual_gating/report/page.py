"""The report of the dual_gating pipeline."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from ssl_kedro.evaluation.gate_responses import GateResponses
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.report.figures import (
    LEGEND_CLASSES,
    accuracy_against_cost,
    embedding_figure,
)
from ssl_kedro.pipelines.dual_gating.report.part_sections import part_sections
from ssl_kedro.pipelines.dual_gating.report.runs import has_several_seeds
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
from ssl_kedro.pipelines.gated.report.page import cost_card, page, to_beat
from ssl_kedro.pipelines.gated.report.peers import peers_section
from ssl_kedro.pipelines.gated.report.speed_section import speed_sections
from ssl_kedro.pipelines.gated.report.trainings import training_section
from ssl_kedro.pipelines.gated.report.use_section import paths, use_section
from ssl_kedro.pipelines.gated.variants import dual_models, middle_dual_key
from ssl_kedro.reporting.html import Card, Section
from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.pictures import Picture


def dual_gating_report(
    parameters: DualGatingParameters,
    metrics: dict[str, float],
    models: Evaluations,
    histories: Histories,
    run_manifest: dict[str, Any],
    inference_models: Measurements | None = None,
    inference_table: pd.DataFrame | None = None,
    frontier_table: pd.DataFrame | None = None,
    deployment: Deployment | None = None,
    exports: Exports | None = None,
    embedding: pd.DataFrame | None = None,
    peers: pd.DataFrame | None = None,
    gate_responses: GateResponses | None = None,
    eval_images: ImageSet | None = None,
    overview: Overview | None = None,
    label_table: pd.DataFrame | None = None,
    data_pictures: Arrays | None = None,
    kept_channels: Usages | None = None,
    bundles: str = "",
    *,
    spaces: Mapping[str, str] | None = None,
    **tables: pd.DataFrame,
) -> str:
    """Self-contained HTML with the results of whatever parts of chapter 6 were run.

    Args:
        parameters: of the run.
        metrics: flat metrics (fractions), means over seeds.
        models: evaluation of every model, of the first seed.
        histories: per-epoch rows of every model, of the first seed.
        run_manifest: versions, data and cost.
        inference_models: what was timed, by model.
        inference_table: the same as a table.
        frontier_table: every network, precision and engine.
        deployment: what to deploy of these.
        exports: checks of exported files, by model.
        embedding: 2-D points of every model and branch; None without Fig. 6.2.
        peers: table of what a user would take instead.
        gate_responses: what the gates of one encoder look at; None without gates.
        eval_images: those that its pictures are of.
        overview: what features show of the images.
        label_table: what fine-tuning with some of the labels gives; None without.
        data_pictures: some images and their views; None without.
        kept_channels: of networks that are cut for a budget; None without.
        bundles: folder that encoders lie in.
        spaces: name of each model's folder in it.
        tables: those that were made, by part; accuracy against cost goes with "table_6_1".
    """
    seeds, labelled = has_several_seeds(metrics), "chance" in metrics
    sections = [
        *([] if labelled else unlabelled_sections(overview)),
        *frontier_sections(
            parameters.inference, frontier_table, deployment, why_missing(inference_models or {})
        ),
        *use_section(models, deployment, exports, paths(bundles, spaces or {})),
        *data_section(run_manifest, data_pictures),
        *channels_section(models, kept_channels, seeds=seeds),
        *overhead_section(parameters, models),
        *gate_section(gate_responses, eval_images),
        *peers_section(parameters, peers, metrics),
        *(
            _levels_section(metrics, models, parameters, figure="table_6_1" in tables)
            if peers is None or "table_6_1" in tables
            else []
        ),
        *part_sections(tables, parameters),
        *label_section(parameters.few_labels, label_table),
        *([] if embedding is None else [_embedding_section(embedding)]),
        *speed_sections(models, inference_models, inference_table, exports),
        training_section(models, histories, seeds=seeds),
        *(overview_sections(overview) if labelled else []),
    ]
    return page(
        "6",
        parameters,
        run_manifest,
        models=models,
        title=(
            "One encoder, trained once, usable dense and gated"
            if dual_models(models) or peers is None
            else BUDGETS_TITLE
        ),
        name="Dual gating",
        result=_result(metrics, models, parameters, peers, tables),
        deployment=deployment,
        cards=_cards(metrics, models, parameters, peers),
        sections=sections,
    )


def _result(
    metrics: Mapping[str, float],
    models: Evaluations,
    parameters: DualGatingParameters,
    peers: pd.DataFrame | None,
    tables: Collection[str],
) -> str:
    key = middle_dual_key(models)
    if key is None:
        lead = "" if peers is None else budgets_lead(parameters, peers)
        trained = f"{len(models)} encoders were trained" if len(models) > 1 else "One was trained"
        return lead or f"{trained}{'; the tables below compare them' * bool(tables)}."
    cost = percent(1 - metrics[f"{key}.gated.flop_reduction"], 0)
    sentence = (
        f"Trained for a budget of {percent(models[key].budget, 0)}, the gated encoder needs "
        f"{cost} of the dense encoder's FLOPs (MACs)"
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


def _cards(
    metrics: Mapping[str, float],
    models: Evaluations,
    parameters: DualGatingParameters,
    peers: pd.DataFrame | None,
) -> list[Card]:
    if peers is not None and not dual_models(models):
        return budgets_cards(parameters, metrics, peers)
    cards = [cost_card(metrics, parameters, "dense")]
    if "vicreg.dense.linear_top1_mean" in metrics:
        baseline = percent(metrics["vicreg.dense.linear_top1_mean"])
        cards.append(Card(baseline, "linear top-1 of VICReg, dense (Baseline-1)"))
    for key, model in dual_models(models).items():
        label = f"FLOPs (MACs) saved at budget {percent(model.budget, 0)}"
        if f"{key}.gated.linear_top1_mean" in metrics:
            gated = percent(metrics[f"{key}.gated.linear_top1_mean"])
            dense = percent(metrics[f"{key}.dense.linear_top1_mean"])
            label += f"; linear top-1 {gated} gated, {dense} dense"
        cards.append(Card(percent(metrics[f"{key}.gated.flop_reduction"], 0), label))
    return cards


def _levels_section(
    metrics: Mapping[str, float],
    models: Evaluations,
    parameters: DualGatingParameters,
    *,
    figure: bool,
) -> list[Section]:
    """What there is to beat, beside accuracy against cost where there is Table 6.1."""
    if "chance" not in metrics:
        said = "Not evaluated: the images carry no labels. Costs are in Table 6.1."
        return [Section("Accuracy against cost", (said,))] if figure else []
    levels = to_beat(metrics)
    if "vicreg.dense.knn_top1" in metrics:
        levels += f" VICReg, dense, reaches {percent(metrics['vicreg.dense.knn_top1'])}."
    if not figure:
        return [Section("Baselines", (levels,))]
    how = (
        f"Cost is in FLOPs (MACs) with {parameters.stem}, relative to the dense "
        "encoder. The left axis is magnified and does not start at zero."
    )
    picture = Picture(
        accuracy_against_cost(metrics, models),
        "Accuracy of each encoder over its cost, with raw pixels, a random encoder and chance as "
        f"lines. {levels}",
    )
    return [Section("Accuracy against cost", (levels, how), pictures=[picture])]


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
