"""The graph of a pipeline that trains gated encoders: what is gathered over all its models."""

from collections.abc import Iterable, Sequence

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated import nodes
from ssl_kedro.pipelines.gated.frontier.export import export_deployment
from ssl_kedro.pipelines.gated.frontier.hub import export_hub
from ssl_kedro.pipelines.gated.frontier.nodes import collect_measurements, deployment, frontier
from ssl_kedro.pipelines.gated.graph import (
    COMPARED,
    EXPORT,
    FEW_LABELS,
    MEASURE,
    Made,
    PlannedModel,
    named,
)
from ssl_kedro.pipelines.gated.look import OVERVIEW, overview_of
from ssl_kedro.pipelines.gated.report.budgets import accuracy_by_budget
from ssl_kedro.pipelines.gated.report.channels import channel_usage_figure, kept_channels
from ssl_kedro.pipelines.gated.report.frontier_figure import frontier_figure
from ssl_kedro.pipelines.gated.report.gate_section import gate_plot, gate_responses
from ssl_kedro.pipelines.gated.report.page import describe_run
from ssl_kedro.pipelines.gated.report.peers import peers_table
from ssl_kedro.pipelines.gated.report.speed_numbers import inference_frame
from ssl_kedro.pipelines.gated.report.speed_section import time_against_cost
from ssl_kedro.pipelines.gated.report.trainings import training_curves
from ssl_kedro.pipelines.gated.variants import has_gates, name_of

# What follows from times.
_AFTER_TIMING = (
    *("inference_models", "inference_table", "inference_plot"),
    *("frontier_table", "frontier_plot", "deployment", "peers", "peers_plot", "metrics", "report"),
    "kept_channels",
)
# What is made of exported files alone.
OF_EXPORT = ("exports", "deployed_files", "hub")


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
    if cut := with_kept_channels(models):
        found.append(
            (kept_channels, {m.key: f"{m.namespace}.encoder" for m in cut}, "kept_channels")
        )
    found += [made for model in with_responses(models) for made in _of_gates(model)]
    found += overview_of(models, with_responses(models))
    if timed:
        found += _of_timed(pipeline, timed, baseline)
    if exported:
        deployed = named(pipeline, "deployment", "exports")
        deployed |= {"folder": f"{pipeline}.deployment_folder"}
        page = named(pipeline, "parameters", "deployment", "exports", "frontier_table")
        page |= named(pipeline, "run_manifest") | {"folder": f"{pipeline}.hub_folder"}
        found += [
            (nodes.collect_by_model, left("export_check", timed), "exports"),
            (export_deployment, deployed, "deployed_files"),
            (export_hub, page, "hub"),
        ]
    if compared := [model for model in own if model.compared]:
        inputs = named(pipeline, "parameters") | _of_every_seed(compared)
        found.append((peers_table, inputs, "peers"))
        figure = named(pipeline, "parameters", "peers", "baselines")
        found.append((accuracy_by_budget, figure, "peers_plot"))
    return found


def with_kept_channels(models: Sequence[PlannedModel]) -> list[PlannedModel]:
    """Networks that one training made for all budgets."""
    return [m for m in models if m.own_data and not m.repeat and m.training.derived == "budgeted"]


def with_responses(models: Sequence[PlannedModel]) -> list[PlannedModel]:
    """The one model whose gates are looked at: of those that learn any, the middle one."""
    gated = [
        model
        for model in models
        if model.own_data
        and not model.repeat
        and not model.student
        and not model.made_from
        and model.training.budget is not None
    ]
    # Chapter 6 compares its own with other ways to learn gates.
    names = [name_of(model.key) for model in gated]
    chosen = "dual" if "dual" in names else (names or [""])[0]
    same = [model for model, name in zip(gated, names, strict=True) if name == chosen]
    return same[len(same) // 2 :][:1]


def _of_gates(model: PlannedModel) -> list[Made]:
    """What they respond to, and pictures of that."""
    pipeline, space = model.pipeline, model.namespace
    images = named(pipeline, "eval_images", "train_images")
    look = given(gate_responses, model=model.key)
    seen = named(pipeline, "parameters") | named(space, "encoder", "features") | images
    shown = {"responses": f"{pipeline}.gate_responses", "images": f"{pipeline}.eval_images"}
    return [
        (look, seen, "gate_responses"),
        (gate_plot, shown, "gate_pictures"),
    ]


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
    gated = any(has_gates(model.key) for model in timed)
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
            given(collect_measurements, baseline=baseline),
            measured,
            "inference_models",
        ),
        (frame, named(pipeline, "models", "inference_models"), "inference_table"),
        *([(time_against_cost, table, "inference_plot")] if gated else []),
        (given(frontier, baseline=baseline), run | left, "frontier_table"),
        (deployment, named(pipeline, "parameters", "frontier_table"), "deployment"),
        (frontier_figure, named(pipeline, "frontier_table"), "frontier_plot"),
    ]


def of_page(pipeline: str, models: Sequence[PlannedModel]) -> tuple[dict[str, str], dict[str, str]]:
    """What a report takes to say where encoders lie and what images look like.

    Returns:
        Catalog names by argument, and the name of the folder of each model of the first seed.
    """
    spaces = {m.key: m.namespace for m in models if m.own_data and not m.repeat}
    return named(pipeline, "data_pictures", "bundles"), spaces


def stages(models: Sequence[PlannedModel], *, exported: bool) -> list[str]:
    """Names of what metrics and report take from timing and export."""
    timed = any(model.timed for model in models)
    labels = any(FEW_LABELS in model.tags for model in models)
    found = ["inference_models", "deployment"] * timed + ["exports"] * exported
    return found + ["label_table"] * labels


def frames(models: Sequence[PlannedModel]) -> list[str]:
    """Names of tables over all models that a report takes beside its own."""
    timed = any(model.timed for model in models)
    tables = ["frontier_table", "inference_table"] * timed
    tables += ["gate_responses", "eval_images"] * bool(with_responses(models))
    tables += [OVERVIEW] * bool(overview_of(models, with_responses(models)))
    tables += ["kept_channels"] * bool(with_kept_channels(models))
    return tables + ["peers"] * any(m.compared for m in models)


def left_to_export(made: Pipeline, asked: Sequence[str]) -> Pipeline:
    """Where both tags are asked for, files of what a run with "frontier" or "best" has left.

    Nothing is trained for them, as with "export" alone; that knows nothing of the peers.

    Args:
        made: of both.
        asked: tags of the run.
    """
    return made.filter(tags=[EXPORT]) if EXPORT in asked and set(COMPARED) & set(asked) else made


def report_node(pipeline: str, made: Made, tags: Iterable[str], *, exported: bool) -> Node:
    """A node over all models, with the tags of the stages that it has to follow.

    Args:
        pipeline: its key.
        made: what the node does.
        tags: further ones.
        exported: whether compact networks are written to files.
    """
    function, inputs, output = made
    following = ["report"]
    if output in _AFTER_TIMING:
        following.append(MEASURE)
    if exported and output in (*OF_EXPORT, "metrics", "report", "kept_channels"):
        following.append(EXPORT)
    return node(
        function,
        inputs,
        f"{pipeline}.{output}",
        name=output,
        namespace=pipeline,
        tags=[*tags, *following],
    )
