"""Nodes of chapter 3 that gather scores: metrics, Tables 3.1 to 3.4, galleries, the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.pipelines.retrieval_eval.parameters import (
    RetrievalEvalParameters,
    ranking_labels,
)
from ssl_kedro.reporting import chapter3_figures, chapter3_tables
from ssl_kedro.reporting.chapter3_report import retrieval_report
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.retrieval.scoring import flat_scores
from ssl_kedro.retrieval.sets import RetrievalSet

Json = dict[str, Any]
Arrays = dict[str, np.ndarray]


def collect(
    *found: Json, pairs: tuple[tuple[str, str], ...], own: tuple[tuple[str, str], ...]
) -> Json:
    """Evaluations of all pairs of task and encoder, extractions and sweeps of encoders."""
    parts = {
        "evaluations": (pairs, found[: len(pairs)]),
        "extractions": (own, found[len(pairs) : len(pairs) + len(own)]),
        "sweeps": (own, found[len(pairs) + len(own) :]),
    }
    gathered: Json = {}
    for part, (keys, values) in parts.items():
        gathered[part] = {}
        for (task, encoder), value in zip(keys, values, strict=True):
            gathered[part].setdefault(task, {})[encoder] = value
    return gathered


def metrics(data: Json, results: Json) -> Json:
    """The numbers of the run under flat keys, fractions.

    ``<task>.<encoder>.<ranking>.map`` for classic ground truth,
    ``<task>.<encoder>.<ranking>.{easy,medium,hard}.{map,mp5,mp10}`` for revisited; beside them
    ``<task>.chance``, and per encoder ``whitened_on.<set>``, ``dimensions.<d>`` and
    ``true_dimension``.
    """
    flat: Json = {}
    for task, encoders in results["evaluations"].items():
        flat |= flat_scores(data[task]["chance"], f"{task}.chance")
        for encoder, evaluation in encoders.items():
            for ranking, scores in evaluation["rankings"].items():
                flat |= flat_scores(scores, f"{task}.{encoder}.{ranking}")
    for task, encoders in results["sweeps"].items():
        for encoder, swept in encoders.items():
            prefix = f"{task}.{encoder}"
            for part in ("whitened_on", "dimensions"):
                for name, scores in swept[part].items():
                    flat |= flat_scores(scores, f"{prefix}.{part}.{name}", ())
            if "true_dimension" in swept:
                flat |= flat_scores(swept["true_dimension"], f"{prefix}.true_dimension", ())
    return flat


def tables(
    parameters: RetrievalEvalParameters, results: Json
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables 3.1 to 3.4 with the published figures beside the measured ones."""
    rows = _published_rows(parameters)
    return (
        chapter3_tables.table_3_1(results, _encoder_settings(parameters)),
        chapter3_tables.table_3_2(results, rows),
        chapter3_tables.table_3_3(results, rows),
        chapter3_tables.table_3_4(results, rows),
    )


def _published_rows(parameters: RetrievalEvalParameters) -> dict[str, str]:
    """Name in the thesis' tables of each encoder and ensemble."""
    rows = {name: config.row for name, config in parameters.encoders.items()}
    for name, members in parameters.ensembles.items():
        parts = [rows[member] for member in members]
        rows[name] = " + ".join(parts) if all(parts) else ""
    return rows


def _encoder_settings(parameters: RetrievalEvalParameters) -> Json:
    return {
        name: {
            "kind": config.kind,
            "branch": config.branch if config.kind == "bundle" else "",
            "image_size": parameters.resize(name).side,
            "adapt_batch_norm": config.adapt_batch_norm,
            "row": config.row,
        }
        for name, config in parameters.encoders.items()
    }


def describe_run(parameters: RetrievalEvalParameters, data: Json, results: Json) -> Json:
    """Versions, commit, data, seed, device and cost of the run."""
    extractions = [
        (task, encoder, found)
        for task, encoders in results["extractions"].items()
        for encoder, found in encoders.items()
    ]
    parts = ("database", "queries")
    summary = {
        "images": {task: found["images"] for task, found in data.items()},
        "fingerprints": {task: found.get("fingerprint", "none") for task, found in data.items()},
        "skipped": sorted(
            {
                (f"{task}/{name}", reason)
                for task, _, found in extractions
                for part in parts
                for name, reason in found.get(part, {}).get("skipped", [])
            }
        ),
    }
    seconds = sum(
        found.get(part, {}).get("seconds", 0.0) for _, _, found in extractions for part in parts
    )
    return run_manifest(
        seed=parameters.seed,
        data=summary,
        execution={
            "device": parameters.extract.device,
            "precision": parameters.extract.precision,
        },
        parameters=parameters.model_dump(mode="json"),
        training_seconds=seconds,
    )


def gallery(
    parameters: RetrievalEvalParameters, task: RetrievalSet, rankings: Arrays, evaluation: Json
) -> Figure:
    """Queries from the best to the worst found, and what global search gives for each."""
    config = parameters.gallery
    return chapter3_figures.gallery(
        task, rankings["g"], evaluation["rankings"]["g"], config.queries, config.results
    )


def sweep_figure(data: Json, results: Json) -> Figure:
    """MAP over the PCA dimension, each encoder a line."""
    return chapter3_figures.dimensions(data, results)


def render_report(
    parameters: RetrievalEvalParameters,
    data: Json,
    results: Json,
    manifest: Json,
    table_3_1: pd.DataFrame,
    table_3_2: pd.DataFrame,
    table_3_3: pd.DataFrame,
    table_3_4: pd.DataFrame,
    *found: Any,
    pairs: tuple[tuple[str, str], ...],
) -> str:
    """The self-contained HTML report, with a gallery of the best encoder of each task."""
    galleries = {}
    tasks = {task.name: task for task in found[: len(found) - len(pairs)]}
    rankings = dict(zip(pairs, found[len(tasks) :], strict=True))
    for name, task in tasks.items():
        best = chapter3_tables.best_encoder(results["evaluations"][name])
        evaluation = results["evaluations"][name][best]
        galleries[name] = (best, gallery(parameters, task, rankings[name, best], evaluation))
    return retrieval_report(
        data,
        results,
        manifest,
        {"3.1": table_3_1, "3.2": table_3_2, "3.3": table_3_3, "3.4": table_3_4},
        galleries,
        {
            "rankings": ranking_labels(parameters.reranking),
            "absent": {n: parameters.encoders[n].file for n in parameters.absent_encoders}
            if not parameters.own_descriptors
            else {},
            "pooling": parameters.pooling.kind,
            "index": parameters.search.index,
            "size": parameters.image.size,
        },
    )
