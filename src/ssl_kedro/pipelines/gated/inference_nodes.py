"""Nodes that make trained gated encoders fast, time them and export them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.factory import new_backbone
from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.evaluation.features import branch_arrays, gate_record
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.inference.compact import (
    BudgetError,
    GateUsage,
    compact,
    dense_network,
    static_network,
)
from ssl_kedro.inference.comparison import NetworkName, compare, timed_batches
from ssl_kedro.inference.engines.probe import fastest_engine
from ssl_kedro.inference.export import ExportReport, FileReport, export_compact, export_compact_onnx
from ssl_kedro.inference.forcing import forcing_report
from ssl_kedro.inference.network import CompactEncoder, CompactNetwork
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.gated.inference_parameters import InferenceParameters
from ssl_kedro.pipelines.gated.inference_records import (
    ChannelCounts,
    DenseEngines,
    Export,
    ForcedGates,
    Measurement,
    StaticNetwork,
)
from ssl_kedro.pipelines.gated.nodes import evaluator
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Training

Arrays = dict[str, np.ndarray]
# Real images that an exported file is compared on, beside noise.
_COMPARED = 16


def race_dense_engines(
    parameters: EncoderPipelineParameters, eval_images: ImageSet
) -> DenseEngines:
    """The fastest engine for the dense network at each batch size: what gating has to beat.

    Weights are random: they make no difference to the time of a dense network.
    """
    side = eval_images.images.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(parameters.seed, "raced dense network"))
        encoder = new_backbone(parameters.encoder, branches=("dense",), image_size=side)
    found = {}
    for batch in parameters.inference.batches:
        images = timed_batches(eval_images.images, batch)[0]
        race = _race(parameters.inference)
        found[str(batch)] = fastest_engine(
            dense_network(encoder), batch, side, images=images, **race
        )[1]
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
    usage, budget = (
        _usage(features, train_images.source),
        _budget(parameters, gated, features, side),
    )
    # Without a dense branch the dense network is the gated one with every channel computed.
    whole: Branch = "dense" if "dense" in encoder.branches else "gated"
    networks: dict[NetworkName, CompactNetwork] = {
        "dense": dense_network(encoder, whole),
        "gated": compact(gated, usage),
    }
    try:
        networks["static"], threshold = static_network(gated, usage, budget, side)
        static = StaticNetwork(budget, threshold, "")
    except BudgetError as error:
        static = StaticNetwork(budget, None, str(error))
    device = resolved_device(parameters.train.device)
    forced = forcing_report(gated, networks["gated"], eval_images.images, device=device)
    batches = {}
    for batch in parameters.inference.batches:
        # None where the dense race was run with other batch sizes.
        winner = dense_engines.get(str(batch))
        raced = None if winner is None else {winner.precision: winner.engine}
        race = _race(parameters.inference)
        _, batches[str(batch)] = compare(
            networks, batch, eval_images.images, dense_engines=raced, **race
        )
    costs: dict[NetworkName, float] = {"dense": float(gated.cost(side).dense)}
    accuracies: dict[NetworkName, Accuracies] = {}
    for name in [name for name in networks if name != "dense"]:
        # No gate is forced another way on the images of the usage, so the features of those are
        # the compact network's.
        known = features["gated.train"] if name == "gated" else None
        accuracies[name], costs[name] = _evaluated(
            parameters, networks[name], trained.seed, train_images, eval_images, known
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
    gated, side = _gated(encoder), eval_images.images.shape[-1]
    usage, budget = (
        _usage(features, train_images.source),
        _budget(parameters, gated, features, side),
    )
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


def _race(options: InferenceParameters) -> dict[str, Any]:
    """How engines race."""
    return {name: getattr(options, name) for name in ("engines", "threads", "rounds", "seconds")}


def _gated(encoder: Encoder) -> Encoder:
    """The network with the gates."""
    if "gated" not in encoder.branches:
        raise TypeError(
            f"expected an encoder with a gated branch, found a {type(encoder).__name__} with "
            f"{encoder.branches}; only gated encoders are made faster"
        )
    return encoder.member("gated")


def _usage(features: Arrays, source: str) -> GateUsage:
    """Usage of the gates on the training images, as it was counted with their features."""
    record = gate_record(features, "train")
    return GateUsage(source, len(record.macs), record.block_names, record.open_counts)


def _budget(
    parameters: EncoderPipelineParameters, gated: Encoder, features: Arrays, side: int
) -> float:
    """What a static network may cost, share of the dense one: by itself what the gates leave."""
    mean = float(gate_record(features, "train").macs.mean())
    return parameters.inference.static_budget or min(1.0, mean / gated.cost(side).dense)


def _evaluated(
    parameters: EncoderPipelineParameters,
    network: CompactNetwork,
    seed: int,
    train_images: ImageSet,
    eval_images: ImageSet,
    known: np.ndarray | None,
) -> tuple[Accuracies, float]:
    """Accuracies of a network (none without labels) and its mean MACs on evaluation images.

    Training images whose features are ``known`` need no pass.
    """
    device, encoder = resolved_device(parameters.train.device), CompactEncoder(network)
    branch = encoder.branches[0]
    labelled = train_images.labels is not None and eval_images.labels is not None
    parts = {"eval": eval_images.images}
    if labelled and known is None:
        parts["train"] = train_images.images
    features = branch_arrays(encoder, parts, device=device)
    macs = encoder.cost(eval_images.images.shape[-1]).dense
    if branch == "gated":
        macs = gate_record(features, "eval").macs.mean()
    if not labelled:
        return Accuracies(), float(macs)
    if known is not None:
        features[f"{branch}.train"] = known
    recipe = evaluator(parameters, train_images, eval_images, seed)
    # On features of whole images, even where the probe augments: that takes a pass over the
    # training images for every epoch of it, for each of these networks.
    probe = parameters.probe and dataclasses.replace(parameters.probe, features="cached")
    cached = dataclasses.replace(recipe, probe=probe)
    found = cached.accuracies(encoder, branch, features)
    return dataclasses.replace(found, knn_normalised_top1=None), float(macs)
