"""Nodes that prepare, train and evaluate encoders; shared by the pipelines that do.

Typed parameters in, library calls, plain values out.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np

from ssl_kedro.core.devices import limited_threads, resolved_device, threads_of_each
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.factory import cost_at
from ssl_kedro.evaluation.augmented import augmented_batches
from ssl_kedro.evaluation.baselines import chance_level, encoder_knn, raw_pixel_knn
from ssl_kedro.evaluation.channel_usage import channel_usage
from ssl_kedro.evaluation.features import extract_features, gate_arrays, gate_record
from ssl_kedro.evaluation.knn import knn_accuracy
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_accuracies
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.methods.base import MethodPlan, method_classes
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.trainings import (
    Training,
    new_method,
    planned_method,
    training_identity,
)
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.config import EncoderTraining, options_for
from ssl_kedro.training.encoder import train_encoder
from ssl_kedro.training.epoch_log import EpochLog
from ssl_kedro.training.execution import choose_execution

Json = dict[str, Any]
# Of the normalised spread of embeddings, 1 when even and 0 when all are one point.
COLLAPSED_BELOW = 0.1
Arrays = dict[str, np.ndarray]


def summarise_data(
    pretrain_images: ImageSet, train_images: ImageSet, eval_images: ImageSet
) -> Json:
    """Counts, fingerprints and pixel statistics; fails before any training does."""
    mean, std = pretrain_images.channel_statistics()
    parts = {"pretrain": pretrain_images, "train": train_images, "eval": eval_images}
    return {
        "source": train_images.source,
        "labelled": train_images.labels is not None and eval_images.labels is not None,
        "class_names": list(train_images.class_names),
        "image_size": int(train_images.images.shape[-1]),
        "pixel_mean": mean,
        "pixel_std": std,
        "images": {name: len(part) for name, part in parts.items()},
        "fingerprints": {name: part.fingerprint() for name, part in parts.items()},
        "skipped": sorted(
            {(file.path, file.reason) for part in parts.values() for file in part.skipped}
        ),
    }


def select_execution(parameters: EncoderPipelineParameters, data: Json) -> Json:
    """Device, precision and way of computing that every training of this run shares."""
    method = new_method(
        parameters, data, Training(parameters.gated_method, max(parameters.budgets), 0)
    )
    recipe, shape = parameters.base_train, (3, parameters.image_size, parameters.image_size)
    with limited_threads(threads_of_each(recipe.workers)):
        chosen = choose_execution(method, shape, recipe.of_one_process)
    return dataclasses.asdict(chosen)


def measure_baselines(
    parameters: EncoderPipelineParameters, data: Json, train_images: ImageSet, eval_images: ImageSet
) -> Json:
    """Chance, raw pixels and a random encoder; empty without labels."""
    if not data["labelled"]:
        return {}
    device = resolved_device(parameters.train.device)
    untrained = new_method(
        parameters, data, Training(parameters.dense_method, None, parameters.seed)
    ).encoder
    knn = parameters.knn
    return {
        "chance": chance_level(eval_images),
        "raw_pixels.knn_top1": raw_pixel_knn(train_images, eval_images, knn, device),
        "random_init.knn_top1": encoder_knn(untrained, train_images, eval_images, knn, device),
    }


def pretrain(
    parameters: EncoderPipelineParameters,
    data: Json,
    execution: Json,
    images: ImageSet,
    checkpoints: CheckpointStore,
    log: EpochLog,
    *,
    training: Training,
) -> tuple[Encoder, Json]:
    """Train one method; returns its encoder and how the training went."""
    plan = planned_method(parameters, data, training)
    identity = training_identity(parameters, data, execution, training)
    return run_training(parameters, execution, images, checkpoints, log, training, plan, identity)


def run_training(
    parameters: EncoderPipelineParameters,
    execution: Json,
    images: ImageSet,
    checkpoints: CheckpointStore,
    log: EpochLog,
    training: Training,
    plan: MethodPlan,
    identity: Json,
) -> tuple[Encoder, Json]:
    """The training itself: its encoder, and history, time and cost."""
    config = parameters.train_config(training.method)
    result = train_encoder(
        EncoderTraining(
            method=plan,
            views=parameters.views,
            recipe=config,
            device=execution["device"],
            precision=execution["precision"],
            options=options_for(method_classes()[training.method], execution),
            seed=training.seed,
            label=training.label,
            identity=identity,
        ),
        images.images,
        log,
        checkpoints,
    )
    rates = [row["images_per_second"] for row in result.history]
    steps = len(result.history) * (len(images) // config.batch_size)
    found = {
        "history": result.history,
        "epochs": len(result.history),
        "seconds": result.seconds,
        "images_per_second": float(np.median(rates)),
        "macs": result.method.macs_per_image * steps * config.batch_size,
        "collapsed": _collapsed(training, result.history[-1]),
    }
    return result.method.encoder, found


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
    device = resolved_device(parameters.train.device)
    arrays: Arrays = {}
    for branch in encoder.branches:
        for part, images in (("train", train_images), ("eval", eval_images)):
            found = extract_features(
                encoder, images.images, branch, device=device, label=f"{branch} features"
            )
            arrays[f"{branch}.{part}"] = found.features
            if found.gates is not None:
                arrays |= gate_arrays(found.gates, part)
    return arrays


def evaluate(
    parameters: EncoderPipelineParameters,
    data: Json,
    encoder: Encoder,
    features: Arrays,
    training: Json,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    trained: Training,
) -> Json:
    """Accuracies, cost and channel usage of one trained encoder."""
    branches = {}
    for branch in encoder.branches:
        accuracies: Json = {}
        if data["labelled"]:
            accuracies = _accuracies(
                parameters, encoder, branch, features, train_images, eval_images, trained.seed
            )
        branches[branch] = accuracies
    return {
        "method": trained.method,
        "budget": trained.budget,
        "seed": trained.seed,
        "branches": branches,
        **_costs(parameters, encoder, features, eval_images.images.shape[-1]),
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "training": {key: value for key, value in training.items() if key != "history"},
    }


def _costs(
    parameters: EncoderPipelineParameters, encoder: Encoder, features: Arrays, image_size: int
) -> Json:
    """MACs of the whole network, of this one used dense, and of what its gates leave."""
    whole = cost_at(parameters.encoder, image_size, parameters.gates.reduction).dense
    macs: Json = {
        "dense": whole,
        "own": encoder.cost(image_size).dense,
        "gated_mean": None,
        "flop_reduction": None,
    }
    usage: list[Json] = []
    if "gated" in encoder.branches:
        record = gate_record(features, "eval")
        mean = float(record.macs.mean())
        macs |= {"gated_mean": mean, "flop_reduction": 1 - mean / whole}
        usage = [dataclasses.asdict(block) for block in channel_usage(record)]
    return {"macs": macs, "channel_usage": usage}


def _accuracies(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    branch: Branch,
    features: Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
    seed: int,
) -> Json:
    """Linear probe and nearest-neighbour accuracies of one branch."""
    knn = parameters.knn
    sides = _sides(features, branch, train_images, eval_images)
    device = resolved_device(parameters.train.device)
    nearest = {
        normalise: knn_accuracy(*sides, k=knn.k, normalise=normalise, device=device)
        for normalise in {knn.normalise, True}
    }
    accuracies: Json = {
        "knn_top1": nearest[knn.normalise],
        "knn_normalised_top1": nearest[True],
    }
    if parameters.probe is not None:
        accuracies["linear_top1"] = labelled_probe(
            parameters, parameters.probe, encoder, branch, features, train_images, eval_images, seed
        )
    return accuracies


def labelled_probe(
    parameters: EncoderPipelineParameters,
    probe: ProbeConfig,
    encoder: Encoder,
    branch: Branch,
    features: Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
    seed: int,
) -> list[float]:
    """Linear accuracies of one branch, one a run of the probe."""
    device = resolved_device(parameters.train.device)
    sides = _sides(features, branch, train_images, eval_images)
    batches = None
    if probe.features == "augmented":
        batches = augmented_batches(
            encoder,
            train_images.images,
            sides[1],
            branch,
            probe,
            parameters.views,
            seed=derived_seed(seed, "probe", branch),
            device=device,
        )
    return linear_probe_accuracies(
        *sides, probe, seed=seed, batches=batches, device=device, label=f"linear, {branch}"
    )


def _sides(
    features: Arrays, branch: Branch, train_images: ImageSet, eval_images: ImageSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features and labels of the training part, then of the evaluation part."""
    if train_images.labels is None or eval_images.labels is None:
        raise ValueError("accuracies need labels")
    return (
        features[f"{branch}.train"],
        train_images.labels,
        features[f"{branch}.eval"],
        eval_images.labels,
    )
