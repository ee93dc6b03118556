"""Pieces of graph that time and export gated encoders, for every pipeline that trains them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from kedro.pipeline import Node, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.gated import inference_nodes as nodes
from ssl_kedro.pipelines.gated.graph import Inputs, PlannedTraining
from ssl_kedro.pipelines.gated.nodes import collect_by_model
from ssl_kedro.pipelines.given import given

MEASURE, EXPORT = "inference", "export"
Made = tuple[Callable[..., Any], Inputs, str]


def measurement_nodes(
    pipeline: str, models: Sequence[PlannedTraining], common: Iterable[str]
) -> list[Node]:
    """The race of the dense network's engines, then one node a model; nothing without models.

    Args:
        pipeline: its key.
        models: whose encoders are timed.
        common: tags of what all models share.
    """
    if not models:
        return []
    images = [f"{pipeline}.train_images", f"{pipeline}.eval_images"]
    race = node(
        nodes.race_dense_engines,
        [f"params:{pipeline}", images[1]],
        f"{pipeline}.dense_engines",
        name="race_dense_engines",
        tags=[*common, MEASURE],
    )
    return [
        race,
        *(
            model.node(
                "measure_inference",
                given(nodes.measure_inference, trained=model.training),
                [
                    f"params:{pipeline}",
                    f"{pipeline}.dense_engines",
                    f"{model.namespace}.encoder",
                    f"{model.namespace}.features",
                    *images,
                ],
                f"{model.namespace}.inference",
                [MEASURE],
            )
            for model in models
        ),
    ]


def export_nodes(pipeline: str, models: Sequence[PlannedTraining]) -> list[Node]:
    """One node a model, under the tag "export" alone: nothing is trained for it.

    Raises:
        ConfigError: no model; the run would end well and leave nothing.
        ExportNotInstalledError: it says how to install what is missing.
    """
    check_export_installed()
    if not models:
        raise ConfigError(
            f"{pipeline}.inference.models", [], 'the models to export, or "all"; none is named'
        )
    return [
        replace(model, tags=()).node(
            "export",
            nodes.export,
            [
                f"params:{pipeline}",
                f"{model.namespace}.encoder",
                f"{model.namespace}.features",
                f"{pipeline}.train_images",
                f"{pipeline}.eval_images",
                f"{model.namespace}.export_folder",
            ],
            f"{model.namespace}.export_check",
            [EXPORT],
        )
        for model in models
    ]


def gathering(
    pipeline: str,
    models: Sequence[PlannedTraining],
    keys: Sequence[str],
    baseline: str,
    *,
    exported: bool,
) -> list[Made]:
    """Nodes that gather what was measured and exported: function, inputs, output.

    Args:
        pipeline: its key.
        models: those that are timed, and exported where that is asked for.
        keys: their names among the pipeline's models.
        baseline: name of the ungated model there, for gated ones without a dense branch.
        exported: whether they are exported.
    """
    if not models:
        return []
    table = f"{pipeline}.inference_table"

    def named(output: str) -> dict[str, str]:
        of_models = zip(keys, models, strict=True)
        return {key: f"{model.namespace}.{output}" for key, model in of_models}

    found: list[Made] = [
        (collect_by_model, named("inference"), "inference_models"),
        (
            given(nodes.inference_table, baseline=baseline),
            [f"{pipeline}.models", f"{pipeline}.inference_models"],
            "inference_table",
        ),
        (nodes.inference_plot, [table], "inference_plot"),
    ]
    if exported:
        found.append((collect_by_model, named("export_check"), "exports"))
    return found


def stages(models: Sequence[PlannedTraining], *, exported: bool) -> tuple[str, ...]:
    """Names of what metrics and report take from these stages."""
    if not models:
        return ()
    return ("inference_models", "exports") if exported else ("inference_models",)


def stage_tags(output: str, *, exported: bool) -> list[str]:
    """Further tags of a pipeline's own nodes that have to follow a new measurement or export."""
    tags = []
    if output in ("inference_models", "inference_table", "inference_plot", "metrics", "report"):
        tags.append(MEASURE)
    if exported and output in ("exports", "metrics", "report"):
        tags.append(EXPORT)
    return tags
