"""Nodes of chapter 4 that gather: run time, results, metrics, tables, pictures, the report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.losses.memory_nce import chance_loss
from ssl_kedro.pipelines.saliency360.notes import notes
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.score_nodes import truths_of_tested
from ssl_kedro.reporting import chapter4_figures, chapter4_tables
from ssl_kedro.reporting.chapter4_report import saliency_report
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.saliency.evaluation import gains, intervals
from ssl_kedro.saliency.intervals import Interval
from ssl_kedro.saliency.predict.runtime import RuntimeConfig, runtimes_on
from ssl_kedro.saliency.scores import score
from ssl_kedro.saliency.store import PanoramaStore

Json = dict[str, Any]
Arrays = dict[str, np.ndarray]
# Stages of the run time by the names that the results give them.
_STAGES = {
    "decode and resize": "decode",
    "encoder": "encoder",
    "decoder": "decoder",
    "post-processing": "post",
    "all": "total",
}
_TIMED = 8


def measure_runtime(
    parameters: Saliency360Parameters, store: PanoramaStore, model: SaliencyModel
) -> list[Json]:
    """Milliseconds of each stage of the deployed model per panorama, as in Table 4.2."""
    config = RuntimeConfig(
        batch_sizes=(1, 8),
        height=parameters.image.height,
        width=parameters.image.width,
        device=parameters.decoder_train.device,
    )
    found = runtimes_on(model, np.array(store.images()[:_TIMED]), config)
    return [
        {
            "stage": _STAGES[row.stage],
            "model": parameters.deploy,
            "batch": row.batch_size,
            "ms": row.milliseconds,
            "device": row.device,
            "threads": row.threads,
        }
        for row in found
    ]


def collect(
    parameters: Saliency360Parameters,
    data: Json,
    runtime: list[Json],
    *found: Any,
    datasets: tuple[str, ...],
    encoders: tuple[str, ...],
    models: tuple[str, ...],
) -> Json:
    """Everything the tables and the report are made of; see the schema in ``results.json``."""
    given = iter(found)
    stored = {name: next(given) for name in datasets}
    truth = {name: next(given) for name in datasets}
    baselines = {name: next(given) for name in datasets}
    pretrained = {name: next(given) for name in encoders}
    fitted = {name: next(given) for name in models}
    networks: dict[str, SaliencyModel] = {name: next(given) for name in models}
    scored = {name: {model: next(given) for model in models} for name in datasets}
    every = {name: {**baselines[name], **scored[name]} for name in datasets}
    return {
        "seed": parameters.seed,
        "recipe": "; ".join(parameters.recipe) or "fixed",
        "image": dataclasses.asdict(parameters.image),
        "intervals": {
            "level": parameters.score.confidence,
            "resamples": parameters.score.resamples,
        },
        "datasets": {
            name: _dataset(parameters, name, stored[name], truth[name], every[name])
            for name in datasets
        },
        "encoders": {
            name: _encoder(parameters, name, pretrained[name], networks) for name in encoders
        },
        "models": {name: _model(parameters, name, fitted[name], networks[name]) for name in models},
        "scores": {
            name: {
                model: _means(parameters, one["scores"], one["scenes"])
                for model, one in every[name].items()
            }
            for name in datasets
        },
        "differences": {
            name: {
                model: _gains(parameters, one, baselines[name]["equator"])
                for model, one in every[name].items()
                if model != "equator"
            }
            for name in datasets
        },
        "per_image": {
            name: {
                "names": baselines[name]["uniform"]["names"],
                "scenes": baselines[name]["uniform"]["scenes"],
                "scores": {model: one["scores"] for model, one in every[name].items()},
            }
            for name in datasets
        },
        "runtime": runtime,
        "panoramas": data,
    }


def _dataset(
    parameters: Saliency360Parameters, name: str, stored: Json, truth: Arrays, every: Json
) -> Json:
    tested = every["uniform"]
    made = truth["made_from_fixations"]
    known = len(truth["viewer"]) > 0
    from_fixations = f"fixations, Gaussian of {parameters.truth.sigma_deg:g} degrees"
    return {
        "images": len(tested["names"]),
        "scenes": len(set(tested["scenes"])),
        "folds": parameters.folds if name == parameters.dataset else 0,
        "viewers": len(np.unique(truth["viewer"])) if known else None,
        "fixations": len(truth["viewer"]) if known else None,
        "truth": from_fixations if made.all() else "maps" if not made.any() else "both",
        "role": "main" if name == parameters.dataset else "out_of_distribution",
        "skipped": stored["skipped"],
    }


def _encoder(
    parameters: Saliency360Parameters, name: str, trained: Json, networks: dict[str, SaliencyModel]
) -> Json:
    plan, config = parameters.encoders[name], parameters.encoder_config(name)
    contrast = parameters.contrast_of(name)
    model = next(m for n, m in networks.items() if parameters.models[n].encoder == name)
    return {
        "kind": plan.kind,
        "architecture": config.architecture,
        "width": config.width,
        "local_weight": contrast.local_weight,
        "attention": contrast.attention,
        "projections": parameters.views_of(name).projections,
        "images": trained.get("images", 0),
        "temperature": trained.get("temperature"),
        "chance_loss": chance_loss(contrast.negatives),
        "epochs": trained["epochs"],
        "seconds": trained["seconds"],
        "precision": trained.get("precision"),
        "macs": model.macs(*parameters.image.size)["encoder"],
        "parameters": sum(p.numel() for p in model.encoder.parameters()),
        "history": trained["history"],
    }


def _model(
    parameters: Saliency360Parameters, name: str, fitted: Json, model: SaliencyModel
) -> Json:
    macs = model.macs(*parameters.image.size)
    return {
        "encoder": parameters.models[name].encoder,
        "decoder": parameters.decoder_config(name).kind,
        "fine_tune": parameters.models[name].fine_tune,
        "recipe": [*parameters.recipe_of(name)],
        "decoder_macs": macs["decoder"],
        "encoder_macs": macs["encoder"],
        "decoder_parameters": sum(p.numel() for p in model.decoder.parameters()),
        "epochs": fitted["epochs"],
        "seconds": fitted["seconds"],
        "history": fitted["history"],
    }


def _means(parameters: Saliency360Parameters, scores: Json, scenes: list[str]) -> Json:
    found = intervals(
        scores,
        scenes,
        parameters.seed,
        confidence=parameters.score.confidence,
        resamples=parameters.score.resamples,
    )
    return {mode: {m: _interval(i) for m, i in of.items()} for mode, of in found.items()}


def _gains(parameters: Saliency360Parameters, scored: Json, baseline: Json) -> Json:
    found = gains(
        scored["scores"],
        baseline["scores"],
        scored["scenes"],
        parameters.seed,
        confidence=parameters.score.confidence,
        resamples=parameters.score.resamples,
    )
    return {mode: {m: _interval(i) for m, i in of.items()} for mode, of in found.items()}


def _interval(found: Interval) -> Json:
    """As JSON values; a number that is not known is None."""

    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    return {
        "mean": known(found.mean),
        "low": known(found.low),
        "high": known(found.high),
        "images": found.count,
    }


def metrics(results: Json) -> Json:
    """The numbers of the run under flat keys, ``<dataset>.<model>.<mode>.<metric>``."""
    return {
        f"{dataset}.{model}.{mode}.{metric}": found["mean"]
        for dataset, models in results["scores"].items()
        for model, modes in models.items()
        for mode, of_mode in modes.items()
        for metric, found in of_mode.items()
        if found["mean"] is not None
    }


def tables(
    results: Json,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables 4.1 to 4.4 with the published figures beside the measured ones."""
    return (
        chapter4_tables.table_4_1(results),
        chapter4_tables.table_4_2(results),
        chapter4_tables.table_4_3(results),
        chapter4_tables.table_4_4(results),
    )


def describe_run(parameters: Saliency360Parameters, data: Json, results: Json) -> Json:
    """Versions, commit, data, seed, device and cost of the run."""
    trained = [*results["encoders"].values(), *results["models"].values()]
    return run_manifest(
        seed=parameters.seed,
        data={
            "images": {name: found["panoramas"] for name, found in data.items()},
            "fingerprints": {name: found["fingerprint"] for name, found in data.items()},
            "skipped": [
                [f"{name}/{file}", reason]
                for name, found in results["datasets"].items()
                for file, reason in found["skipped"]
            ],
        },
        execution={"device": parameters.train.device, "precision": _precision(parameters, results)},
        parameters=parameters.model_dump(mode="json"),
        training_seconds=sum(found["seconds"] for found in trained),
    )


def _precision(parameters: Saliency360Parameters, results: Json) -> str:
    """What encoders were trained in; "auto" chooses by a trial, which a rerun need not repeat."""
    used = {found["precision"] for found in results["encoders"].values() if found.get("precision")}
    return ", ".join(sorted(used)) or parameters.train.precision


def figures(results: Json) -> tuple[Figure, Figure]:
    """Scores of all models and baselines, and how the trainings went."""
    return chapter4_figures.scores(results), chapter4_figures.training_curves(results)


def overlays(
    parameters: Saliency360Parameters,
    stored: Json,
    store: PanoramaStore,
    truth: Arrays,
    priors: Arrays,
    *predictions: Arrays,
    models: tuple[str, ...],
) -> Figure:
    """Tested panoramas from the best to the worst predicted, each model beside the truth."""
    rows, panoramas, _ = truths_of_tested(parameters, stored, truth, priors, own=True)
    columns = {
        name: {int(row): found["maps"][at] for at, row in enumerate(found["rows"])}
        for name, found in zip(models, predictions, strict=True)
    }
    columns["equator"] = {row: tested.prior for row, tested in zip(rows, panoramas, strict=True)}
    correlations = {
        row: {
            name: score(maps[row], tested.truth, None, "sphere")["cc"]
            for name, maps in columns.items()
        }
        for row, tested in zip(rows, panoramas, strict=True)
    }
    order = sorted(rows, key=lambda row: -correlations[row][parameters.deploy])
    count = min(parameters.gallery.panoramas, len(order))
    chosen = [order[at] for at in np.linspace(0, len(order) - 1, count).round().astype(int)]
    images = store.images()
    return chapter4_figures.overlay_sheet(
        [
            (
                stored["names"][row],
                np.array(images[row]),
                truth["maps"][row],
                {name: maps[row] for name, maps in columns.items()},
                correlations[row],
            )
            for row in chosen
        ],
        tuple(columns),
    )


def render_report(
    parameters: Saliency360Parameters,
    results: Json,
    manifest: Json,
    table_4_1: pd.DataFrame,
    table_4_2: pd.DataFrame,
    table_4_3: pd.DataFrame,
    table_4_4: pd.DataFrame,
    *shown: Any,
    models: tuple[str, ...],
) -> str:
    """The self-contained HTML report, with overlays of the run's own data."""
    return saliency_report(
        results,
        manifest,
        {"4.1": table_4_1, "4.2": table_4_2, "4.3": table_4_3, "4.4": table_4_4},
        overlays(parameters, *shown, models=models),
        notes(parameters, results),
    )
