"""What gating gains in time, as a table and as flat metrics."""

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any, get_args

import pandas as pd

from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.inference.comparison import NetworkName
from ssl_kedro.pipelines.gated.inference_records import Exports, Measurements
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.variants import budget_percent


def inference_frame(
    models: Evaluations, inference_models: Measurements, *, baseline: str
) -> pd.DataFrame:
    """One row a model, network and batch size.

    Args:
        models: evaluation of every model, by name.
        inference_models: what was measured, by name of a gated model.
        baseline: name of the ungated model, which stands for the dense network of a gated
            encoder without a dense branch.

    Returns:
        Columns model, budget_percent, network, batch, threads, engine, ms_per_image,
        images_per_second, measured_ratio (time of the dense network over its own), runs (whether
        it is what runs when the fastest of dense and gated is taken), macs, cost_share (of the
        dense MACs), linear_top1, knn_top1 (fractions; of the gated network with its gates forced).
    """
    rows = []
    ungated = models[baseline].branches if baseline in models else {}
    for key, found in inference_models.items():
        whole = (ungated | models[key].branches).get("dense")
        for network in get_args(NetworkName):
            accuracies = whole if network == "dense" else found.accuracies.get(network)
            flat = flat_accuracies(accuracies or Accuracies())
            for batch, compared in found.batches.items():
                if network not in compared.networks:
                    continue
                timing = compared.networks[network]
                ms = timing.ms / compared.batch_size
                rows.append(
                    {
                        "model": key,
                        "budget_percent": budget_percent(key),
                        "network": network,
                        "batch": int(batch),
                        "threads": compared.threads,
                        "engine": timing.engine,
                        "ms_per_image": ms,
                        "images_per_second": 1000 / ms,
                        "measured_ratio": timing.measured_ratio,
                        "runs": network == compared.chosen,
                        "macs": found.macs[network],
                        "cost_share": found.macs[network] / found.macs["dense"],
                        "linear_top1": flat.get("linear_top1_mean", math.nan),
                        "knn_top1": flat.get("knn_top1", math.nan),
                    }
                )
    return pd.DataFrame(rows)


def inference_metrics(inference: Measurements) -> dict[str, float]:
    """Flat metrics of every model: times in ms an image, ratios, accuracies as fractions.

    Keys are ``<model>.inference.batch_<n>.ratio`` (time of the dense network over that of what
    runs, at least 1), ``fallback`` (1 where the dense network runs), and for each network
    ``<network>_ms``, ``<network>_images_per_second`` and ``<network>_ratio`` as measured;
    ``<model>.inference.<network>.flop_reduction``, ``knn_top1`` and ``linear_top1_mean``;
    ``<model>.inference.forced.*`` and ``removed_channels``.
    """
    found: dict[str, float] = {}
    for key, measured in inference.items():
        start = f"{key}.inference"
        for batch, compared in measured.batches.items():
            at = f"{start}.batch_{batch}"
            found[f"{at}.ratio"] = compared.ratio
            found[f"{at}.fallback"] = float(compared.chosen == "dense")
            for network, timing in compared.networks.items():
                ms = timing.ms / compared.batch_size
                found[f"{at}.{network}_ms"] = ms
                found[f"{at}.{network}_images_per_second"] = 1000 / ms
                if network != "dense":
                    found[f"{at}.{network}_ratio"] = timing.measured_ratio
        for network, accuracies in measured.accuracies.items():
            share = measured.macs[network] / measured.macs["dense"]
            found[f"{start}.{network}.flop_reduction"] = 1 - share
            found |= {f"{start}.{network}.{k}": v for k, v in flat_accuracies(accuracies).items()}
        for name in ("changed_images", "opened_share", "changed_gates", "feature_change"):
            found[f"{start}.forced.{name}"] = getattr(measured.forced, name)
        found[f"{start}.removed_channels"] = measured.channels.removed / measured.channels.all
    return found


def export_metrics(exports: Exports) -> dict[str, float]:
    """Flat metrics ``<model>.export.<file>.difference`` and ``bytes`` of exported files."""
    return {
        f"{key}.export.{name}.{value}": float(getattr(file, value))
        for key, export in exports.items()
        for name, file in export.files.items()
        for value in ("difference", "bytes")
    }


def flat_accuracies(accuracies: Accuracies) -> dict[str, float]:
    """Accuracies with the mean of the linear probe's runs; nothing without labels."""
    found = {} if accuracies.knn_top1 is None else {"knn_top1": accuracies.knn_top1}
    if accuracies.linear_top1 is not None:
        found["linear_top1_mean"] = statistics.fmean(accuracies.linear_top1)
    return found


_STAGES: dict[str, Callable[[Any], dict[str, float]]] = {
    "inference_models": inference_metrics,
    "exports": export_metrics,
}


def stage_metrics(stages: Mapping[str, Any]) -> dict[str, float]:
    """Flat metrics of what was timed ("inference_models") and exported ("exports")."""
    return {k: v for name, found in stages.items() for k, v in _STAGES[name](found).items()}
