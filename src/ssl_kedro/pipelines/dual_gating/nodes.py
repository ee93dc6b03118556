"""Nodes of the dual_gating pipeline: typed parameters in, library calls, plain values out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from ssl_kedro.augment.views import RandomViews
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.gated_resnet import Branch, GatedResNet18
from ssl_kedro.evaluation.augmented import augmented_batches
from ssl_kedro.evaluation.baselines import chance_level, encoder_knn, raw_pixel_knn
from ssl_kedro.evaluation.channel_usage import channel_usage
from ssl_kedro.evaluation.features import GateRecord, extract_features
from ssl_kedro.evaluation.knn import knn_accuracy
from ssl_kedro.evaluation.linear_probe import linear_probe_accuracies
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.methods.base import EncoderSetup, Method
from ssl_kedro.methods.registry import build_method
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.epoch_log import EpochLog
from ssl_kedro.training.execution import choose_execution
from ssl_kedro.training.loop import train

Json = dict[str, Any]
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


def select_execution(parameters: DualGatingParameters, data: Json) -> Json:
    """Device and precision that every training of this run shares."""
    method = _method(parameters, data, "dual_gating", max(parameters.budgets))
    chosen = choose_execution(method, parameters.image_size, parameters.train)
    return dataclasses.asdict(chosen)


def measure_baselines(
    parameters: DualGatingParameters, data: Json, train_images: ImageSet, eval_images: ImageSet
) -> Json:
    """Chance, raw pixels and a random encoder; empty without labels."""
    if not data["labelled"]:
        return {}
    device = resolved_device(parameters.train.device)
    untrained = _method(parameters, data, "vicreg", None).encoder
    knn = parameters.knn
    return {
        "chance": chance_level(eval_images),
        "raw_pixels.knn_top1": raw_pixel_knn(train_images, eval_images, knn, device),
        "random_init.knn_top1": encoder_knn(untrained, train_images, eval_images, knn, device),
    }


def pretrain(
    parameters: DualGatingParameters,
    data: Json,
    execution: Json,
    images: ImageSet,
    checkpoints: CheckpointStore,
    log: EpochLog,
    *,
    method: str,
    budget: float | None,
) -> tuple[GatedResNet18, Json]:
    """Train one method; returns its encoder and how the training went."""
    device = resolved_device(execution["device"])
    label = method if budget is None else f"{method} at {budget:.0%}"
    result = train(
        _method(parameters, data, method, budget),
        BatchSource(images.images, parameters.train.batch_size, device, parameters.seed),
        RandomViews(parameters.views),
        parameters.train,
        precision=execution["precision"],
        label=label,
        identity=_identity(parameters, data, execution, method, budget),
        log=log,
        checkpoints=checkpoints,
    )
    rates = [row["images_per_second"] for row in result.history]
    training = {
        "history": result.history,
        "epochs": len(result.history),
        "seconds": result.seconds,
        "images_per_second": float(np.median(rates)),
    }
    return result.method.encoder, training


def extract(
    parameters: DualGatingParameters,
    encoder: GatedResNet18,
    train_images: ImageSet,
    eval_images: ImageSet,
) -> Arrays:
    """Features of both parts through every branch, and what the gates did on the eval part."""
    device = resolved_device(parameters.train.device)
    arrays: Arrays = {}
    for branch in encoder.branches:
        for part, images in (("train", train_images), ("eval", eval_images)):
            found = extract_features(
                encoder, images.images, branch, device=device, label=f"{branch} features"
            )
            arrays[f"{branch}.{part}"] = found.features
            if part == "eval" and found.gates is not None:
                arrays["macs"] = found.gates.macs
                for name, counts in zip(
                    found.gates.block_names, found.gates.open_counts, strict=True
                ):
                    arrays[f"open.{name}"] = counts
    return arrays


def evaluate(
    parameters: DualGatingParameters,
    data: Json,
    encoder: GatedResNet18,
    features: Arrays,
    training: Json,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    method: str,
    budget: float | None,
) -> Json:
    """Accuracies, cost and channel usage of one trained encoder."""
    branches = {}
    for branch in encoder.branches:
        accuracies: Json = {}
        if data["labelled"]:
            accuracies = _accuracies(
                parameters, encoder, branch, features, train_images, eval_images
            )
        branches[branch] = accuracies
    dense_macs = encoder.cost(eval_images.images.shape[-1]).dense
    macs: Json = {"dense": dense_macs, "gated_mean": None, "flop_reduction": None}
    usage: list[Json] = []
    if "macs" in features:
        mean = float(features["macs"].mean())
        macs |= {"gated_mean": mean, "flop_reduction": 1 - mean / dense_macs}
        usage = [dataclasses.asdict(block) for block in channel_usage(_gate_record(features))]
    return {
        "method": method,
        "budget": budget,
        "branches": branches,
        "macs": macs,
        "channel_usage": usage,
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "training": {key: value for key, value in training.items() if key != "history"},
    }


def _accuracies(
    parameters: DualGatingParameters,
    encoder: GatedResNet18,
    branch: Branch,
    features: Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
) -> Json:
    """Linear probe and nearest-neighbour accuracy of one branch."""
    if train_images.labels is None or eval_images.labels is None:
        raise ValueError("accuracies need labels")
    device = resolved_device(parameters.train.device)
    sides = (
        features[f"{branch}.train"],
        train_images.labels,
        features[f"{branch}.eval"],
        eval_images.labels,
    )
    probe, seed = parameters.probe, parameters.seed
    batches = None
    if probe.features == "augmented":
        batches = augmented_batches(
            encoder,
            train_images.images,
            train_images.labels,
            branch,
            probe,
            parameters.views,
            seed=derived_seed(seed, "probe", branch),
            device=device,
        )
    linear = linear_probe_accuracies(
        *sides, probe, seed=seed, batches=batches, device=device, label=f"linear, {branch}"
    )
    knn = parameters.knn
    nearest = knn_accuracy(*sides, k=knn.k, normalise=knn.normalise, device=device)
    return {"linear_top1": linear, "knn_top1": nearest}


def _method(
    parameters: DualGatingParameters, data: Json, name: str, budget: float | None
) -> Method:
    setup = EncoderSetup(
        config=parameters.encoder,
        image_size=parameters.image_size,
        pixel_mean=tuple(data["pixel_mean"]),
        pixel_std=tuple(data["pixel_std"]),
    )
    return build_method(name, setup, parameters.method_config, budget, parameters.seed)


def _gate_record(features: Arrays) -> GateRecord:
    names = tuple(name.removeprefix("open.") for name in features if name.startswith("open."))
    order = tuple(sorted(names))
    return GateRecord(order, tuple(features[f"open.{name}"] for name in order), features["macs"])


def _identity(
    parameters: DualGatingParameters,
    data: Json,
    execution: Json,
    method: str,
    budget: float | None,
) -> Json:
    """What decides a training's numbers; a checkpoint of another identity is not resumed."""
    recipe = dict(_flat("", parameters.model_dump(include=_TRAINED_BY)))
    for irrelevant in ("train.resume", "train.checkpoint_every", "train.device"):
        del recipe[irrelevant]
    return recipe | {
        "method": method,
        "budget": budget,
        "data": data["fingerprints"]["pretrain"],
        "device": execution["device"],
        "precision": execution["precision"],
    }


_TRAINED_BY = {"seed", "views", "encoder", "expander", "vicreg", "gates", "train"}


def _flat(prefix: str, values: Json) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value
