"""Frozen encoders on other data than they were trained on: nodes, their graph and their table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from kedro.pipeline import Node, node

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import image_source
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated.graph import Made, PlannedModel, budget_tags, named
from ssl_kedro.pipelines.gated.nodes import evaluator, extract
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import TransferAccuracies
from ssl_kedro.pipelines.gated.rows import (
    BRANCH,
    BUDGET,
    MODEL,
    R,
    each_branch,
    whole_percent,
)
from ssl_kedro.pipelines.parameters import ParameterError
from ssl_kedro.reporting.differences import paired
from ssl_kedro.reporting.table import RUN, Column, word


@dataclass(frozen=True)
class Transfer:
    """One encoder evaluated on one further data set.

    Args:
        model: the encoder.
        source: what tables call the data it was pre-trained on.
        target: what tables call the data it is evaluated on.
        target_source: name in transfer.data, or None for the run's own data.
    """

    model: PlannedModel
    source: str
    target: str
    target_source: str | None

    @property
    def output(self) -> str:
        """Catalog name of its result."""
        return f"{self.model.namespace}.transfer_{self.target}"


def data_namespace(pipeline: str, source: str | None) -> str:
    """Namespace of a data set: the run's own, or one named in transfer.data."""
    return pipeline if source is None else f"{pipeline}.sources.{source}"


def images_of(
    parameters: EncoderPipelineParameters, pipeline: str, source: str | None, split: str
) -> str:
    """Catalog name of one part of a data set; see :func:`data_namespace`."""
    kind = parameters.data if source is None else parameters.transfer.data[source]
    if split == "pretrain" and not image_source(kind.source).unlabelled:
        split = "train"
    return f"{data_namespace(pipeline, source)}.{split}_images"


def planned_transfers(
    parameters: EncoderPipelineParameters, models: Sequence[PlannedModel], tag: str
) -> list[Transfer]:
    """Every source model on every target that is not its own data.

    Args:
        parameters: of the run.
        models: all trainings.
        tag: of those that are evaluated on other data.

    Raises:
        ParameterError: it is wanted and there is no such pair.
    """
    own = parameters.transfer.own
    chosen = [model for model in models if tag in model.tags]
    found = [
        Transfer(model, model.source or own, target, None if target == own else target)
        for model in chosen
        for target in parameters.transfer.targets
        if target != (model.source or own)
    ]
    if chosen and not found:
        raise ParameterError(
            f"{chosen[0].pipeline}.transfer.targets = {list(parameters.transfer.targets)}: {tag} "
            "evaluates encoders on other data than they were trained on; describe such a data set "
            f"in transfer.data and name it in transfer.targets, or leave {tag} out"
        )
    return found


def transfer_nodes(
    parameters: EncoderPipelineParameters, transfers: Sequence[Transfer], tag: str
) -> list[Node]:
    """Linear evaluation of each encoder on its target; before any training, a look at these."""
    found, checks = [], dict[str, Node]()
    for transfer in transfers:
        model, target = transfer.model, transfer.target
        images = {
            f"{split}_images": images_of(parameters, model.pipeline, transfer.target_source, split)
            for split in ("train", "eval")
        }
        key = "data" if transfer.target_source is None else f"transfer.data.{target}"
        checks[target] = node(
            given(check_target, key=f"{model.pipeline}.{key}"),
            images,
            f"{model.pipeline}.target_{target}",
            name=f"check_target_{target}",
            namespace=model.pipeline,
            tags=[tag, *budget_tags([each.model for each in transfers])],
        )
        made = model.node(
            f"transfer_to_{target}",
            given(evaluate_transfer, seed=model.training.seed),
            named(model.namespace, "encoder") | images,
            transfer.output,
            [tag, *model.own_tags],
        )
        found.append(made)
    return [*checks.values(), *found]


def transfer_runs(transfers: Sequence[Transfer]) -> Made:
    """The node that gathers all of them."""
    of = {transfer.output: transfer for transfer in transfers}
    return given(collect_transfers, transfers=of), {name: name for name in of}, "transfer"


def check_target(train_images: ImageSet, eval_images: ImageSet, *, key: str) -> list[str]:
    """Names of a target's classes.

    Raises:
        InputError: it has no labels; naming the key that describes it.
    """
    if train_images.labels is None or eval_images.labels is None:
        raise InputError(
            key,
            f"images without labels ({train_images.source})",
            "labels, for linear evaluation",
            "give one folder a class, or leave it out of transfer.targets",
        )
    return list(train_images.class_names)


def evaluate_transfer(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    seed: int,
) -> TransferAccuracies:
    """Linear evaluation of every branch on a target; the images come at the source's size.

    Chapter 5 has no linear probe of its own; its encoders take chapter 6's.
    """
    features = extract(parameters, encoder, train_images, eval_images)
    found = evaluator(parameters, train_images, eval_images, seed)
    found = replace(found, probe=found.probe or ProbeConfig())
    return {branch: found.linear(encoder, branch, features) for branch in encoder.branches}


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
            "budget_percent": whole_percent(transfers[name].model.training.budget),
            "seed": transfers[name].model.training.seed,
            "branch": branch,
            "linear_top1": float(np.mean(accuracies)),
            "linear_std": float(np.std(accuracies)),
        }
        for name, evaluation in evaluations.items()
        for branch, accuracies in evaluation.items()
    )


def transfer_rows(row: R) -> Iterator[R]:
    """A row a pair of data sets, model, budget and branch."""
    runs = row.runs
    models = tuple(dict.fromkeys(runs["model"]))
    for source, target in dict.fromkeys(zip(runs["source"], runs["target"], strict=True)):
        of_pair = runs[(runs["source"] == source) & (runs["target"] == target)]
        pair = replace(row, runs=of_pair, source=source, target=target)
        yield from each_branch(pair, "linear_top1", models)


def transfer_columns(baseline: str, name: str) -> tuple[Column[Any], ...]:
    """Columns of the table.

    Args:
        baseline: the dense model that others are compared with.
        name: of it in the table's heading.
    """
    return (
        Column("source", lambda row: row.source, "Trained on", text=word, left=True),
        Column("target", lambda row: row.target, "Evaluated on", text=word, left=True),
        MODEL,
        BRANCH,
        BUDGET,
        Column("linear_top1", lambda row: row.mean("linear_top1"), "Linear", RUN, std="linear_std"),
        Column("linear_std", lambda row: row.linear_std),
        Column("seeds", lambda row: len(row.by_seed("linear_top1"))),
        *paired(
            f"against_{baseline}",
            lambda row: row.less(baseline, "linear_top1", other_branch="dense"),
            f"Less {name}",
            RUN,
            counted=False,
        ),
    )
