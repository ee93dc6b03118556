"""The graph of chapter 6: parts of the chapter, budgets and seeds, all by configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.images.load import has_unlabelled_part
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts as known_parts
from ssl_kedro.pipelines.dual_gating.plan import (
    KEY,
    Model,
    Transfer,
    data_namespace,
    planned_models,
    planned_transfers,
    sibling,
)
from ssl_kedro.pipelines.dual_gating.report import nodes
from ssl_kedro.pipelines.gated import nodes as gated_nodes
from ssl_kedro.pipelines.gated.graph import (
    Inputs,
    PlannedTraining,
    data_summary_node,
    evaluation_nodes,
    preparation_nodes,
    training_node,
)
from ssl_kedro.pipelines.gated.inference_graph import (
    EXPORT,
    export_nodes,
    gathering,
    measurement_nodes,
    stage_tags,
    stages,
)
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.given import given
from ssl_kedro.pipelines.parameters import budget_name

PARAMETERS = f"params:{KEY}"


def create_pipeline(parameters: DualGatingParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Parts of chapter 6; what several of them need is made once.

    Where tags of the run name parts, the graph holds those and nothing else; otherwise the parts
    that the parameters name. "export" adds the nodes that write compact networks to files.
    """
    parts = tuple(part for part in known_parts() if part in asked) or parameters.parts
    exported = EXPORT in asked
    models = planned_models(parameters, parts)
    transfers = planned_transfers(parameters, models)
    common = [*parts, *(budget_name(budget) for budget in parameters.budgets)]
    graph = preparation_nodes(KEY, _images(parameters, None, "pretrain"), common)
    for source in sorted({model.source for model in models if model.source}):
        images = [_images(parameters, source, split) for split in ("pretrain", "train", "eval")]
        space = data_namespace(source)
        graph.append(data_summary_node(space, images, f"summarise_{source}", common))
    for model in models:
        graph += _model_nodes(parameters, models, model)
    graph += [_transfer_node(parameters, transfer) for transfer in transfers]
    timed = {
        model.key: _planned(parameters, model, model.parts) for model in _timed(parameters, models)
    }
    graph += measurement_nodes(KEY, list(timed.values()), common)
    if exported:
        graph += export_nodes(KEY, list(timed.values()))
    return Pipeline([*graph, *_report_nodes(models, transfers, parts, timed, exported)])


def _timed(parameters: DualGatingParameters, models: Sequence[Model]) -> list[Model]:
    """Models whose gated encoders are timed: those asked for, of the first seed."""
    return [
        model
        for model in models
        if model.variant.gated
        and not model.variant.student
        and model.source is None
        and model.repeat == 0
        and parameters.inference.measures(model.name)
    ]


def _images(parameters: DualGatingParameters, source: str | None, split: str) -> str:
    """Catalog name of one part of a data set."""
    kind = parameters.data if source is None else parameters.transfer.data[source]
    if split == "pretrain" and not has_unlabelled_part(kind.source):
        split = "train"
    return f"{data_namespace(source)}.{split}_images"


def _tags(parameters: DualGatingParameters, model: Model) -> list[str]:
    """Method and budget; a dense model belongs to every budget."""
    budgets = parameters.budgets if model.budget is None else (model.budget,)
    return [model.variant.method, *(budget_name(budget) for budget in budgets)]


def _planned(
    parameters: DualGatingParameters, model: Model, tags: Sequence[str]
) -> PlannedTraining:
    source = f"_{model.source}" if model.source else ""
    seed = f"_seed_{model.seed}" if model.repeat else ""
    variant = model.variant
    return PlannedTraining(
        pipeline=KEY,
        namespace=model.namespace,
        label=f"{model.key.replace('.', '_')}{source}{seed}",
        training=Training(variant.method, model.budget, model.seed, parameters.gates_of(variant)),
        pretrain_images=_images(parameters, model.source, "pretrain"),
        data_summary=f"{model.data_namespace}.data_summary",
        tags=(*tags, *_tags(parameters, model)),
    )


def _model_nodes(
    parameters: DualGatingParameters, models: Sequence[Model], model: Model
) -> list[Node]:
    """Training, features and evaluation of one model, inside its namespace."""
    planned = _planned(parameters, model, model.parts)
    if model.variant.student:
        teacher = parameters.distillation.teacher
        if teacher == "vicreg":
            teacher = f"{sibling(models, model, 'vicreg').namespace}.encoder"
        gates = f"{sibling(models, model, 'dual').namespace}.features"
        further = {"teacher": teacher, "gate_features": gates}
        trained = training_node(planned, further, "distil")
    else:
        trained = training_node(planned)
    # Further sources exist for transfer alone.
    return [trained, *(evaluation_nodes(planned) if model.source is None else [])]


def _transfer_node(parameters: DualGatingParameters, transfer: Transfer) -> Node:
    """Linear evaluation of one encoder on one target."""
    model = transfer.model
    return _planned(parameters, model, ["table_6_2"]).node(
        f"transfer_to_{transfer.target}",
        given(gated_nodes.evaluate_transfer, seed=model.seed),
        [
            PARAMETERS,
            f"{model.namespace}.encoder",
            _images(parameters, transfer.target_source, "train"),
            _images(parameters, transfer.target_source, "eval"),
        ],
        transfer.output,
    )


def _report_nodes(
    models: Sequence[Model],
    transfers: Sequence[Transfer],
    parts: Sequence[str],
    timed: Mapping[str, PlannedTraining],
    exported: bool,
) -> list[Node]:
    """Runs, metrics, tables, figures, manifest and report over all models."""
    own = [model for model in models if model.source is None]
    first = [model for model in own if model.repeat == 0]

    def named(output: str) -> dict[str, str]:
        return {model.key: f"{model.namespace}.{output}" for model in first}

    further = stages(list(timed.values()), exported=exported)
    made: list[Made] = [
        (
            nodes.collect_runs,
            {f"{model.key}.seed_{model.seed}": f"{model.namespace}.evaluation" for model in own},
            "runs",
        ),
        (gated_nodes.collect_by_model, named("evaluation"), "models"),
        (gated_nodes.collect_histories, named("training"), "histories"),
        (
            nodes.metrics,
            {name: f"{KEY}.{name}" for name in ("runs", "baselines", *further)},
            "metrics",
        ),
        (
            nodes.describe_run,
            [PARAMETERS, f"{KEY}.data_summary", f"{KEY}.execution", f"{KEY}.runs"],
            "run_manifest",
        ),
        (nodes.training_curves, [f"{KEY}.histories"], "training_curves"),
    ]
    if any(model.variant.gated and not model.variant.student for model in first):
        made.append((nodes.channel_usage, [f"{KEY}.models"], "channel_usage"))
    if "table_6_1" in parts:
        inputs = [f"{KEY}.metrics", f"{KEY}.models"]
        made.append((nodes.accuracy_against_cost, inputs, "accuracy_against_cost"))
    if "figure_6_2" in parts:
        made += _embedding_parts(first)
    made += _table_parts(transfers, parts)
    made += gathering(KEY, list(timed.values()), list(timed), "vicreg", exported=exported)
    made.append(_report_part(parts, further))
    return [
        node(
            function,
            inputs,
            f"{KEY}.{output}",
            name=output,
            tags=_report_tags(output, parts, exported),
        )
        for function, inputs, output in made
    ]


def _report_tags(output: str, parts: Sequence[str], exported: bool) -> list[str]:
    """A part of its own, or every part; and the stages that the node has to follow."""
    of_parts = [output] if output in parts else [] if output == "exports" else list(parts)
    return [*of_parts, "report", *stage_tags(output, exported=exported)]


Made = tuple[Callable[..., Any], Inputs, str]


def _embedding_parts(models: Sequence[Model]) -> list[Made]:
    """Fig. 6.2: dual gating beside the dense baseline."""
    shown = [model for model in models if "figure_6_2" in model.parts]
    features = {model.key: f"{model.namespace}.features" for model in shown}
    images = f"{KEY}.eval_images"
    return [
        (
            nodes.embed_features,
            {"parameters": PARAMETERS, "eval_images": images, **features},
            "embedding",
        ),
        (nodes.embedding_plot, [f"{KEY}.embedding"], "embedding_plot"),
    ]


def _table_parts(transfers: Sequence[Transfer], parts: Sequence[str]) -> list[Made]:
    """A CSV for every table and question among the parts."""
    made: list[Made] = []
    if "table_6_2" in parts:
        named = {transfer.output: transfer for transfer in transfers}
        made.append(
            (
                given(nodes.collect_transfers, transfers=named),
                {name: name for name in named},
                "transfer",
            )
        )
    for part in _with_table(parts):
        inputs = [PARAMETERS, f"{KEY}.{known_parts()[part].source}"]
        made.append((given(nodes.part_table, part=part), inputs, part))
    return made


def _report_part(parts: Sequence[str], further: Sequence[str]) -> Made:
    tables = [*_with_table(parts), *further, *(["inference_table"] if further else [])]
    embedding = ["embedding"] if "figure_6_2" in parts else []
    shown = ("metrics", "models", "histories", *embedding, *tables)
    inputs = {"parameters": PARAMETERS, "manifest": f"{KEY}.run_manifest"}
    inputs |= {name: f"{KEY}.{name}" for name in shown}
    return nodes.render_report, inputs, "report"


def _with_table(parts: Sequence[str]) -> list[str]:
    return [part for part in parts if known_parts()[part].columns]
