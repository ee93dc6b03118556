"""The graph of a pipeline that trains gated encoders: all that chapters 5 and 6 have alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kedro.pipeline import Node, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.gated import inference_nodes, nodes
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.report.channels import channel_usage_figure
from ssl_kedro.pipelines.gated.report.curves import training_curves
from ssl_kedro.pipelines.gated.report.page import describe_run
from ssl_kedro.pipelines.gated.report.speed_numbers import inference_frame
from ssl_kedro.pipelines.gated.report.speed_section import time_against_cost
from ssl_kedro.pipelines.given import given

# Tags of the stages that time encoders and write them to files.
MEASURE, EXPORT = "inference", "export"
# Catalog names by the arguments that they are given to.
Inputs = list[str] | dict[str, str]
# Function, inputs and output of a node over all models.
Made = tuple[Callable[..., Any], Inputs, str]


@dataclass(frozen=True)
class PlannedModel:
    """One training, and what is made of its encoder.

    Args:
        pipeline: the pipeline's key, which its images and parameters stand under.
        key: name in the metrics, "dual.budget_30"; the same for every seed.
        namespace: of the nodes and of what they leave behind.
        label: end of the nodes' names, "dual_budget_30".
        training: what is trained.
        images: catalog name of the images that it sees.
        data: namespace of their summary; another than the pipeline's for further data sets.
        tags: of the nodes.
        student: catalog names of the teacher and of the gates that a student takes over.
        repeated: whether it is trained for its seed alone, and only stands in means over seeds.
        timed: whether its gated encoder is timed, and exported where that is asked for.
    """

    pipeline: str
    key: str
    namespace: str
    label: str
    training: Training
    images: str
    data: str
    tags: tuple[str, ...]
    student: Mapping[str, str] = field(default_factory=dict)
    repeated: bool = False
    timed: bool = False

    @property
    def own_data(self) -> bool:
        """Whether it is trained on the run's own images, and evaluated on them."""
        return self.data == self.pipeline

    def inputs(self, *names: str, **further: str) -> dict[str, str]:
        """Inputs of a node: parameters, the run's own images, what this model left by name."""
        return {
            "parameters": f"params:{self.pipeline}",
            **{name: f"{self.namespace}.{name}" for name in names},
            **{name: f"{self.pipeline}.{name}" for name in ("train_images", "eval_images")},
            **further,
        }

    def node(
        self,
        action: str,
        function: Callable[..., Any],
        inputs: Inputs,
        outputs: str | list[str],
        tags: Iterable[str],
    ) -> Node:
        """A node of this model, inside its namespace."""
        name = f"{action}_{self.label}"
        return node(function, inputs, outputs, name=name, namespace=self.namespace, tags=list(tags))


def encoder_nodes(
    pipeline: str, models: Sequence[PlannedModel], tags: Sequence[str], *, exported: bool
) -> list[Node]:
    """Data summaries, arithmetic, baselines; training, evaluation, speed and files of each model.

    Args:
        pipeline: its key.
        models: all trainings.
        tags: of what every model needs.
        exported: whether compact networks are written to files.

    Raises:
        ConfigError: there is nothing to export; the run would end well and leave nothing.
        ExportNotInstalledError: it says how to install what is missing.
    """
    found = _preparation_nodes(pipeline, models, tags)
    for model in models:
        found.append(_training_node(model))
        if model.own_data:
            found += _evaluation_nodes(model)
    timed = [model for model in models if model.timed]
    if timed:
        found.append(
            node(
                inference_nodes.race_dense_engines,
                [f"params:{pipeline}", f"{pipeline}.eval_images"],
                f"{pipeline}.dense_engines",
                name="race_dense_engines",
                tags=[*tags, MEASURE],
            )
        )
    found += [_measurement_node(model) for model in timed]
    if exported:
        check_export_installed()
        if not timed:
            raise ConfigError(
                f"{pipeline}.inference.models", [], 'the models to export, or "all"; none is named'
            )
        found += [_export_node(model) for model in timed]
    return found


def _preparation_nodes(
    pipeline: str, models: Sequence[PlannedModel], tags: Sequence[str]
) -> list[Node]:
    own = [f"{pipeline}.train_images", f"{pipeline}.eval_images"]
    parameters, data = f"params:{pipeline}", f"{pipeline}.data_summary"
    made: list[Made] = [
        (nodes.select_execution, [parameters, data], "execution"),
        (nodes.measure_baselines, [parameters, data, *own], "baselines"),
    ]
    summaries = [
        node(
            nodes.summarise_data,
            [images, f"{space}.train_images", f"{space}.eval_images"],
            f"{space}.data_summary",
            name=f"summarise_{'data' if space == pipeline else space.rpartition('.')[2]}",
            tags=list(tags),
        )
        for space, images in sorted({model.data: model.images for model in models}.items())
    ]
    return summaries + [
        node(function, inputs, f"{pipeline}.{output}", name=function.__name__, tags=list(tags))
        for function, inputs, output in made
    ]


def _training_node(model: PlannedModel) -> Node:
    """Training of one model; leaves its encoder and how the training went."""
    space = model.namespace
    inputs = {
        "parameters": f"params:{model.pipeline}",
        "data": f"{model.data}.data_summary",
        "execution": f"{model.pipeline}.execution",
        "images": model.images,
        "checkpoints": f"{space}.checkpoint",
        "log": f"{space}.epoch_log",
        **model.student,
    }
    return model.node(
        "distil" if model.student else "pretrain",
        given(nodes.pretrain, training=model.training),
        inputs,
        [f"{space}.encoder", f"{space}.training"],
        [*model.tags, "pretrain"],
    )


def _evaluation_nodes(model: PlannedModel) -> list[Node]:
    """Features and evaluation of one model on the pipeline's own images."""
    space = model.namespace
    evaluate = given(nodes.evaluate, trained=model.training)
    inputs = model.inputs("encoder", "features", "training", data=f"{model.pipeline}.data_summary")
    return [
        model.node(
            "extract", nodes.extract, model.inputs("encoder"), f"{space}.features", model.tags
        ),
        model.node("evaluate", evaluate, inputs, f"{space}.evaluation", model.tags),
    ]


def _measurement_node(model: PlannedModel) -> Node:
    engines = f"{model.pipeline}.dense_engines"
    return model.node(
        "measure_inference",
        given(inference_nodes.measure_inference, trained=model.training),
        model.inputs("encoder", "features", dense_engines=engines),
        f"{model.namespace}.inference",
        [*model.tags, MEASURE],
    )


def _export_node(model: PlannedModel) -> Node:
    """Under the tag "export" alone: nothing is trained for it."""
    return model.node(
        "export",
        inference_nodes.export,
        model.inputs("encoder", "features", folder=f"{model.namespace}.export_folder"),
        f"{model.namespace}.export_check",
        [EXPORT],
    )


def gathering(
    pipeline: str, models: Sequence[PlannedModel], baseline: str, *, exported: bool
) -> list[Made]:
    """Nodes that gather by name what models left on the run's own images: of the first seed.

    Args:
        pipeline: its key.
        models: all trainings.
        baseline: key of the ungated model, for gated ones without a dense branch.
        exported: whether compact networks are written to files.
    """
    own = [model for model in models if model.own_data]
    shown = [model for model in own if not model.repeated]
    timed = [model for model in models if model.timed]

    def left(output: str, by: Sequence[PlannedModel]) -> dict[str, str]:
        return {model.key: f"{model.namespace}.{output}" for model in by}

    of_run = {
        "parameters": f"params:{pipeline}",
        "data": f"{pipeline}.data_summary",
        "execution": f"{pipeline}.execution",
        **{model.namespace: f"{model.namespace}.evaluation" for model in own},
    }
    found: list[Made] = [
        (nodes.collect_by_model, left("evaluation", shown), "models"),
        (nodes.collect_histories, left("training", shown), "histories"),
        (describe_run, of_run, "run_manifest"),
        (training_curves, [f"{pipeline}.histories"], "training_curves"),
    ]
    if any(model.training.budget and not model.student for model in own):
        found.append((channel_usage_figure, [f"{pipeline}.models"], "channel_usage"))
    if timed:
        measured = [f"{pipeline}.models", f"{pipeline}.inference_models"]
        table = given(inference_frame, baseline=baseline)
        found += [
            (nodes.collect_by_model, left("inference", timed), "inference_models"),
            (table, measured, "inference_table"),
            (time_against_cost, [f"{pipeline}.inference_table"], "inference_plot"),
        ]
    if exported:
        found.append((nodes.collect_by_model, left("export_check", timed), "exports"))
    return found


def stages(models: Sequence[PlannedModel], *, exported: bool) -> list[str]:
    """Names of what metrics and report take from timing and export."""
    timed = any(model.timed for model in models)
    return ["inference_models"] * timed + ["exports"] * exported


def report_node(
    pipeline: str, made: Made, tags: Iterable[str], *, exported: bool, prefix: str = ""
) -> Node:
    """A node over all models, with the tags of the stages that it has to follow.

    Args:
        pipeline: its key.
        made: what the node does.
        tags: further ones.
        exported: whether compact networks are written to files.
        prefix: of the node's name, which ends in that of its output.
    """
    function, inputs, output = made
    following = ["report"]
    if output in ("inference_models", "inference_table", "inference_plot", "metrics", "report"):
        following.append(MEASURE)
    if exported and output in ("exports", "metrics", "report"):
        following.append(EXPORT)
    return node(
        function,
        inputs,
        f"{pipeline}.{output}",
        name=f"{prefix}{output}",
        tags=[*tags, *following],
    )
