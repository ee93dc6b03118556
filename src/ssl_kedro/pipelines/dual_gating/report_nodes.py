"""Nodes that gather what the models left behind into metrics, tables, figures and the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.evaluation.embedding import embed_2d
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.reporting import chapter6_figures
from ssl_kedro.reporting.chapter6_report import dual_gating_report
from ssl_kedro.reporting.chapter6_table import table_6_1 as measured_beside_published
from ssl_kedro.reporting.manifest import run_manifest

Json = dict[str, Any]
Arrays = dict[str, np.ndarray]


def collect_models(*evaluations: Json, keys: tuple[str, ...]) -> Json:
    """All models' evaluations by model name."""
    return dict(zip(keys, evaluations, strict=True))


def collect_histories(*trainings: Json, keys: tuple[str, ...]) -> Json:
    """All models' per-epoch rows by model name."""
    return {key: training["history"] for key, training in zip(keys, trainings, strict=True)}


def flat_metrics(models: Json, baselines: Json) -> dict[str, float]:
    """The numbers of the run under flat keys; accuracies and reductions are fractions."""
    metrics: dict[str, float] = {"dense_macs": models["vicreg"]["macs"]["dense"], **baselines}
    for key, model in models.items():
        for branch, accuracies in model["branches"].items():
            if accuracies:
                linear = np.asarray(accuracies["linear_top1"])
                metrics[f"{key}.{branch}.linear_top1_mean"] = float(linear.mean())
                metrics[f"{key}.{branch}.linear_top1_std"] = float(linear.std())
                metrics[f"{key}.{branch}.knn_top1"] = accuracies["knn_top1"]
        if model["macs"]["flop_reduction"] is not None:
            metrics[f"{key}.gated.flop_reduction"] = model["macs"]["flop_reduction"]
    return metrics


def table_6_1(parameters: DualGatingParameters, metrics: dict[str, float]) -> pd.DataFrame:
    """Table 6.1 with the published figures beside the measured ones."""
    return measured_beside_published(
        metrics,
        parameters.budgets,
        parameters.published,
        comparable=parameters.published_data_is_ours,
    )


def embed_features(
    parameters: DualGatingParameters,
    eval_images: ImageSet,
    *features: Arrays,
    keys: tuple[str, ...],
) -> pd.DataFrame:
    """Two-dimensional embedding of a sample of the evaluation images, for every branch."""
    count = min(parameters.embedding.samples, len(eval_images))
    chosen = np.sort(
        numpy_generator(parameters.seed, "embedding sample").choice(
            len(eval_images), count, replace=False
        )
    )
    labels = np.full(count, -1) if eval_images.labels is None else eval_images.labels[chosen]
    names = [eval_images.class_names[label] if label >= 0 else "" for label in labels]
    frames = []
    for key, arrays in zip(keys, features, strict=True):
        for branch in ("dense", "gated"):
            if f"{branch}.eval" not in arrays:
                continue
            points = embed_2d(
                arrays[f"{branch}.eval"][chosen],
                seed=parameters.seed,
                perplexity=parameters.embedding.perplexity,
            )
            frames.append(
                pd.DataFrame(
                    {
                        "model": key,
                        "branch": branch,
                        "x": points[:, 0],
                        "y": points[:, 1],
                        "label": labels,
                        "class_name": names,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def describe_run(
    parameters: DualGatingParameters, data: Json, execution: Json, models: Json
) -> Json:
    """Versions, commit, data, seed, device and cost of the run."""
    seconds = sum(model["training"]["seconds"] for model in models.values())
    return run_manifest(
        seed=parameters.seed,
        data=data,
        execution=execution,
        parameters=parameters.model_dump(mode="json"),
        training_seconds=seconds,
    )


def figures(
    metrics: dict[str, float], models: Json, histories: Json, embedding: pd.DataFrame
) -> tuple[Figure, Figure, Figure, Figure]:
    """Training curves, accuracy against cost, channel usage and the embedding."""
    return (
        chapter6_figures.training_curves(histories),
        chapter6_figures.accuracy_against_cost(metrics, models),
        chapter6_figures.channel_usage_figure(models),
        chapter6_figures.embedding_figure(embedding),
    )


def render_report(
    parameters: DualGatingParameters,
    metrics: dict[str, float],
    models: Json,
    histories: Json,
    embedding: pd.DataFrame,
    manifest: Json,
    table: pd.DataFrame,
) -> str:
    """The self-contained HTML report."""
    setup = {
        "published": parameters.published,
        "comparable": parameters.published_data_is_ours,
        "source": parameters.data.source,
        "width": parameters.encoder.width,
        "stem": parameters.encoder.stem,
        "image_size": parameters.image_size,
        "epochs": parameters.train.epochs,
        "batch_size": parameters.train.batch_size,
        "optimiser": parameters.train.optimiser,
        "expander": parameters.expander.output,
        "train_images": manifest["data"]["images"]["pretrain"],
        "eval_images": manifest["data"]["images"]["eval"],
    }
    return dual_gating_report(metrics, models, histories, embedding, manifest, setup, table)
