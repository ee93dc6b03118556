"""Nodes that gather what the models left behind into metrics, tables, figures and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.evaluation.embedding import embed_2d
from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import Row
from ssl_kedro.pipelines.dual_gating.part import parts as known_parts
from ssl_kedro.pipelines.dual_gating.plan import Transfer
from ssl_kedro.pipelines.dual_gating.report import figures
from ssl_kedro.pipelines.dual_gating.report.page import dual_gating_report
from ssl_kedro.pipelines.dual_gating.report.runs import flat_metrics
from ssl_kedro.pipelines.gated.inference_nodes import stage_metrics, stage_sections
from ssl_kedro.pipelines.gated.records import (
    DataSummary,
    Evaluation,
    Evaluations,
    Histories,
    TransferAccuracies,
    plain,
)
from ssl_kedro.pipelines.gated.report import channels, curves
from ssl_kedro.pipelines.gated.report.page import setup_of
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.training.config import Execution

Json = dict[str, Any]
Arrays = dict[str, np.ndarray]


def collect_runs(**evaluations: Evaluation) -> pd.DataFrame:
    """One row a training and branch: what every table is made of; fractions, not percent.

    Args:
        evaluations: by the model's name in the metrics and its seed, "dual.budget_30.seed_0".
    """
    return pd.DataFrame(
        row
        for key, evaluation in evaluations.items()
        for row in _run_rows(key.partition(".")[0], evaluation)
    )


def _run_rows(name: str, evaluation: Evaluation) -> list[dict[str, Any]]:
    """The rows of one training, one a branch."""
    macs, training = evaluation.macs, evaluation.training
    rows = []
    for branch, found in evaluation.branches.items():
        linear = np.asarray([np.nan] if found.linear_top1 is None else found.linear_top1)
        spent = macs.own if branch == "dense" else (macs.gated_mean or np.nan)
        # A dense branch of the whole network saves nothing, and no figure is given for it.
        saves = branch == "gated" or macs.own != macs.dense
        nearest = (found.knn_top1, found.knn_normalised_top1)
        knn, normalised = (np.nan if value is None else value for value in nearest)
        rows.append(
            {
                "model": name,
                "method": evaluation.method,
                "budget_percent": _whole_percent(evaluation.budget),
                "seed": evaluation.seed,
                "branch": branch,
                "linear_top1": float(linear.mean()),
                "linear_std": float(linear.std()),
                "knn_top1": knn,
                "knn_normalised_top1": normalised,
                "macs": spent,
                "dense_macs": macs.dense,
                "flop_reduction": 1 - spent / macs.dense if saves else np.nan,
                **_channel_shares(evaluation.channel_usage if branch == "gated" else ()),
                "training_seconds": training.seconds,
                "training_macs": training.macs,
                "images_per_second": training.images_per_second,
            }
        )
    return rows


def _whole_percent(budget: float | None) -> int | None:
    return None if budget is None else round(100 * budget)


def _channel_shares(usage: Sequence[BlockUsage]) -> dict[str, float]:
    """Shares of all inner channels that are always on, always off, or depend on the image."""
    names = ("always_on", "always_off", "dependent")
    total = sum(block.channels for block in usage)
    return {
        name: sum(getattr(b, name) for b in usage) / total if total else np.nan for name in names
    }


def collect_transfers(
    *, transfers: Mapping[str, Transfer], **evaluations: TransferAccuracies
) -> pd.DataFrame:
    """One row a source model, branch, target and seed.

    Args:
        transfers: what was evaluated, by the names of ``evaluations``.
        evaluations: linear accuracies of every branch.
    """
    return pd.DataFrame(
        {
            "source": transfers[name].source,
            "target": transfers[name].target,
            "model": transfers[name].model.name,
            "budget_percent": _whole_percent(transfers[name].model.budget),
            "seed": transfers[name].model.seed,
            "branch": branch,
            "linear_top1": float(np.mean(accuracies)),
            "linear_std": float(np.std(accuracies)),
        }
        for name, evaluation in evaluations.items()
        for branch, accuracies in evaluation.items()
    )


def metrics(runs: pd.DataFrame, baselines: dict[str, float], **stages: Any) -> dict[str, float]:
    """The numbers of the run under flat keys; accuracies and reductions are fractions."""
    return flat_metrics(_with_whole_budgets(runs), baselines) | stage_metrics(stages)


def part_table(parameters: DualGatingParameters, rows: pd.DataFrame, *, part: str) -> pd.DataFrame:
    """One table or question of the chapter, measured beside published."""
    common = Row(
        _with_whole_budgets(rows),
        dataset=parameters.published,
        is_that_dataset=parameters.published_data_is_ours,
        published_names=parameters.transfer.published,
        own_teacher=parameters.distillation.teacher == "vicreg",
    )
    return known_parts()[part].table(common)


def _with_whole_budgets(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with budgets as whole numbers, which CSV keeps as decimals."""
    return frame.assign(budget_percent=frame["budget_percent"].astype("Int64"))


def embed_features(
    parameters: DualGatingParameters,
    eval_images: ImageSet,
    **features: Arrays,
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
    for key, arrays in features.items():
        for branch in ("dense", "gated"):
            if f"{branch}.eval" not in arrays:
                continue
            points = embed_2d(
                arrays[f"{branch}.eval"][chosen], parameters.embedding, seed=parameters.seed
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
    parameters: DualGatingParameters, data: DataSummary, execution: Execution, runs: pd.DataFrame
) -> Json:
    """Versions, commit, data, seed, device and cost of the run."""
    trainings = runs.drop_duplicates(["model", "budget_percent", "seed"])
    seconds = float(trainings["training_seconds"].sum())
    return run_manifest(
        seed=parameters.seed,
        data=plain(data),
        execution=plain(execution),
        parameters=parameters.model_dump(mode="json"),
        training_seconds=seconds,
    )


def training_curves(histories: Histories) -> Figure:
    """Loss, realised cost and spread over the epochs."""
    return curves.training_curves(histories)


def accuracy_against_cost(metrics: dict[str, float], models: Evaluations) -> Figure:
    """Accuracy of each encoder over its cost."""
    return figures.accuracy_against_cost(metrics, plain(models))


def channel_usage(models: Evaluations) -> Figure:
    """Always on, always off, dependent: per block and model."""
    return channels.channel_usage_figure(plain(models))


def embedding_plot(embedding: pd.DataFrame) -> Figure:
    """Fig. 6.2."""
    return figures.embedding_figure(embedding)


def render_report(
    parameters: DualGatingParameters,
    metrics: dict[str, float],
    models: Evaluations,
    histories: Histories,
    manifest: Json,
    **tables: Any,
) -> str:
    """The self-contained HTML report of whatever parts were run."""
    sections = stage_sections(models, tables)
    setup = setup_of(
        parameters, manifest, parameters.published, parameters.published_data_is_ours
    ) | {"repeats": parameters.repeats}
    embedding = tables.pop("embedding", None)
    return dual_gating_report(
        metrics, plain(models), histories, manifest, setup, tables, embedding, sections
    )
