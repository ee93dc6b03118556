"""What gating gains in time, as a table and as flat metrics."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import pandas as pd

Json = Mapping[str, Any]
NETWORKS = ("dense", "gated", "static")


def inference_frame(models: Json, inference: Json, baseline: str) -> pd.DataFrame:
    """One row a model, network and batch size.

    Args:
        models: evaluation of every model, by name.
        inference: what was measured, by name of a gated model.
        baseline: name of the ungated model, which stands for the dense network of a gated
            encoder without a dense branch.

    Returns:
        Columns model, budget_percent, network, batch, threads, engine, ms_per_image,
        images_per_second, measured_ratio (time of the dense network over its own), runs (whether
        it is what runs when the fastest of dense and gated is taken), macs, cost_share (of the
        dense MACs), linear_top1, knn_top1 (fractions; of the gated network with its gates forced).
    """
    rows = []
    for key, found in inference.items():
        evaluation = models[key]
        for network in NETWORKS:
            accuracies = _accuracies(models, key, found, network, baseline)
            for batch, compared in found["batches"].items():
                timing = compared["networks"].get(network)
                if timing is None:
                    continue
                ms = timing["ms"] / compared["batch_size"]
                rows.append(
                    {
                        "model": key,
                        "budget_percent": round(100 * evaluation["budget"]),
                        "network": network,
                        "batch": int(batch),
                        "threads": compared["threads"],
                        "engine": timing["engine"],
                        "ms_per_image": ms,
                        "images_per_second": 1000 / ms,
                        "measured_ratio": timing["measured_ratio"],
                        "runs": network == compared["chosen"],
                        "macs": found["macs"][network],
                        "cost_share": found["macs"][network] / found["macs"]["dense"],
                        **accuracies,
                    }
                )
    return pd.DataFrame(rows)


def inference_metrics(inference: Json) -> dict[str, float]:
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
        for batch, compared in measured["batches"].items():
            at = f"{start}.batch_{batch}"
            found[f"{at}.ratio"] = compared["ratio"]
            found[f"{at}.fallback"] = float(compared["chosen"] == "dense")
            for network, timing in compared["networks"].items():
                ms = timing["ms"] / compared["batch_size"]
                found[f"{at}.{network}_ms"] = ms
                found[f"{at}.{network}_images_per_second"] = 1000 / ms
                if network != "dense":
                    found[f"{at}.{network}_ratio"] = timing["measured_ratio"]
        for network, accuracies in measured["accuracies"].items():
            share = measured["macs"][network] / measured["macs"]["dense"]
            found[f"{start}.{network}.flop_reduction"] = 1 - share
            found |= {f"{start}.{network}.{k}": v for k, v in flat_accuracies(accuracies).items()}
        for name in ("changed_images", "opened_share", "changed_gates", "feature_change"):
            found[f"{start}.forced.{name}"] = measured["forced"][name]
        channels = measured["channels"]
        found[f"{start}.removed_channels"] = channels["removed"] / channels["all"]
    return found


def export_metrics(exports: Json) -> dict[str, float]:
    """Flat metrics ``<model>.export.<file>.difference`` and ``bytes`` of exported files."""
    return {
        f"{key}.export.{name}.{value}": float(file[value])
        for key, export in exports.items()
        for name, file in export["files"].items()
        for value in ("difference", "bytes")
    }


def flat_accuracies(accuracies: Json) -> dict[str, float]:
    """Accuracies with the mean of the linear probe's runs; nothing without labels."""
    found = {"knn_top1": accuracies["knn_top1"]} if "knn_top1" in accuracies else {}
    if "linear_top1" in accuracies:
        found["linear_top1_mean"] = statistics.fmean(accuracies["linear_top1"])
    return found


def _accuracies(
    models: Json, key: str, found: Json, network: str, baseline: str
) -> dict[str, float]:
    if network == "dense":
        branches = models[key]["branches"]
        if "dense" not in branches:
            branches = models.get(baseline, {}).get("branches", {})
        accuracies = branches.get("dense", {})
    else:
        accuracies = found["accuracies"].get(network, {})
    flat = flat_accuracies(accuracies)
    missing = float("nan")
    return {
        "linear_top1": flat.get("linear_top1_mean", missing),
        "knn_top1": flat.get("knn_top1", missing),
    }
