"""Nodes that train and evaluate encoders; shared by the pipelines that do.

Typed parameters in, library calls, records out.
"""

import dataclasses
import logging
from typing import Any, TypeVar

import numpy as np

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Encoder, EncoderShape
from ssl_kedro.encoders.bundled import Bundled
from ssl_kedro.encoders.classifier import with_classifier
from ssl_kedro.encoders.factory import EncoderSetup, cost_at, shape_values
from ssl_kedro.encoders.fingerprint import weight_fingerprint
from ssl_kedro.encoders.frozen import encoder_of
from ssl_kedro.evaluation.accuracies import Accuracies, Evaluator, branch_costs
from ssl_kedro.evaluation.classifier import trained_classifier
from ssl_kedro.evaluation.features import branch_arrays, gate_record, mean_open_channels
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.methods.plan import MethodPlan, method_classes
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import (
    DataSummary,
    Evaluation,
    Histories,
    Training,
    TrainingRecord,
)
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog
from ssl_kedro.training.config import Execution, recipe_identity
from ssl_kedro.training.loop import train_encoder
from ssl_kedro.training.planned import EncoderTraining

# Of the normalised spread of embeddings, 1 when even and 0 when all are one point.
COLLAPSED_BELOW = 0.1
Arrays = dict[str, np.ndarray]
R = TypeVar("R")


def evaluator(
    parameters: EncoderPipelineParameters, bank: ImageSet, queries: ImageSet, seed: int
) -> Evaluator:
    """How a run evaluates features of labelled images."""
    device = resolved_device(parameters.train.device)
    recipe = parameters.knn, parameters.probe, parameters.views
    return Evaluator(bank, queries, *recipe, seed, device)


def pretrain(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    execution: Execution,
    images: ImageSet,
    checkpoints: CheckpointStore,
    log: EpochLog,
    teacher: Bundled | None = None,
    gate_features: Arrays | None = None,
    start: Encoder | None = None,
    *,
    training: Training,
) -> tuple[Encoder, TrainingRecord]:
    """Train one method; returns its encoder and how the training went.

    A student distils a ``teacher``, and has the channels that the gates of another training open on
    average where that has left ``gate_features``. Weights begin as those of ``start``.
    """
    identity = training_identity(parameters, data, execution, training)
    channels = None
    if gate_features is not None:
        channels = mean_open_channels(gate_record(gate_features, "train"))
        identity |= {"inner_channels": list(channels)}
    teaching = None if teacher is None else encoder_of(teacher, "distillation.teacher")
    if teaching is not None:
        identity |= {"teacher": weight_fingerprint(teaching)}
    if start is not None:
        identity |= {"start": weight_fingerprint(start)}
    plan = planned_method(
        parameters, data, training, teacher=teaching, inner_channels=channels, start=start
    )
    return run_training(parameters, execution, images, checkpoints, log, training, plan, identity)


def planned_method(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    training: Training,
    *,
    teacher: Encoder | None = None,
    inner_channels: tuple[int, ...] | None = None,
    start: Encoder | None = None,
) -> MethodPlan:
    """A method for the images that ``data`` describes, before it is built with fresh weights."""
    shape = shape_of(parameters, training)
    if inner_channels is not None:
        shape = shape.thinned(inner_channels)
    setup = EncoderSetup(
        config=shape,
        image_size=parameters.data.size,
        pixel_mean=data.pixel_mean,
        pixel_std=data.pixel_std,
        teacher=teacher,
        view_size=parameters.view_size,
        start=start,
    )
    config = parameters.method_config(training.method, training.gates, training.options)
    return MethodPlan(training.method, setup, config, training.budget, training.seed)


def shape_of(parameters: EncoderPipelineParameters, training: Training) -> EncoderShape:
    """Shape of the encoder that a training makes, the run's own or narrower."""
    shape = parameters.encoder
    return shape if training.width is None else shape.narrowed(training.width)


def training_identity(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    execution: Execution,
    training: Training,
) -> dict[str, Any]:
    """What decides a training's numbers; a checkpoint of another identity is not resumed."""
    method = dataclasses.asdict(
        parameters.method_config(training.method, training.gates, training.options)
    )
    # Beside the method's own options, and for every method: where checkpoints have them.
    for name, shared in parameters.shared_options.items():
        method[name] = method["options"].pop(name, dataclasses.asdict(shared))
    recipe = {
        "views": dataclasses.asdict(parameters.views),
        "encoder": shape_values(shape_of(parameters, training)),
        "method": method,
        "train": dataclasses.asdict(parameters.train_config(training.method, training.train)),
    }
    size = parameters.data.size
    # Budgets are held at the size of whole images.
    apart = {} if parameters.view_size == size else {"image_size": size}
    return (
        recipe_identity(recipe)
        | apart
        | {
            "name": training.method,
            "budget": training.budget,
            "seed": training.seed,
            "data": data.fingerprints["pretrain"],
            "device": execution.device,
            **execution.identity,
        }
    )


def run_training(
    parameters: EncoderPipelineParameters,
    execution: Execution,
    images: ImageSet,
    checkpoints: CheckpointStore,
    log: EpochLog,
    training: Training,
    plan: MethodPlan,
    identity: dict[str, Any],
) -> tuple[Encoder, TrainingRecord]:
    """The training itself: its encoder, and history, time and cost."""
    config = parameters.train_config(training.method, training.train)
    result = train_encoder(
        EncoderTraining(
            method=plan,
            views=parameters.training_views,
            recipe=config,
            execution=execution.of(method_classes()[training.method]),
            seed=training.seed,
            label=training.label,
            identity=identity,
        ),
        images.images,
        log,
        checkpoints,
    )
    steps = len(result.history) * (len(images) // config.batch_size)
    return result.method.encoder, TrainingRecord(
        history=result.history,
        epochs=len(result.history),
        seconds=result.seconds,
        images_per_second=float(np.median([row["images_per_second"] for row in result.history])),
        macs=result.method.macs_per_image * steps * config.batch_size,
        collapsed=_collapsed(training, result.history[-1]),
    )


def _collapsed(training: Training, last: dict[str, float]) -> bool:
    """Whether all embeddings have become nearly one point; warned of by name."""
    found = last.get("embedding_std", 1.0) < COLLAPSED_BELOW
    if found:
        logging.getLogger(__name__).warning(
            "%s has collapsed: the spread of its embeddings is %.3f where an even one has 1; "
            "its accuracies mean nothing. Lower train.lr or lengthen train.warmup_epochs",
            training.label,
            last["embedding_std"],
        )
    return found


def extract(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    train_images: ImageSet,
    eval_images: ImageSet,
) -> Arrays:
    """Features of both parts through every branch, and what the gates did on them."""
    parts = {"train": train_images.images, "eval": eval_images.images}
    return branch_arrays(encoder, parts, device=resolved_device(parameters.train.device))


def evaluate(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    encoder: Encoder,
    features: Arrays,
    training: TrainingRecord,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    trained: Training,
) -> Evaluation:
    """Accuracies, cost and channel usage of one trained encoder."""
    branches = {branch: Accuracies() for branch in encoder.branches}
    if data.labelled:
        found = evaluator(parameters, train_images, eval_images, trained.seed)
        branches = {b: found.accuracies(encoder, b, features) for b in encoder.branches}
    size = eval_images.images.shape[-1]
    whole = cost_at(parameters.encoder, size, parameters.gates.reduction).dense
    macs, usage = branch_costs(encoder, features, size, whole)
    return Evaluation(
        method=trained.method,
        budget=trained.budget,
        seed=trained.seed,
        branches=branches,
        macs=macs,
        channel_usage=usage,
        parameters=sum(p.numel() for p in encoder.parameters()),
        training=training.summary,
    )


def class_names(data: DataSummary) -> list[str]:
    """Names of the classes, for encoders that are kept with a linear layer; before any training.

    Raises:
        InputError: the images have no labels.
    """
    if not data.labelled:
        what = "labels, for keep_head=true"
        raise InputError(data.source, "images without labels", what, "give one folder a class")
    return list(data.class_names)


def keep_head(
    parameters: EncoderPipelineParameters,
    class_names: list[str],
    encoder: Encoder,
    features: Arrays,
    train_images: ImageSet,
    *,
    trained: Training,
) -> Encoder:
    """A copy of the encoder with the linear layers of its evaluation and names of the classes."""
    found = trained_classifier(
        encoder,
        features,
        dataclasses.replace(train_images, class_names=tuple(class_names)),
        parameters.probe or ProbeConfig(),
        seed=trained.seed,
        device=resolved_device(parameters.train.device),
    )
    return with_classifier(encoder, found)


def collect_by_model(**found: R) -> dict[str, R]:
    """What every model left, by its name in the metrics."""
    return found


def collect_histories(**trainings: TrainingRecord) -> Histories:
    """Rows of every model's epochs, by its name in the metrics."""
    return {name: training.history for name, training in trainings.items()}
