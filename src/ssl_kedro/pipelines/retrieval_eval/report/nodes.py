"""Nodes of chapter 3 that gather scores: metrics, Tables 3.1 to 3.4, galleries, the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.pipelines.given import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Data,
    Evaluation,
    Extraction,
    Results,
    Sweep,
)
from ssl_kedro.pipelines.retrieval_eval.report import figures, page
from ssl_kedro.pipelines.retrieval_eval.report import tables as declared
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.retrieval.scoring import flat_scores
from ssl_kedro.retrieval.sets import RetrievalSet

Arrays = dict[str, np.ndarray]


def collect(**found: Evaluation | Extraction | Sweep) -> Results:
    """All of a run; names such as "evaluations.facades.pixels" say what each is."""
    return Results(**nested(found))


def metrics(data: Data, results: Results) -> dict[str, float]:
    """The numbers of the run under flat keys, fractions.

    ``<task>.<encoder>.<ranking>.map`` for classic ground truth,
    ``<task>.<encoder>.<ranking>.{easy,medium,hard}.{map,mp5,mp10}`` for revisited; beside them
    ``<task>.chance``, and per encoder ``whitened_on.<set>``, ``dimensions.<d>`` and
    ``true_dimension``.
    """
    flat: dict[str, float] = {}
    for task, encoders in results.evaluations.items():
        flat |= flat_scores(data[task].chance, f"{task}.chance")
        for encoder, evaluation in encoders.items():
            for ranking, scores in evaluation.rankings.items():
                flat |= flat_scores(scores, f"{task}.{encoder}.{ranking}")
    for task, swept in results.sweeps.items():
        for encoder, found in swept.items():
            prefix = f"{task}.{encoder}"
            for name, means in found.whitened_on.items():
                flat |= flat_scores(means, f"{prefix}.whitened_on.{name}", ())
            for d, means in found.dimensions.items():
                flat |= flat_scores(means, f"{prefix}.dimensions.{d}", ())
            flat |= flat_scores(found.true_dimension or {}, f"{prefix}.true_dimension", ())
    return flat


def tables(parameters: RetrievalEvalParameters, results: Results) -> dict[str, pd.DataFrame]:
    """Tables 3.1 to 3.4 with the published figures beside the measured ones."""
    return declared.all_tables(parameters, results)


def describe_run(
    parameters: RetrievalEvalParameters, data: Data, results: Results
) -> dict[str, Any]:
    """Versions, commit, data, seed, device and cost of the run."""
    parts = [
        (task, part)
        for task, encoders in results.extractions.items()
        for found in encoders.values()
        for part in found.parts
    ]
    return run_manifest(
        seed=parameters.seed,
        data={
            "images": {task: found.images for task, found in data.items()},
            "fingerprints": {task: found.fingerprint or "none" for task, found in data.items()},
            "skipped": sorted(
                {(f"{task}/{name}", why) for task, part in parts for name, why in part.skipped}
            ),
        },
        execution={
            "device": parameters.extract.device,
            "precision": parameters.extract.precision,
        },
        parameters=parameters.model_dump(mode="json"),
        training_seconds=sum(part.seconds for _, part in parts),
    )


def gallery(
    parameters: RetrievalEvalParameters,
    task: RetrievalSet,
    rankings: Arrays,
    evaluation: Evaluation,
) -> Figure:
    """Queries from the best to the worst found, and what global search gives for each."""
    config = parameters.gallery
    return figures.gallery(task, rankings["g"], evaluation, config.queries, config.results)


def dimensions(data: Data, results: Results) -> Figure:
    """MAP over the PCA dimension, each encoder a line."""
    return figures.dimensions(data, results)


def report(
    parameters: RetrievalEvalParameters,
    data: Data,
    results: Results,
    manifest: dict[str, Any],
    **shown: Any,
) -> str:
    """The self-contained HTML report, with a gallery of the best encoder of each task.

    Args:
        parameters: of the run.
        data: summary of every task.
        results: of the run.
        manifest: of the run.
        shown: "table_3_1" to "table_3_4", "tasks.<task>" and "rankings.<task>.<encoder>"; none
            of the last two where only descriptors are evaluated.
    """
    found = nested(shown)
    galleries = {}
    for name, task in found.pop("tasks", {}).items():
        best = results.best_encoder(name)
        rankings = found["rankings"][name][best]
        made = gallery(parameters, task, rankings, results.evaluations[name][best])
        galleries[name] = (best, made)
    found.pop("rankings", None)
    return page.retrieval_report(parameters, data, results, manifest, found, galleries)
