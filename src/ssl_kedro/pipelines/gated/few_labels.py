"""``--tags few_labels``: what encoders make of some of the labels, and what labels make alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from kedro.pipeline import Node, node

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.factory import cost_at
from ssl_kedro.evaluation.fine_tuning import FineTuningConfig, fine_tuned, named_rightly
from ssl_kedro.evaluation.knn import knn_right
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_right
from ssl_kedro.gating.budget import BudgetPenalty
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.subsets import labelled_subset
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated.graph import FEW_LABELS, Made, PlannedModel, named
from ssl_kedro.pipelines.gated.nodes import Arrays, extract, planned_method
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import (
    DataSummary,
    FineTunings,
    LabelCounts,
    Training,
    WithLabels,
)
from ssl_kedro.pipelines.gated.report.few_labels import SCRATCH, label_table
from ssl_kedro.pipelines.gated.rows import whole_percent
from ssl_kedro.training.config import Execution


@dataclass(frozen=True)
class Tuned:
    """One encoder that is fine-tuned.

    Args:
        name: of its model in the table.
        percent: its budget, None for a dense one.
        seed: of its training.
        output: catalog name of its result.
    """

    name: str
    percent: int | None
    seed: int
    output: str


def label_nodes(
    pipeline: str, models: Sequence[PlannedModel], tags: Sequence[str]
) -> tuple[list[Node], list[Made]]:
    """Nodes that fine-tune each model, and those that gather the results; none without models.

    Args:
        pipeline: its key.
        models: all trainings.
        tags: of budgets and seeds that every model needs.
    """
    chosen = [model for model in models if FEW_LABELS in model.tags and model.own_data]
    if not chosen:
        return [], []
    counts = named(pipeline, "label_counts")
    images = named(pipeline, "train_images", "eval_images")
    shared = images | counts | named(pipeline, "execution")
    seen = named(pipeline, "parameters") | images
    found = [
        node(
            given(check_labels, pipeline=pipeline),
            seen,
            counts["label_counts"],
            name="check_labels",
            namespace=pipeline,
            tags=list(tags),
        ),
    ]
    tuned = []
    for model in chosen:
        one = Tuned(
            model.name,
            whole_percent(model.training.budget),
            model.training.seed,
            f"{model.namespace}.fine_tuning",
        )
        inputs = shared | named(model.namespace, "encoder", "features")
        function = given(fine_tune, trained=model.training)
        found.append(
            model.node("fine_tune", function, inputs, one.output, [FEW_LABELS, *model.own_tags])
        )
        tuned.append(one)
    data = {"data": f"{pipeline}.data_summary"} | named(pipeline, "parameters")
    for seed in dict.fromkeys(model.training.seed for model in chosen):
        space = f"{pipeline}.{SCRATCH}.seed_{seed}"
        one = Tuned(SCRATCH, None, seed, f"{space}.fine_tuning")
        name = f"fine_tune_{SCRATCH}_seed_{seed}"
        function = given(tune_from_scratch, seed=seed)
        found.append(
            node(function, shared | data, one.output, name=name, namespace=space, tags=list(tags))
        )
        tuned.append(one)
    collect = given(collect_labels, tuned={one.output: one for one in tuned})
    gathered: list[Made] = [
        (collect, {one.output: one.output for one in tuned}, "label_runs"),
        (label_table, {"runs": f"{pipeline}.label_runs"}, "label_table"),
    ]
    return found, gathered


def check_labels(
    parameters: EncoderPipelineParameters,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    pipeline: str,
) -> LabelCounts:
    """How many labels each share is; what cannot be is refused before anything is trained.

    Args:
        parameters: of the run.
        train_images: to train with.
        eval_images: to name.
        pipeline: that errors name the parameters of.

    Raises:
        InputError: there are no labels.
        ConfigError: a share of fewer labels than classes.
    """
    if train_images.labels is None or eval_images.labels is None:
        raise InputError(
            f"{pipeline}.data",
            f"images without labels ({train_images.source})",
            "labels, for --tags few_labels",
            "put the images into one folder a class",
        )
    classes = len(np.unique(train_images.labels))
    key = f"{pipeline}.few_labels.shares"
    return parameters.few_labels.label_counts(len(train_images), classes, key)


def fine_tune(
    parameters: EncoderPipelineParameters,
    execution: Execution,
    label_counts: LabelCounts,
    encoder: Encoder,
    features: Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    trained: Training,
) -> FineTunings:
    """Each branch with each share of the labels: fine-tuned, linear, nearest neighbours."""
    penalty = None
    learnt = "gated" in encoder.branches and parameters.few_labels.gates == "trained"
    if trained.budget is not None and learnt:
        gates = replace(parameters.method_config(trained.method).gates, steering="fixed", warmup=0)
        penalty = BudgetPenalty(encoder.cost(), trained.budget, gates)
    sides = train_images, eval_images, features
    return {
        branch: tuple(
            _with_labels(
                parameters,
                parameters.few_labels,
                execution,
                encoder,
                branch,
                sides,
                share,
                count=label_counts[str(share)],
                seed=trained.seed,
                penalty=penalty,
            )
            for share in parameters.few_labels.shares
        )
        for branch in encoder.branches
    }


def tune_from_scratch(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    execution: Execution,
    label_counts: LabelCounts,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    seed: int,
) -> FineTunings:
    """The dense network with random weights, trained with the labels alone in as many steps."""
    training = Training(parameters.dense_method, None, seed)
    encoder = planned_method(parameters, data, training).build().encoder
    features = extract(parameters, encoder, train_images, eval_images)
    sides, config = (train_images, eval_images, features), parameters.few_labels
    return {
        "dense": tuple(
            _with_labels(
                parameters,
                config.from_scratch,
                execution,
                encoder,
                "dense",
                sides,
                share,
                count=label_counts[str(share)],
                seed=seed,
            )
            for share in config.shares
        )
    }


def _with_labels(
    parameters: EncoderPipelineParameters,
    config: FineTuningConfig,
    execution: Execution,
    encoder: Encoder,
    branch: Branch,
    sides: tuple[ImageSet, ImageSet, Arrays],
    share: float,
    *,
    count: int,
    seed: int,
    penalty: BudgetPenalty | None = None,
) -> WithLabels:
    """One branch with one share of the labels."""
    train_images, eval_images, features = sides
    kept = labelled_subset(np.asarray(train_images.labels), share, seed)
    known = features[f"{branch}.train"][kept]
    # All of them may be a memory map larger than the memory.
    labelled = train_images if len(kept) == len(train_images) else train_images[kept]
    asked = np.asarray(labelled.labels), features[f"{branch}.eval"], np.asarray(eval_images.labels)
    probe, device = parameters.probe or ProbeConfig(), execution.device
    linear = linear_probe_right(known, *asked, probe, seed=seed, device=device)
    nearest = knn_right(
        known,
        *asked,
        k=min(parameters.knn.k, count),
        normalise=parameters.knn.normalise,
        device=device,
    )
    found = fine_tuned(
        encoder,
        branch,
        labelled,
        config,
        parameters.views,
        seed=seed,
        execution=execution,
        penalty=penalty,
        label=f"{branch}, {count} labels",
    )
    right, macs = named_rightly(found, branch, eval_images, device=device)
    whole = cost_at(parameters.encoder, eval_images.images.shape[-1], parameters.gates.reduction)
    values = (float(right.mean()), float(linear.mean()), float(nearest.mean()))
    return WithLabels(share, count, *values, macs, whole.dense)


def collect_labels(*, tuned: dict[str, Tuned], **found: FineTunings) -> pd.DataFrame:
    """One row a model, budget, seed, branch and share of the labels; fractions.

    Args:
        tuned: what was fine-tuned, by the names of ``found``.
        found: by catalog name.
    """
    return pd.DataFrame(
        {
            "model": tuned[name].name,
            "budget_percent": tuned[name].percent,
            "seed": tuned[name].seed,
            "branch": branch,
            "share": one.share,
            "labels": one.labels,
            "fine_tuned": one.fine_tuned,
            "linear": one.linear,
            "knn": one.knn,
            "cost": one.macs / one.dense_macs,
        }
        for name, branches in found.items()
        for branch, shares in branches.items()
        for one in shares
    )
