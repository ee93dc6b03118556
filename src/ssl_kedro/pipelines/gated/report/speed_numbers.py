"""What gating gains in time, as a table and as flat metrics."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import pandas as pd

from ssl_kedro.core.precision import PRECISIONS
from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.inference.comparison import Comparison, NetworkName, key_parts
from ssl_kedro.pipelines.gated.inference.records import (
    Deployment,
    Exports,
    Measurement,
    Measurements,
)
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.report.few_labels import label_metrics
from ssl_kedro.pipelines.gated.variants import budget_percent


def inference_frame(
    models: Evaluations, inference_models: Measurements, *, baseline: str
) -> pd.DataFrame:
    """One row a model, network, precision and batch size.

    Args:
        models: evaluation of every model, by name.
        inference_models: what was measured, by name of a gated model.
        baseline: name of the ungated model, which stands for the dense network of an encoder
            that has none of the run's width.

    Returns:
        Columns model, budget_percent, batch, network, precision, threads, engine, ms_per_image,
        images_per_second, measured_ratio (time of the fastest dense network that holds over its
        own), f32_ratio (of the dense network in f32), runs (whether it is what runs when the
        fastest of dense and gated is taken), macs, cost_share (of the dense MACs), linear_top1,
        knn_top1 (fractions; of the gated network with its gates forced).
    """
    ungated = models[baseline].branches.get("dense") if baseline in models else None
    return pd.DataFrame(
        {"model": key, "budget_percent": budget_percent(key), "batch": int(batch)}
        | _row(found, compared, name, models[key].branches["dense"] if own else ungated)
        for key, found in inference_models.items()
        # The dense branch of a narrow encoder is none of the dense networks that were timed.
        for own in [any(form.network == "dense" for form in found.forms)]
        for name in sorted(_names(found), key=_place)
        for batch, compared in found.batches.items()
        if name in compared.networks
    )


def _names(found: Measurement) -> set[str]:
    return {name for compared in found.batches.values() for name in compared.networks}


def _place(name: str) -> tuple[int, int]:
    """Dense, gated, static; each in f32 first."""
    network, precision = key_parts(name)
    return get_args(NetworkName).index(network), PRECISIONS.index(precision)


def _row(
    found: Measurement, compared: Comparison, name: str, dense: Accuracies | None
) -> dict[str, Any]:
    """One network of a model at one batch size; ``dense`` is what the dense network reaches."""
    timing = compared.networks[name]
    network, _ = key_parts(name)
    accuracies = dense if network == "dense" else found.accuracies.get(network)
    if timing.precision != "f32":
        form = found.form(network, timing.precision, timing.engine)
        accuracies = None if form is None else form.accuracies
    flat = (accuracies or Accuracies()).flat()
    ms = timing.ms / compared.batch_size
    return {
        "network": network,
        "precision": timing.precision,
        "threads": compared.threads,
        "engine": timing.engine,
        "ms_per_image": ms,
        "images_per_second": 1000 / ms,
        "measured_ratio": timing.measured_ratio,
        "f32_ratio": timing.f32_ratio,
        "runs": name == compared.chosen,
        "macs": found.macs[network],
        "cost_share": found.macs[network] / found.macs["dense"],
        "linear_top1": flat.get("linear_top1_mean", math.nan),
        "knn_top1": flat.get("knn_top1", math.nan),
    }


def inference_metrics(inference: Measurements) -> dict[str, float]:
    """Flat metrics of every model: times in ms an image, ratios, accuracies as fractions.

    Keys are ``<model>.inference.batch_<n>.ratio`` (time of the fastest dense network that holds
    over that of what runs, at least 1), ``fallback`` (1 where the dense network runs), and for each
    network ``<network>_ms``, ``<network>_images_per_second`` and ``<network>_ratio`` as measured,
    with several precisions ``<network>_int8_ms`` ... and ``<network>_f32_ratio`` (of the dense
    network in f32); ``<model>.inference.<network>.flop_reduction``, ``knn_top1`` and
    ``linear_top1_mean``, in other precisions than f32 also ``offered``;
    ``<model>.inference.forced.*`` and ``removed_channels``.
    """
    found: dict[str, float] = {}
    for key, measured in inference.items():
        start = f"{key}.inference"
        for batch, compared in measured.batches.items():
            found |= _times(f"{start}.batch_{batch}", compared, measured)
        for network, accuracies in measured.accuracies.items():
            share = measured.macs[network] / measured.macs["dense"]
            found[f"{start}.{network}.flop_reduction"] = 1 - share
            found |= {f"{start}.{network}.{k}": v for k, v in accuracies.flat().items()}
        for form in measured.forms:
            if form.precision == "f32":
                continue
            at = f"{start}.{form.network}_{form.precision}"
            for name, value in form.accuracies.flat().items():
                # Of engines that won at different batch sizes the lowest.
                found[f"{at}.{name}"] = min(value, found.get(f"{at}.{name}", value))
            found[f"{at}.offered"] = float(measured.offered(form.network, form.precision) or 0)
        if measured.gates is not None:
            channels, _, forced = measured.gates
            for name in ("changed_images", "opened_share", "changed_gates", "feature_change"):
                found[f"{start}.forced.{name}"] = getattr(forced, name)
            found[f"{start}.removed_channels"] = channels.removed / channels.all
    return found


def _times(at: str, compared: Comparison, measured: Measurement) -> dict[str, float]:
    """Times and ratios of one model at one batch size."""
    found: dict[str, float] = {}
    if measured.gates is not None:
        found[f"{at}.ratio"] = compared.ratio
        found[f"{at}.fallback"] = float(compared.chosen == compared.baseline)
    several = any(timing.precision != "f32" for timing in compared.networks.values())
    for key, timing in compared.networks.items():
        name, ms = f"{at}.{key.replace(' ', '_')}", timing.ms / compared.batch_size
        found[f"{name}_ms"] = ms
        found[f"{name}_images_per_second"] = 1000 / ms
        if key != "dense" or several:
            found[f"{name}_ratio"] = timing.measured_ratio
        if several and timing.f32_ratio is not None:
            found[f"{name}_f32_ratio"] = timing.f32_ratio
    return found


def export_metrics(exports: Exports) -> dict[str, float]:
    """Flat metrics ``<model>.export.<file>.difference`` and ``bytes`` of exported files."""
    return {
        f"{key}.export.{name}.{value}": float(getattr(file, value))
        for key, export in exports.items()
        for name, file in export.files.items()
        for value in ("difference", "bytes")
    }


def deployment_metrics(deployment: Deployment) -> dict[str, Any]:
    """What to deploy, in words and numbers, below the key "deployment"."""
    return {"deployment": dataclasses.asdict(deployment)}


_STAGES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "inference_models": inference_metrics,
    "deployment": deployment_metrics,
    "exports": export_metrics,
    "label_table": label_metrics,
}


def stage_metrics(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of what was timed ("inference_models"), is to be deployed and was exported."""
    return {k: v for name, found in stages.items() for k, v in _STAGES[name](found).items()}
