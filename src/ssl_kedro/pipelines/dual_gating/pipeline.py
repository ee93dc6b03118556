"""The graph of chapter 6: parts of the chapter, budgets and seeds, all by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kedro.pipeline import Node, Pipeline

from ssl_kedro.images.load import image_source
from ssl_kedro.pipelines.dual_gating import nodes
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
from ssl_kedro.pipelines.dual_gating.report.figures import accuracy_against_cost, embedding_figure
from ssl_kedro.pipelines.dual_gating.report.page import dual_gating_report
from ssl_kedro.pipelines.dual_gating.report.runs import collect_runs, metrics
from ssl_kedro.pipelines.gated.graph import (
    EXPORT,
    Made,
    PlannedModel,
    encoder_nodes,
    gathering,
    report_node,
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
    planned = planned_models(parameters, parts)
    transfers = planned_transfers(parameters, planned)
    models = [_with_catalog_names(parameters, planned, model) for model in planned]
    common = [*parts, *(budget_name(budget) for budget in parameters.budgets)]
    made = gathering(KEY, models, parameters.dense_method, exported=exported)
    made += _report(planned, transfers, parts, stages(models, exported=exported))
    return Pipeline(
        [
            *encoder_nodes(KEY, models, common, exported=exported),
            *(_transfer_node(parameters, planned, transfer) for transfer in transfers),
            *(
                report_node(KEY, one, _tags_of_parts(one[2], parts), exported=exported)
                for one in made
            ),
        ]
    )


def _tags_of_parts(output: str, parts: Sequence[str]) -> Sequence[str]:
    """A part of its own, or every part."""
    return [output] if output in parts else [] if output == "exports" else parts


def _images(parameters: DualGatingParameters, source: str | None, split: str) -> str:
    """Catalog name of one part of a data set."""
    kind = parameters.data if source is None else parameters.transfer.data[source]
    if split == "pretrain" and not image_source(kind.source).unlabelled:
        split = "train"
    return f"{data_namespace(source)}.{split}_images"


def _with_catalog_names(
    parameters: DualGatingParameters, models: Sequence[Model], model: Model
) -> PlannedModel:
    """A model of the plan as the graph has it; a dense one belongs to every budget."""
    variant = model.variant
    source = f"_{model.source}" if model.source else ""
    seed = f"_seed_{model.seed}" if model.repeat else ""
    budgets = parameters.budgets if model.budget is None else (model.budget,)
    student = {}
    if variant.student:
        teacher = parameters.distillation.teacher
        if teacher == "vicreg":
            teacher = f"{sibling(models, model, 'vicreg').namespace}.encoder"
        gates = f"{sibling(models, model, 'dual').namespace}.features"
        student = {"teacher": teacher, "gate_features": gates}
    return PlannedModel(
        pipeline=KEY,
        key=model.key,
        namespace=model.namespace,
        label=f"{model.key.replace('.', '_')}{source}{seed}",
        training=Training(variant.method, model.budget, model.seed, parameters.gates_of(variant)),
        images=_images(parameters, model.source, "pretrain"),
        data=model.data_namespace,
        tags=(*model.parts, variant.method, *(budget_name(budget) for budget in budgets)),
        student=student,
        repeated=model.repeat > 0,
        timed=variant.gated
        and not variant.student
        and model.source is None
        and model.repeat == 0
        and parameters.inference.measures(model.name),
    )


def _transfer_node(
    parameters: DualGatingParameters, models: Sequence[Model], transfer: Transfer
) -> Node:
    """Linear evaluation of one encoder on one target."""
    of_table = replace(transfer.model, parts=("table_6_2",))
    planned = _with_catalog_names(parameters, models, of_table)
    inputs = {
        "parameters": PARAMETERS,
        "encoder": f"{planned.namespace}.encoder",
        "train_images": _images(parameters, transfer.target_source, "train"),
        "eval_images": _images(parameters, transfer.target_source, "eval"),
    }
    evaluate = given(nodes.evaluate_transfer, seed=transfer.model.seed)
    action = f"transfer_to_{transfer.target}"
    return planned.node(action, evaluate, inputs, transfer.output, planned.tags)


def _report(
    models: Sequence[Model],
    transfers: Sequence[Transfer],
    parts: Sequence[str],
    further: Sequence[str],
) -> list[Made]:
    """Runs, metrics, tables, figures, manifest and report over all models."""
    own = [model for model in models if model.source is None]

    def given_by_name(*names: str, **others: str) -> dict[str, str]:
        return {**{name: f"{KEY}.{name}" for name in names}, **others}

    runs = {f"{model.key}.seed_{model.seed}": f"{model.namespace}.evaluation" for model in own}
    tables = [part for part in parts if known_parts()[part].columns]
    made: list[Made] = [
        (collect_runs, runs, "runs"),
        (metrics, given_by_name("runs", "baselines", *further), "metrics"),
    ]
    if "table_6_1" in parts:
        inputs = given_by_name("metrics", "models")
        made.append((accuracy_against_cost, inputs, "accuracy_against_cost"))
    if "figure_6_2" in parts:
        shown = [model for model in own if not model.repeat and "figure_6_2" in model.parts]
        features = {model.key: f"{model.namespace}.features" for model in shown}
        images = given_by_name("eval_images", parameters=PARAMETERS)
        made.append((nodes.embed_features, images | features, "embedding"))
        made.append((embedding_figure, [f"{KEY}.embedding"], "embedding_plot"))
    if "table_6_2" in parts:
        named = {transfer.output: transfer for transfer in transfers}
        collect = given(nodes.collect_transfers, transfers=named)
        made.append((collect, {name: name for name in named}, "transfer"))
    for part in tables:
        rows = [PARAMETERS, f"{KEY}.{known_parts()[part].source}"]
        made.append((given(nodes.part_table, part=part), rows, part))
    frames = [*tables, *further, *(["inference_table"] if further else [])]
    frames += ["embedding"] if "figure_6_2" in parts else []
    page = given_by_name("metrics", "models", "histories", *frames, parameters=PARAMETERS)
    made.append((dual_gating_report, page | {"manifest": f"{KEY}.run_manifest"}, "report"))
    return made
