"""The graph of a pipeline that trains gated encoders: what chapters 5 and 6 make of each model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kedro.pipeline import Node, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.precision import PRECISIONS
from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated import (
    derivation,
    nodes,
    preparation,
)
from ssl_kedro.pipelines.gated.inference.export import export
from ssl_kedro.pipelines.gated.inference.nodes import measure_inference, race_dense_engines
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.report.data_section import data_pictures
from ssl_kedro.pipelines.gated.transfer_parameters import TRANSFER
from ssl_kedro.pipelines.parameters import budget_name

# Tags of the stages that time encoders and write them to files.
MEASURE, EXPORT = "inference", "export"
# Tag that adds what a user would take instead of a gated encoder, and that of the one encoder which
# `recipe: best` trains for every budget. Networks of both stand in the table of peers.
FRONTIER, BEST = "frontier", "best"
COMPARED = (FRONTIER, BEST)
# Tag that fine-tunes trained encoders with some of the labels.
FEW_LABELS = "few_labels"
# Nobody asks for times with these alone.
_UNTIMED = {FEW_LABELS, TRANSFER}
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

    @property
    def name(self) -> str:
        """Of its variant, as in tables."""
        return self.key.split(".", maxsplit=1)[0]

    @property
    def source(self) -> str | None:
        """The further data set that it is pre-trained on; None = the run's own data."""
        return None if self.own_data else self.data.rpartition(".")[2]

    @property
    def own_tags(self) -> list[str]:
        """Tags of its method and budgets, without those of what needs it."""
        method = self.training.method
        return [tag for tag in self.tags if tag == method or tag.startswith("budget_")]

    @property
    def compared(self) -> bool:
        """Whether its networks stand in the table of peers."""
        return not set(COMPARED).isdisjoint(self.tags)

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


def times_nothing(parts: Iterable[str]) -> bool:
    """Whether a run of these parts, or a model that they alone need, is not to be timed."""
    return bool(found := {*parts}) and found <= _UNTIMED


def budget_tags(models: Sequence[PlannedModel]) -> list[str]:
    """Tags of all budgets that there are models for."""
    budgets = (model.training.budget for model in models)
    return [*dict.fromkeys(budget_name(budget) for budget in budgets if budget is not None)]


def encoder_nodes(
    pipeline: str,
    models: Sequence[PlannedModel],
    tags: Sequence[str],
    initial: Callable[[str, str], str],
    *,
    exported: bool,
    heads: bool,
) -> list[Node]:
    """Data summaries, arithmetic, baselines; training, evaluation, speed and files of each model.

    Args:
        pipeline: its key.
        models: all trainings.
        tags: of what every model needs.
        initial: catalog name of the encoder that those of a pipeline's method begin with, or "".
            Where the run trains it, each begins with that of its own seed and data.
        exported: whether compact networks are written to files.
        heads: whether encoders are kept with a linear layer and class names as well.

    Raises:
        ConfigError: there is nothing to export; the run would end well and leave nothing.
        NotInstalledError: it says how to install what is missing.
    """
    timed = any(model.timed for model in models)
    if exported:
        check_export_installed()
        parts = [tag for tag in tags if not tag.startswith("budget_")]
        if times_nothing(parts):
            what = "a tag of what is timed as well, such as frontier: these time nothing"
            raise ConfigError("--tags", ",".join([*parts, EXPORT]), what)
        if not timed:
            raise ConfigError(
                f"{pipeline}.inference.models", [], 'the models to export, or "all"; none is named'
            )
    made = {f"{model.namespace}.encoder": model for model in models}
    starts = {m.namespace: _start(m, initial(pipeline, m.training.method), made) for m in models}
    _check_starts(pipeline, starts, made)
    # What the run trains itself waits for the choice of how to compute.
    ready = sorted({start for start in starts.values() if start and start not in made})
    given_starts = {f"start_{number}": start for number, start in enumerate(ready)}
    data = {"data": f"{pipeline}.data_summary"}
    run, images = named(pipeline, "parameters"), named(pipeline, "train_images", "eval_images")
    trained_on = next(model.images for model in models if model.own_data)
    # Whatever part of a run is made anew, its report finds them.
    pictured = [*tags, "report", *[MEASURE] * timed, *[EXPORT] * exported]
    shared: list[tuple[Made, Sequence[str]]] = [
        ((preparation.select_execution, run | data | given_starts, "execution"), tags),
        ((preparation.measure_baselines, run | data | images, "baselines"), tags),
        ((data_pictures, run | {"images": trained_on}, "data_pictures"), pictured),
    ]
    if heads:
        shared.append(((nodes.class_names, data, "class_names"), tags))
    if timed:
        inputs = named(pipeline, "parameters", "eval_images")
        race = (race_dense_engines, inputs, "dense_engines")
        shared.append((race, [*tags, MEASURE]))
    return [
        *(
            node(
                preparation.summarise_data,
                {"pretrain_images": seen} | named(space, "train_images", "eval_images"),
                f"{space}.data_summary",
                name=f"summarise_{'data' if space == pipeline else space.rpartition('.')[2]}",
                # Kedro-Viz folds away what stands in one namespace.
                namespace=pipeline,
                tags=list(tags),
            )
            for space, seen in sorted({model.data: model.images for model in models}.items())
        ),
        *(
            node(
                function,
                inputs,
                f"{pipeline}.{output}",
                name=function.__name__,
                namespace=pipeline,
                tags=of_node,
            )
            for (function, inputs, output), of_node in shared
        ),
        *(
            made
            for model in models
            for made in _model_nodes(model, starts[model.namespace], exported=exported, heads=heads)
        ),
    ]


def _start(model: PlannedModel, start: str, made: Mapping[str, PlannedModel]) -> str:
    """Catalog name of the encoder that a model's own begins with; "" = random weights.

    Args:
        model: to be trained.
        start: as parameters name it.
        made: all models of the run, by the names of their encoders.
    """
    if model.training.width is not None or model.student or model.made_from:
        return ""
    if (origin := made.get(start)) is not None:
        of_seed = (origin.key, model.repeat, model.data)
        same = (n for n, m in made.items() if (m.key, m.repeat, m.data) == of_seed)
        start = next(same, "")
    return "" if start == f"{model.namespace}.encoder" else start


def _check_starts(
    pipeline: str, starts: Mapping[str, str], made: Mapping[str, PlannedModel]
) -> None:
    """Refuse starts of this run that cannot be: without a dense branch, narrower, or in a circle.

    Raises:
        ConfigError: naming the encoder.
    """
    for space, start in starts.items():
        origin, seen = made.get(start), [space]
        if origin is None:
            continue
        branches = getattr(method_classes()[origin.training.method], "view_branches", ("dense",))
        if "dense" not in branches or origin.training.width or origin.made_from or origin.student:
            expected = "an encoder of the run's own width that is trained dense, not cut or taught"
            raise ConfigError(f"{pipeline}.encoder.init", start, expected)
        while origin is not None:
            if origin.namespace in seen:
                expected = f"no circle: {', '.join(seen)} begin with each other"
                raise ConfigError(f"{pipeline}.encoder.init", start, expected)
            seen.append(origin.namespace)
            origin = made.get(starts[origin.namespace])


def _model_nodes(model: PlannedModel, start: str, *, exported: bool, heads: bool) -> Iterator[Node]:
    """Training of one model; features and evaluation on the pipeline's own images; speed, files."""
    pipeline, space, tags = model.pipeline, model.namespace, model.tags
    yield _cutting(model) if model.made_from else _training(model, start)
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
    if heads and not model.repeat:
        yield model.node(
            "keep_head",
            given(nodes.keep_head, trained=model.training),
            named(space, "encoder", "features") | named(pipeline, "train_images", "class_names"),
            f"{space}.classifier",
            tags,
        )
    if model.timed:
        yield model.node(
            "measure_inference",
            given(
                measure_inference,
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
            export,
            seen | named(space, "inference") | folder,
            f"{space}.export_check",
            [EXPORT],
        )


def _training(model: PlannedModel, start: str) -> Node:
    space, begun = model.namespace, {"start": start} if start else {}
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
            **begun,
        },
        [f"{space}.encoder", f"{space}.training"],
        [*model.tags, "pretrain"],
    )


def _cutting(model: PlannedModel) -> Node:
    return model.node(
        "derive",
        given(derivation.derive, trained=model.training),
        named(model.made_from, "encoder") | {"images": model.images},
        f"{model.namespace}.encoder",
        model.tags,
    )
