"""What of a trained encoder is timed, judged and exported: its networks as plain weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.factory import cost_at, new_backbone
from ssl_kedro.evaluation.features import gate_record
from ssl_kedro.inference.compact import (
    BudgetError,
    GateUsage,
    compact,
    dense_network,
    static_network,
)
from ssl_kedro.inference.comparison import NetworkName
from ssl_kedro.inference.planned import PlannedNetwork
from ssl_kedro.pipelines.gated.inference.records import StaticNetwork
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters

_SAME = "no gate depends on the image, so that the gated network is static itself"


@dataclass(frozen=True)
class Networks:
    """The networks of one encoder.

    Args:
        by_name: "dense" always; of an encoder with gates "gated" and, unless it is that itself or
            its budget cannot be met, "static"; "static" is also what an encoder without gates is
            that is narrower than the run's.
        own: those that were trained; any other only stands for the time of a dense network.
        macs: mean an image that is known without a pass over images.
        static: which channels the static network keeps; None without gates.
    """

    by_name: dict[NetworkName, PlannedNetwork]
    own: tuple[NetworkName, ...]
    macs: dict[NetworkName, float]
    static: StaticNetwork | None = None


def networks_of(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    features: Mapping[str, np.ndarray],
    source: str,
    side: int,
) -> Networks:
    """Networks of an encoder with or without gates.

    Args:
        parameters: of the run.
        encoder: as it was trained.
        features: with what its gates did on the training images.
        source: name of those images.
        side: of images in px.
    """
    if "gated" not in encoder.branches:
        return _without_gates(parameters, dense_network(encoder), side)
    gated, usage = encoder.member("gated"), gate_usage(features, source)
    budget = static_budget(parameters, gated, features, side)
    # Without a dense branch the dense network is the gated one with every channel computed, which
    # was not trained for that.
    dense = "dense" in encoder.branches
    found: dict[NetworkName, PlannedNetwork] = {
        "dense": dense_network(encoder, "dense" if dense else "gated"),
        "gated": compact(gated, usage),
    }
    try:
        narrow, threshold = static_network(gated, usage, budget, side)
        static = StaticNetwork(budget, threshold, "")
        if found["gated"].plan.dependent:
            found["static"] = narrow
        else:  # channel by channel the same: it would be timed, judged and exported twice
            static = StaticNetwork(budget, threshold, _SAME)
    except BudgetError as error:
        static = StaticNetwork(budget, None, str(error))
    own = tuple(name for name in found if dense or name != "dense")
    return Networks(found, own, {"dense": float(gated.cost(side).dense)}, static)


def _without_gates(
    parameters: EncoderPipelineParameters, network: PlannedNetwork, side: int
) -> Networks:
    """The run's dense network, or a narrower one beside the time of that."""
    own = float(network.plan.cost(side).dense)
    whole = float(cost_at(parameters.encoder, side, parameters.gates.reduction).dense)
    if own == whole:
        return Networks({"dense": network}, ("dense",), {"dense": own})
    both: dict[NetworkName, PlannedNetwork] = {
        "dense": reference_network(parameters, side),
        "static": network,
    }
    return Networks(both, ("static",), {"dense": whole, "static": own})


def reference_network(parameters: EncoderPipelineParameters, side: int) -> PlannedNetwork:
    """A dense network of the run's shape.

    Weights are random: they make no difference to the time of a dense network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(parameters.seed, "raced dense network"))
        encoder = new_backbone(parameters.encoder, branches=("dense",), image_size=side)
    return dense_network(encoder)


def gate_usage(features: Mapping[str, np.ndarray], source: str) -> GateUsage:
    """Usage of the gates on the training images, as it was counted with their features."""
    record = gate_record(features, "train")
    return GateUsage(source, len(record.macs), record.block_names, record.open_counts)


def static_budget(
    parameters: EncoderPipelineParameters,
    gated: Encoder,
    features: Mapping[str, np.ndarray],
    side: int,
) -> float:
    """What a static network may cost, share of the dense one: by itself what the gates leave."""
    mean = float(gate_record(features, "train").macs.mean())
    return parameters.inference.static_budget or min(1.0, mean / gated.cost(side).dense)
