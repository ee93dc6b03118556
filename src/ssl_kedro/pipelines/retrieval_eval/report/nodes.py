"""Nodes of chapter 3 that gather scores: all results, metrics and the manifest."""

from __future__ import annotations

from typing import Any

from ssl_kedro.pipelines.given import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Data,
    Evaluation,
    Extraction,
    Results,
    Sweep,
)
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.retrieval.scoring import flat_scores


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
                flat |= flat_scores(means, f"{prefix}.whitened_on.{name}")
            for d, means in found.dimensions.items():
                flat |= flat_scores(means, f"{prefix}.dimensions.{d}")
            flat |= flat_scores(found.true_dimension or {}, f"{prefix}.true_dimension")
    return flat


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
