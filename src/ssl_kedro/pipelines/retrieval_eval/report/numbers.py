"""All of a run in numbers, and what made them: results, metrics and manifest."""

from collections.abc import Mapping
from typing import Any

from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Data,
    Evaluation,
    Extraction,
    Results,
    Sweep,
    entries,
)
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.reporting.run_sections import passed_over_by
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
    for task, encoder, evaluation in entries(results.evaluations):
        flat |= flat_scores(data[task].chance, f"{task}.chance")
        for ranking, scores in evaluation.rankings.items():
            flat |= flat_scores(scores, f"{task}.{encoder}.{ranking}")
    for task, encoder, sweep in entries(results.sweeps):
        prefix = f"{task}.{encoder}"
        for name, means in sweep.whitened_on.items():
            flat |= flat_scores(means, f"{prefix}.whitened_on.{name}")
        for d, means in sweep.dimensions.items():
            flat |= flat_scores(means, f"{prefix}.dimensions.{d}")
        flat |= flat_scores(sweep.true_dimension or {}, f"{prefix}.true_dimension")
    return flat


def describe_run(
    parameters: RetrievalEvalParameters, data: Data, results: Results, origins: Mapping[str, str]
) -> dict[str, Any]:
    """Versions, commit, data, seed, device and cost of the run."""
    extractions = entries(results.extractions)
    parts = [(task, part) for task, _, found in extractions for part in found.parts]
    skipped = {(f"{task}/{name}", why) for task, part in parts for name, why in part.skipped}
    config = parameters.extract
    return run_manifest(
        seed=parameters.seed,
        data={
            "images": {task: found.images for task, found in data.items()},
            "fingerprints": {task: found.fingerprint or "none" for task, found in data.items()},
            "skipped": sorted(skipped),
            "passed_over": passed_over_by(found.passed_over for found in data.values()),
        },
        execution={"device": config.device, "precision": config.precision},
        parameters=parameters.as_written,
        training_seconds=sum(part.seconds for _, part in parts),
        origins=origins,
    )
