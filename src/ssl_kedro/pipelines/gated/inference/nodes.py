"""Nodes that time and judge the networks of trained encoders in every precision."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.precision import Precision
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.inference.comparison import Comparison, NetworkName, compare, timed_batches
from ssl_kedro.inference.engines.base import Engine
from ssl_kedro.inference.engines.probe import fastest_engine
from ssl_kedro.inference.forcing import forcing_report
from ssl_kedro.pipelines.gated.inference.forms import (
    Judge,
    Timed,
    calibration_images,
    footprints,
)
from ssl_kedro.pipelines.gated.inference.networks import Networks, networks_of, reference_network
from ssl_kedro.pipelines.gated.inference.parameters import InferenceParameters
from ssl_kedro.pipelines.gated.inference.records import (
    ChannelCounts,
    DenseEngines,
    ForcedGates,
    Measurement,
)
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Training

Arrays = dict[str, np.ndarray]


def race_dense_engines(
    parameters: EncoderPipelineParameters, eval_images: ImageSet
) -> DenseEngines:
    """The fastest engine in f32 for the dense network at each batch size, for models to start from.

    Weights are random: they make no difference to the time of a dense network.
    """
    side, race = eval_images.images.shape[-1], _race(parameters.inference)
    network, found = reference_network(parameters, side), {}
    for batch in parameters.inference.batches:
        images = timed_batches(eval_images.images, batch)[0]
        found[str(batch)] = fastest_engine(network, batch, side, images=images, **race)[1]
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
    precisions: Sequence[Precision] | None = None,
) -> tuple[Measurement, Arrays]:
    """Time, accuracy, cost and size of one encoder's networks in each precision.

    Args:
        parameters: of the run.
        dense_engines: winners of the race of the dense network, by batch size.
        encoder: with gates or without.
        features: of both parts, and what the gates did.
        train_images: bank and probe.
        eval_images: what accuracies are of.
        trained: how it was trained.
        precisions: that are measured; None = those that the parameters name.

    Returns:
        The measurement; and which evaluation images each form names rightly, as arrays named
        ``<network>.<precision>.<engine>.<measure>``.
    """
    side, wanted = eval_images.images.shape[-1], precisions or parameters.inference.precisions
    networks = networks_of(parameters, encoder, features, train_images.source, side)
    timed = _timed(parameters, networks, dense_engines, train_images, eval_images, wanted)
    judge = Judge(parameters, train_images, eval_images, trained.seed, judged=len(wanted) > 1)
    forms, right, macs = [], dict[str, np.ndarray](), dict(networks.macs)
    accuracies: dict[NetworkName, Accuracies] = {}
    for form, found, cost in judge.forms(networks, timed, features):
        forms.append(form)
        at = f"{form.network}.{form.precision}.{form.engines[0]}"
        right |= {f"{at}.{measure}": of for measure, of in found.items()}
        if cost is not None:
            macs[form.network] = cost
        if form.precision == "f32" and form.network != "dense":
            accuracies[form.network] = form.accuracies
    gates = _of_gates(parameters, encoder, networks, eval_images)
    return Measurement(
        usage_images=len(train_images) if networks.static else 0,
        image_size=side,
        macs=macs,
        accuracies=accuracies,
        batches=timed.batches,
        static=networks.static,
        forms=tuple(forms),
        footprints=footprints(networks, timed, side),
        **gates,
    ), right


def _timed(
    parameters: EncoderPipelineParameters,
    networks: Networks,
    dense_engines: DenseEngines,
    train_images: ImageSet,
    eval_images: ImageSet,
    precisions: Sequence[Precision],
) -> Timed:
    """All networks in all precisions in turns, at each batch size."""
    calibration = calibration_images(parameters, train_images) if "int8" in precisions else None
    engines: dict[str, dict[str, Engine]] = {}
    batches: dict[str, Comparison] = {}
    for batch in parameters.inference.batches:
        # None where the dense race was run with other batch sizes.
        winner = dense_engines.get(str(batch))
        engines[str(batch)], batches[str(batch)] = compare(
            networks.by_name,
            batch,
            eval_images.images,
            precisions=precisions,
            calibration=calibration,
            dense_engines=None if winner is None else {winner.precision: winner.engine},
            **_race(parameters.inference),
        )
    return Timed(engines, batches, precisions, calibration)


def _of_gates(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    networks: Networks,
    eval_images: ImageSet,
) -> dict[str, Any]:
    """Counts of channels and what forced gates change, where there are gates."""
    if "gated" not in networks.by_name:
        return {}
    network, device = networks.by_name["gated"], resolved_device(parameters.train.device)
    found = forcing_report(encoder.member("gated"), network, eval_images.images, device=device)
    return {"channels": ChannelCounts.of(network), "forced": ForcedGates.of(found)}


def _race(options: InferenceParameters) -> dict[str, Any]:
    """How engines race."""
    return {name: getattr(options, name) for name in ("engines", "threads", "rounds", "seconds")}
