"""Nodes that put all networks of a run beside each other, and choose what to deploy."""

import dataclasses
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.gated.frontier.points import (
    chosen_of,
    frontier_frame,
    measure_of,
    offered_comparisons,
    trained_models,
)
from ssl_kedro.pipelines.gated.frontier.sentence import deployment_sentence
from ssl_kedro.pipelines.gated.inference.records import Deployment, Measurement, Measurements
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters


def collect_measurements(*, baseline: str, **found: Measurement) -> Measurements:
    """Measurements by model, with the fastest dense network that holds as what others must beat.

    Args:
        baseline: key of the ungated model.
        found: measurements by key.
    """
    known = found.get(baseline)
    return {
        key: dataclasses.replace(measured, batches=offered_comparisons(measured, known))
        for key, measured in found.items()
    }


def frontier(parameters: EncoderPipelineParameters, *, baseline: str, **left: Any) -> pd.DataFrame:
    """Every network, precision and engine as a row.

    See :func:`~ssl_kedro.pipelines.gated.frontier.points.frontier_frame`.

    Args:
        parameters: of the run.
        baseline: key of the ungated model.
        left: what trainings left, "<key>.seed_<n>.inference" and "<key>.seed_<n>.answers".
    """
    models = trained_models(left)
    return frontier_frame(models, baseline=baseline, within=parameters.frontier.within)


def deployment(parameters: EncoderPipelineParameters, frontier_table: pd.DataFrame) -> Deployment:
    """What to deploy, of the rows of the front."""
    within = parameters.frontier.within
    chosen = chosen_of(frontier_table, within)
    rows = frontier_table[frontier_table["deployed"].astype(bool)].sort_values("batch")
    if chosen is None or rows.empty:
        return Deployment(why="nothing: no network has an accuracy to choose it by")
    measure = measure_of(frontier_table)
    times = {str(row["batch"]): row for row in rows.to_dict("records")}
    # Engines may round in different ways: what is said of it is what the worst of them gives.
    first = rows.sort_values(measure).iloc[0]
    made = Deployment(
        why="",
        model=str(first["model"]),
        network=str(first["network"]),
        precision=str(first["precision"]),
        engines={batch: str(row["engine"]) for batch, row in times.items()},
        ms_per_image={batch: float(row["ms_per_image"]) for batch, row in times.items()},
        ratio={batch: float(row["ratio"]) for batch, row in times.items()},
        f32_ratio={batch: float(row["f32_ratio"]) for batch, row in times.items()},
        measure=measure,
        accuracy=float(first[measure]) / 100,
        seeds=int(first["seeds"]),
        best=chosen[1].name.replace("|", ", "),
        best_accuracy=chosen[1].accuracy / 100,
        within=within,
    )
    sentence = deployment_sentence(made, frontier_table, parameters.inference.max_loss)
    return dataclasses.replace(made, why=sentence)
