"""Nodes that make trained gated encoders fast, time them and export them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.factory import new_backbone
from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.evaluation.features import extract_features, gate_record
from ssl_kedro.evaluation.knn import knn_accuracy
from ssl_kedro.evaluation.linear_probe import linear_probe_accuracies
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.inference.compact import (
    BudgetError,
    GateUsage,
    compact,
    dense_network,
    static_network,
)
from ssl_kedro.inference.comparison import NetworkName, compare, timed_batches
from ssl_kedro.inference.engines.probe import EngineName, fastest_engine
from ssl_kedro.inference.export import (
    ExportReport,
    FileReport,
    export_compact,
    export_compact_onnx,
)
from ssl_kedro.inference.forcing import forcing_report
from ssl_kedro.inference.network import CompactEncoder, CompactNetwork
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import (
    BatchTimes,
    ChannelCounts,
    DenseEngines,
    Evaluations,
    Export,
    ForcedGates,
    Measurement,
    Measurements,
    StaticNetwork,
    Training,
    plain,
)
from ssl_kedro.pipelines.gated.report.speed_figure import time_against_cost
from ssl_kedro.pipelines.gated.report.speed_numbers import (
    export_metrics,
    inference_frame,
    inference_metrics,
)
from ssl_kedro.pipelines.gated.report.speed_section import export_section, inference_sections
from ssl_kedro.reporting.html import Section

Arrays = dict[str, np.ndarray]
# Real images that an exported file is compared on, beside noise.
_COMPARED = 16


def race_dense_engines(
    parameters: EncoderPipelineParameters, eval_images: ImageSet
) -> DenseEngines:
    """The fastest engine for the dense network at each batch size: what gating has to beat.

    Weights are random: they make no difference to the time of a dense network.
    """
    options = parameters.inference
    side = eval_images.images.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(parameters.seed, "raced dense network"))
        encoder = new_backbone(parameters.encoder, branches=("dense",), image_size=side)
    found = {}
    for batch in options.batches:
        _, probe = fastest_engine(
            dense_network(encoder),
            batch,
            side,
            images=timed_batches(eval_images.images, batch)[0],
            threads=options.threads,
            engines=options.engines,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        found[str(batch)] = probe
    return found


def measure_inference(
    parameters: EncoderPipelineParameters,
    dense_engines: DenseEngines,
    encoder: Encoder,
    features: Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    trained: Training,
) -> Measurement:
    """Time, accuracy and cost of one encoder's gated and static networks beside the dense one."""
    gated, side = _gated(encoder), eval_images.images.shape[-1]
    networks, static = _networks(parameters, encoder, features, train_images.source, side)
    device = resolved_device(parameters.train.device)
    forced = forcing_report(gated, networks["gated"], eval_images.images, device=device)
    options = parameters.inference
    batches = {}
    for batch in options.batches:
        _, comparison = compare(
            networks,
            batch,
            eval_images.images,
            dense_engines=_winner(dense_engines, batch),
            engines=options.engines,
            threads=options.threads,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        batches[str(batch)] = BatchTimes.of(comparison)
    costs: dict[NetworkName, float] = {"dense": float(gated.cost(side).dense)}
    accuracies: dict[NetworkName, Accuracies] = {}
    for name, network in networks.items():
        if name != "dense":
            known = features["gated.train"] if name == "gated" else None
            accuracies[name], costs[name] = _evaluated(
                parameters, network, trained.seed, train_images, eval_images, known
            )
    return Measurement(
        usage_images=train_images.images.shape[0],
        image_size=side,
        channels=ChannelCounts.of(networks["gated"]),
        macs=costs,
        accuracies=accuracies,
        static=static,
        forced=ForcedGates.of(forced),
        batches=batches,
    )


def _networks(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    features: Arrays,
    source: str,
    side: int,
) -> tuple[dict[NetworkName, CompactNetwork], StaticNetwork]:
    """Dense, gated and (where the budget can be met) static network, and about the last."""
    gated, usage = _gated(encoder), _usage(features, source)
    networks: dict[NetworkName, CompactNetwork] = {
        "dense": _dense_network(encoder),
        "gated": compact(gated, usage),
    }
    budget = parameters.inference.static_budget or _cost_share(gated, features, side)
    try:
        networks["static"], choice = static_network(gated, usage, budget, side)
    except BudgetError as error:
        return networks, StaticNetwork(budget, None, str(error))
    return networks, StaticNetwork(budget, choice.threshold, "")


def inference_table(models: Evaluations, inference: Measurements, *, baseline: str) -> pd.DataFrame:
    """One row a model, network and batch size."""
    return inference_frame(plain(models), plain(inference), baseline)


def inference_plot(table: pd.DataFrame) -> Figure:
    """Share of the dense network's time over the share of its FLOPs."""
    return time_against_cost(table)


def stage_metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """Flat metrics of what was measured and exported.

    Args:
        found: "inference_models" and "exports", each if it was made.
    """
    return inference_metrics(plain(found.get("inference_models", {}))) | export_metrics(
        plain(found.get("exports", {}))
    )


def stage_sections(
    models: Evaluations, found: dict[str, Any], chosen: float | None = None
) -> list[Section]:
    """Report sections of what was measured and exported, which is taken out of ``found``.

    Args:
        models: evaluation of every model.
        found: "inference_models", "inference_table" and "exports", each if it was made.
        chosen: budget of the operating point.
    """
    measured, table = found.pop("inference_models", {}), found.pop("inference_table", None)
    sections = []
    if table is not None:
        sections = inference_sections(plain(models), plain(measured), table)
    exports = found.pop("exports", None)
    return sections if exports is None else [*sections, export_section(plain(exports), chosen)]


def export(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    features: Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
    folder: Path,
) -> Export:
    """Files of one encoder's compact and static networks, each compared with PyTorch.

    Raises:
        ConfigError: the encoder was trained at another image size, or the static budget cannot
            be met.
        ExportNotInstalledError: the packages are missing.
        ExportError: a file computes something else.
    """
    check_export_installed()
    if encoder.image_size != parameters.image_size:
        raise ConfigError(
            "data.size",
            parameters.image_size,
            f"{encoder.image_size}, the image size that the encoder to export was trained at; "
            "train again for another one",
        )
    usage, gated = _usage(features, train_images.source), _gated(encoder)
    side = eval_images.images.shape[-1]
    budget = parameters.inference.static_budget or _cost_share(gated, features, side)
    try:
        static, _ = static_network(gated, usage, budget, side)
    except BudgetError as error:
        raise ConfigError(
            "inference.static_budget",
            budget,
            f"a share that this encoder can meet, or null for its own ({error})",
        ) from error
    network = compact(gated, usage)
    images = np.array(eval_images.images[:_COMPARED])
    files: dict[str, FileReport | ExportReport] = {
        "compact": export_compact(network, gated, folder / "compact", images)
    }
    for name, made in (("gated", network), ("static", static)):
        files[name] = export_compact_onnx(made, folder / f"{name}.onnx", side, images=images)
    return Export(str(folder), files, static.plan.cost(side).dense / gated.cost(side).dense)


def _gated(encoder: Encoder) -> Encoder:
    """The network with the gates."""
    if "gated" not in encoder.branches:
        raise TypeError(
            f"expected an encoder with a gated branch, found a {type(encoder).__name__} with "
            f"{encoder.branches}; only gated encoders are made faster"
        )
    return encoder.member("gated")


def _dense_network(encoder: Encoder) -> CompactNetwork:
    """The encoder's dense branch; without one the same network with every channel computed."""
    branch: Branch = "dense" if "dense" in encoder.branches else "gated"
    return dense_network(encoder, branch)


def _usage(features: Arrays, source: str) -> GateUsage:
    """Usage of the gates on the training images, as it was counted with their features."""
    record = gate_record(features, "train")
    return GateUsage(source, len(record.macs), record.block_names, record.open_counts)


def _cost_share(encoder: Encoder, features: Arrays, side: int) -> float:
    """Mean cost of the gated encoder on the training images, share of the dense one."""
    return min(1.0, float(gate_record(features, "train").macs.mean()) / encoder.cost(side).dense)


def _evaluated(
    parameters: EncoderPipelineParameters,
    network: CompactNetwork,
    seed: int,
    train_images: ImageSet,
    eval_images: ImageSet,
    known: np.ndarray | None,
) -> tuple[Accuracies, float]:
    """Accuracies of a network (none without labels) and its mean MACs on evaluation images.

    Features of the training images need no pass where they are ``known``: no gate is forced
    another way on the images of the usage, so those of the encoder are the compact network's.
    """
    device = resolved_device(parameters.train.device)
    encoder = CompactEncoder(network)
    branch = encoder.branches[0]
    found = extract_features(encoder, eval_images.images, branch, device=device)
    cost = encoder.cost(eval_images.images.shape[-1])
    macs = float(cost.dense if found.gates is None else found.gates.macs.mean())
    if train_images.labels is None or eval_images.labels is None:
        return Accuracies(), macs
    seen = known
    if seen is None:
        seen = extract_features(encoder, train_images.images, branch, device=device).features
    sides = (seen, train_images.labels, found.features, eval_images.labels)
    knn = parameters.knn
    nearest = knn_accuracy(*sides, k=knn.k, normalise=knn.normalise, device=device)
    if parameters.probe is None:
        return Accuracies(nearest), macs
    # On features of whole images, even where the probe augments: that takes a pass over the
    # training images for every epoch of it, for each of these networks.
    linear = linear_probe_accuracies(
        *sides, parameters.probe, seed=seed, device=device, label=f"linear, {branch}"
    )
    return Accuracies(nearest, linear_top1=tuple(linear)), macs


def _winner(dense_engines: DenseEngines, batch: int) -> tuple[EngineName, ...] | None:
    """The engine that won the dense race; None where that was run with other batch sizes."""
    found = dense_engines.get(str(batch))
    return None if found is None else (found.engine,)
