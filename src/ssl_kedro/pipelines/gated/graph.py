"""The graph of a pipeline that trains gated encoders: all that chapters 5 and 6 have alike."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.inference.precision import PRECISIONS
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated import (
    deployment_export,
    derivation,
    frontier_nodes,
    inference_export,
    inference_nodes,
    nodes,
    preparation,
)
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.report.frontier_figure import frontier_figure
from ssl_kedro.pipelines.gated.report.page import describe_run
from ssl_kedro.pipelines.gated.report.peers import peers_table
from ssl_kedro.pipelines.gated.report.speed_numbers import inference_frame
from ssl_kedro.pipelines.gated.report.speed_section import time_against_cost
from ssl_kedro.pipelines.gated.report.trainings import channel_usage_figure, training_curves

# Tags of the stages that time encoders and write them to files.
MEASURE, EXPORT = "inference", "export"
# Tag that adds what a user would take instead of a gated encoder.
FRONTIER = "frontier"
# What follows from times.
_AFTER_TIMING = (
    *("inference_models", "inference_table", "inference_plot"),
    *("frontier_table", "frontier_plot", "deployment", "peers", "metrics", "report"),
)
# What is made of exported files alone.
OF_EXPORT = ("exports", "deployed_files")
# Function, inputs by argument and output of a node over all models.
Made = tuple[Callable[..., Any], dict[str, str], str]


@dataclass(frozen=True, kw_only=True)
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
        made_from: namespace of the model that its encoder is cut from; "" = it is trained itself.
        repeat: 0 for the first seed; others only stand in means over seeds.
        timed: whether its networks are timed, and exported where that is asked for.
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
    made_from: str = ""
    repeat: int = 0
    timed: bool = False

    @property
    def own_data(self) -> bool:
        """Whether it is trained on the run's own images, and evaluated on them."""
        return self.data == self.pipeline

    def node(
        self,
        action: str,
        function: Callable[..., Any],
        inputs: Mapping[str, str],
        outputs: str | list[str],
        tags: Iterable[str],
    ) -> Node:
        """A node of this model, inside its namespace, that takes the run's parameters as well."""
        return node(
            function,
            named(self.pipeline, "parameters") | dict(inputs),
            outputs,
            name=f"{action}_{self.label}",
            namespace=self.namespace,
            tags=list(tags),
        )


def named(space: str, *names: str) -> dict[str, str]:
    """Catalog names of a pipeline's or a model's data, by the arguments that they are given to."""
    return {
        name: f"params:{space}" if name == "parameters" else f"{space}.{name}" for name in names
    }


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
    timed = any(model.timed for model in models)
    if exported:
        check_export_installed()
        if not timed:
            raise ConfigError(
                f"{pipeline}.inference.models", [], 'the models to export, or "all"; none is named'
            )
    data = {"data": f"{pipeline}.data_summary"}
    run, images = named(pipeline, "parameters"), named(pipeline, "train_images", "eval_images")
    made: list[tuple[Made, Sequence[str]]] = [
        ((preparation.select_execution, run | data, "execution"), tags),
        ((preparation.measure_baselines, run | data | images, "baselines"), tags),
    ]
    if timed:
        inputs = named(pipeline, "parameters", "eval_images")
        race = (inference_nodes.race_dense_engines, inputs, "dense_engines")
        made.append((race, [*tags, MEASURE]))
    return [
        *(
            node(
                preparation.summarise_data,
                {"pretrain_images": seen} | named(space, "train_images", "eval_images"),
                f"{space}.data_summary",
                name=f"summarise_{'data' if space == pipeline else space.rpartition('.')[2]}",
                tags=list(tags),
            )
            for space, seen in sorted({model.data: model.images for model in models}.items())
        ),
        *(
            node(function, inputs, f"{pipeline}.{output}", name=function.__name__, tags=of_node)
            for (function, inputs, output), of_node in made
        ),
        *(made for model in models for made in _model_nodes(model, exported=exported)),
    ]


def _model_nodes(model: PlannedModel, *, exported: bool) -> Iterator[Node]:
    """Training of one model; features and evaluation on the pipeline's own images; speed, files."""
    pipeline, space, tags = model.pipeline, model.namespace, model.tags
    yield _cutting(model) if model.made_from else _training(model)
    if not model.own_data:
        return
    images = named(pipeline, "train_images", "eval_images")
    seen = images | named(space, "encoder", "features")
    yield model.node(
        "extract", nodes.extract, images | named(space, "encoder"), f"{space}.features", tags
    )
    yield model.node(
        "evaluate",
        given(nodes.evaluate, trained=model.training),
        seen | named(model.made_from or space, "training") | {"data": f"{model.data}.data_summary"},
        f"{space}.evaluation",
        tags,
    )
    if model.timed:
        yield model.node(
            "measure_inference",
            given(
                inference_nodes.measure_inference,
                trained=model.training,
                precisions=PRECISIONS if FRONTIER in tags else None,
            ),
            seen | named(pipeline, "dense_engines"),
            [f"{space}.inference", f"{space}.answers"],
            [*tags, MEASURE],
        )
    if model.timed and exported and not model.repeat:
        # Under the tag "export" alone: nothing is trained for it.
        folder = {"folder": f"{space}.export_folder"}
        yield model.node(
            "export",
            inference_export.export,
            seen | named(space, "inference") | folder,
            f"{space}.export_check",
            [EXPORT],
        )


def _training(model: PlannedModel) -> Node:
    space = model.namespace
    return model.node(
        "distil" if model.student else "pretrain",
        given(nodes.pretrain, training=model.training),
        {
            "data": f"{model.data}.data_summary",
            "execution": f"{model.pipeline}.execution",
            "images": model.images,
            "checkpoints": f"{space}.checkpoint",
            "log": f"{space}.epoch_log",
            **model.student,
        },
        [f"{space}.encoder", f"{space}.training"],
        [*model.tags, "pretrain"],
    )


def _cutting(model: PlannedModel) -> Node:
    return model.node(
        "derive",
        given(derivation.CUTS[model.training.derived], trained=model.training),
        named(model.made_from, "encoder") | {"images": model.images},
        f"{model.namespace}.encoder",
        model.tags,
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
    trained = [model for model in own if not model.made_from]
    timed = [model for model in models if model.timed]

    def left(output: str, by: Sequence[PlannedModel]) -> dict[str, str]:
        return {model.key: f"{model.namespace}.{output}" for model in by if not model.repeat}

    evaluations = {model.namespace: f"{model.namespace}.evaluation" for model in trained}
    run = named(pipeline, "parameters", "data_summary", "execution", "origins")
    found: list[Made] = [
        (nodes.collect_by_model, left("evaluation", own), "models"),
        (nodes.collect_histories, left("training", trained), "histories"),
        (describe_run, run | evaluations, "run_manifest"),
        (training_curves, named(pipeline, "histories"), "training_curves"),
    ]
    if any(model.training.budget and not model.student for model in trained):
        found.append((channel_usage_figure, named(pipeline, "models"), "channel_usage"))
    if timed:
        found += _of_timed(pipeline, timed, baseline)
    if exported:
        deployed = named(pipeline, "deployment", "exports")
        deployed |= {"folder": f"{pipeline}.deployment_folder"}
        found += [
            (nodes.collect_by_model, left("export_check", timed), "exports"),
            (deployment_export.export_deployment, deployed, "deployed_files"),
        ]
    if compared := [model for model in own if FRONTIER in model.tags]:
        inputs = named(pipeline, "parameters") | _of_every_seed(compared)
        found.append((peers_table, inputs, "peers"))
    return found


def _of_every_seed(models: Sequence[PlannedModel]) -> dict[str, str]:
    """Catalog names of evaluations and of what was measured of static networks, by seed."""
    found = {}
    for model in models:
        gated = model.timed and model.training.budget is not None
        for output in ("evaluation", *["inference"] * gated):
            name = f"{model.key}.seed_{model.training.seed}.{output}"
            found[name] = f"{model.namespace}.{output}"
    return found


def _of_timed(pipeline: str, timed: Sequence[PlannedModel], baseline: str) -> list[Made]:
    """Times of the first seed, then the front of all of them."""
    frame = given(inference_frame, baseline=baseline)
    table = {"table": f"{pipeline}.inference_table"}
    measured = {model.key: f"{model.namespace}.inference" for model in timed if not model.repeat}
    left = {
        f"{model.key}.seed_{model.training.seed}.{output}": f"{model.namespace}.{output}"
        for model in timed
        for output in ("inference", "answers")
    }
    run = named(pipeline, "parameters")
    return [
        (
            given(frontier_nodes.collect_measurements, baseline=baseline),
            measured,
            "inference_models",
        ),
        (frame, named(pipeline, "models", "inference_models"), "inference_table"),
        (time_against_cost, table, "inference_plot"),
        (given(frontier_nodes.frontier, baseline=baseline), run | left, "frontier_table"),
        (frontier_nodes.deployment, named(pipeline, "parameters", "frontier_table"), "deployment"),
        (frontier_figure, named(pipeline, "frontier_table"), "frontier_plot"),
    ]


def stages(models: Sequence[PlannedModel], *, exported: bool) -> list[str]:
    """Names of what metrics and report take from timing and export."""
    timed = any(model.timed for model in models)
    return ["inference_models", "deployment"] * timed + ["exports"] * exported


def frames(models: Sequence[PlannedModel]) -> list[str]:
    """Names of tables over all models that a report takes beside its own."""
    timed = any(model.timed for model in models)
    tables = ["frontier_table", "inference_table"] * timed
    return tables + ["peers"] * any(FRONTIER in m.tags for m in models)


def left_to_export(made: Pipeline, asked: Sequence[str]) -> Pipeline:
    """Where both tags are asked for, files of what a run with "frontier" has left.

    Nothing is trained for them, as with "export" alone; that knows nothing of the peers.

    Args:
        made: of both.
        asked: tags of the run.
    """
    return made.filter(tags=[EXPORT]) if {FRONTIER, EXPORT} <= set(asked) else made


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
    if output in _AFTER_TIMING:
        following.append(MEASURE)
    if exported and output in (*OF_EXPORT, "metrics", "report"):
        following.append(EXPORT)
    return node(
        function,
        inputs,
        f"{pipeline}.{output}",
        name=f"{prefix}{output}",
        tags=[*tags, *following],
    )
