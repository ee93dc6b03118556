"""The report of the dual_gating pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssl_kedro.reporting.chapter6_figures import (
    Histories,
    Models,
    accuracy_against_cost,
    channel_usage_figure,
    embedding_figure,
    training_curves,
)
from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

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
        _baselines_section(metrics),
        _table_section(table, setup),
        Section(
            "Accuracy against cost",
            pictures=[
                Picture(
                    accuracy_against_cost(metrics, models),
                    "Accuracy of each encoder over its cost, with raw pixels, a random encoder "
                    "and chance as lines",
                )
            ],
        ),
        Section(
            "Training",
            (_training_sentence(models),),
            pictures=[
                Picture(
                    training_curves(histories),
                    "Training loss and realised cost of each model over the epochs",
                )
            ],
        ),
        Section(
            "Channels",
            (
                "Per residual block, the share of channels that the gates open for every "
                "evaluation image, for some, and for none. “Always off” is an observation on "
                "these images.",
            ),
            pictures=[
                Picture(
                    channel_usage_figure(models),
                    "Stacked bars of channel usage for each residual block and model",
                )
            ],
        ),
        Section(
            "Embedding",
            (
                "t-SNE of evaluation features with a fixed seed. Neighbourhoods mean something, "
                "distances between clusters do not.",
            ),
            pictures=[
                Picture(
                    embedding_figure(embedding),
                    "Two-dimensional embeddings of dense and gated features, coloured by class",
                    "png",
                )
            ],
        ),
        _setup_section(setup),
        *_skipped_section(manifest),
        _manifest_section(manifest),
        Section("Terms", terms=_GLOSSARY),
    ]
    report = Report(
        title="One encoder, trained once, usable dense and gated",
        lead=_lead(metrics, models),
        cards=_cards(metrics, models),
        sections=sections,
    )
    return rendered(report)


def percent(value: float | None, digits: int = 1) -> str:
    """Fraction as a percentage, a dash where there is none."""
    return DASH if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def _plain(value: float) -> str:
    return DASH if pd.isna(value) else f"{value:.1f}"


def _signed(value: float) -> str:
    """Difference with its sign, the minus as typeset."""
    return DASH if pd.isna(value) else f"{value:+.1f}".replace("-", MINUS)


def _with_std(mean: float, std: float, digits: int = 1) -> str:
    return DASH if pd.isna(mean) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _middle(models: Models) -> tuple[str, Mapping[str, Any]]:
    """The dual model whose budget is nearest to 30 %."""
    dual = {key: model for key, model in models.items() if model["method"] == "dual_gating"}
    key = min(dual, key=lambda name: abs(dual[name]["budget"] - 0.3))
    return key, dual[key]


def _lead(metrics: Mapping[str, float], models: Models) -> str:
    key, model = _middle(models)
    cost = percent(1 - model["macs"]["flop_reduction"], 0)
    sentence = (
        f"Trained for a budget of {model['budget']:.0%}, the gated encoder needs {cost} of the "
        "dense encoder's FLOPs (MACs)"
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


def _cards(metrics: Mapping[str, float], models: Models) -> list[Card]:
    cards = [Card(f"{metrics['dense_macs'] / 1e6:,.1f} M", "MACs of the dense encoder an image")]
    for model in models.values():
        if model["method"] == "dual_gating":
            reached = percent(model["macs"]["flop_reduction"], 0)
            cards.append(
                Card(reached, f"fewer MACs at budget {model['budget']:.0%} (dual gating, gated)")
            )
    if "raw_pixels.knn_top1" in metrics:
        cards.append(Card(percent(metrics["raw_pixels.knn_top1"]), "1-NN on raw pixels"))
        cards.append(Card(percent(metrics["random_init.knn_top1"]), "1-NN of a random encoder"))
    return cards


def _baselines_section(metrics: Mapping[str, float]) -> Section:
    if "chance" not in metrics:
        return Section(
            "What there is to beat",
            (
                "These images carry no labels: linear evaluation, 1-NN and their baselines were "
                "skipped. Training, costs and channel usage below are complete. To evaluate, put "
                "the images into one folder a class.",
            ),
        )
    rows = [
        ["Chance (most frequent class)", percent(metrics["chance"])],
        ["Raw pixels, 1-NN", percent(metrics["raw_pixels.knn_top1"])],
        ["Encoder with random weights, 1-NN", percent(metrics["random_init.knn_top1"])],
        ["VICReg, dense (Baseline-1), 1-NN", percent(metrics["vicreg.dense.knn_top1"])],
    ]
    return Section("What there is to beat", tables=[Table(("", "top-1"), rows)])


def _table_section(table: pd.DataFrame, setup: Mapping[str, Any]) -> Section:
    columns: tuple[str, ...] = (
        "Model",
        "Branch",
        "Budget",
        "Linear (%)",
        "1-NN (%)",
        "FLOP reduction (%)",
        "to Baseline-1",
        "to Baseline-2",
        "published linear (%)",
        "published reduction (%)",
    )
    if setup["comparable"]:
        columns += ("difference linear", "difference reduction")
    rows = [
        [
            row["model"],
            row["branch"],
            DASH if pd.isna(row["budget_percent"]) else f"{int(row['budget_percent'])} %",
            _with_std(row["linear_top1"], row["linear_std"]),
            _plain(row["knn_top1"]),
            _plain(row["flop_reduction"]),
            _signed(row["against_baseline_1"]),
            _signed(row["against_baseline_2"]),
            _with_std(row["published_linear_top1"], row["published_linear_std"], 2),
            _plain(row["published_flop_reduction"]),
            _signed(row["difference_linear"]),
            _signed(row["difference_flop_reduction"]),
        ][: len(columns)]
        for row in table.to_dict("records")
    ]
    source = f"Published: thesis, Table 6.1, {setup['published']}, width 64, 500 epochs. "
    source += (
        "Differences are measured less published, in points."
        if setup["comparable"]
        else "This run used other images, so no difference is taken."
    )
    caption = (
        f"Accuracies in percent, differences in points. Costs with the “{setup['stem']}” stem. "
        f"{source}"
    )
    return Section(
        "Table 6.1: linear evaluation", tables=[Table(columns, rows, left=2, caption=caption)]
    )


def _training_sentence(models: Models) -> str:
    seconds = sum(model["training"]["seconds"] for model in models.values())
    rates = [model["training"]["images_per_second"] for model in models.values()]
    return (
        f"{len(models)} trainings took {seconds / 60:.1f} minutes in all, at "
        f"{min(rates):,.0f} to {max(rates):,.0f} images a second (two views each)."
    )


def _setup_section(setup: Mapping[str, Any]) -> Section:
    thesis = {
        "source": setup["published"],
        "width": 64,
        "stem": "cifar or imagenet, by image size",
        "image_size": "32, 96 or 224",
        "epochs": 500,
        "batch_size": 512,
        "optimiser": "lars",
        "expander": 2048,
        "train_images": "50,000 (CIFAR)",
        "eval_images": "10,000 (CIFAR)",
    }
    rows = [
        [name.replace("_", " "), _number(setup[name]), _number(value)]
        for name, value in thesis.items()
    ]
    return Section(
        "What differs from the published set-up",
        ("Figures of a small run and of the thesis are not the same measurement.",),
        tables=[Table(("", "this run", "thesis 6.3.1"), rows)],
    )


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _skipped_section(manifest: Mapping[str, Any]) -> list[Section]:
    skipped = manifest["data"]["skipped"]
    if not skipped:
        return []
    rows = [[str(path), str(reason)] for path, reason in skipped]
    return [
        Section(
            f"{len(rows)} file(s) skipped",
            ("They could not be decoded and took no part.",),
            tables=[Table(("file", "reason"), rows, left=2)],
        )
    ]


def _manifest_section(manifest: Mapping[str, Any]) -> Section:
    data, execution = manifest["data"], manifest["execution"]
    versions = ", ".join(f"{name} {v}" for name, v in manifest["versions"].items() if v)
    memory = manifest["peak_memory_mb"]
    rows = [
        ["created", str(manifest["created"])],
        ["seed", str(manifest["seed"])],
        ["commit", str(manifest["git_commit"] or DASH)],
        ["platform", f"{manifest['platform']}, Python {manifest['python']}"],
        ["versions", versions],
        ["device, precision", f"{execution['device']}, {execution['precision']}"],
        ["training seconds", f"{manifest['training_seconds']:,.0f}"],
        ["peak memory", DASH if memory is None else f"{memory:,.0f} MB"],
        ["images", ", ".join(f"{name} {n:,}" for name, n in data["images"].items())],
        ["fingerprints", ", ".join(f"{n} {v}" for n, v in data["fingerprints"].items())],
    ]
    return Section("Reproduce", tables=[Table(("", ""), rows, left=2)], folded=True)
