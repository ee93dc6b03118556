"""The graph of chapter 6: parts of the chapter, budgets and seeds, all by configuration."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ssl_kedro.pipelines.assembly.nodes import assemble_nodes
from ssl_kedro.pipelines.assembly.parameters import ASSEMBLE
from ssl_kedro.pipelines.dual_gating import nodes
from ssl_kedro.pipelines.dual_gating.assembled import ASSEMBLY
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts as known_parts
from ssl_kedro.pipelines.dual_gating.plan import (
    KEY,
    TRANSFER,
    Model,
    planned_models,
)
from ssl_kedro.pipelines.dual_gating.report.figures import accuracy_against_cost, embedding_figure
from ssl_kedro.pipelines.dual_gating.report.page import dual_gating_report
from ssl_kedro.pipelines.dual_gating.report.runs import collect_runs, metrics
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated.embed_parameters import EMBED, FIND
from ssl_kedro.pipelines.gated.embedding import embedding_nodes
from ssl_kedro.pipelines.gated.few_labels import label_nodes
from ssl_kedro.pipelines.gated.gathering import (
    OF_EXPORT,
    frames,
    gathering,
    left_to_export,
    of_page,
    report_node,
    stages,
)
from ssl_kedro.pipelines.gated.given_encoder import EVALUATE, evaluation_nodes
from ssl_kedro.pipelines.gated.graph import (
    COMPARED,
    EXPORT,
    FEW_LABELS,
    Made,
    PlannedModel,
    budget_tags,
    encoder_nodes,
    named,
)
from ssl_kedro.pipelines.gated.peers import planned_peers
from ssl_kedro.pipelines.gated.transfer import (
    Transfer,
    planned_transfers,
    transfer_nodes,
    transfer_runs,
)


def create_pipeline(parameters: DualGatingParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Parts of chapter 6; what several of them need is made once.

    Where tags of the run name parts, the graph holds those and nothing else; otherwise the parts
    that the parameters name, or those of the recipe. "best" and "frontier" are such tags as well:
    the encoder for every budget, and what a user would take instead of a gated encoder; and so is
    "few_labels", which fine-tunes the dense baseline and dual gating, or beside "best" the encoder
    for every budget. "export" adds the nodes that write compact networks to files. "evaluate" does
    nothing but evaluate the encoder of ``encoder.init``, "embed" and "find" put a trained one to
    use, "assemble" makes tables over data sets of runs that are there.
    """
    if EVALUATE in asked:
        return Pipeline(evaluation_nodes(KEY, parameters, asked))
    if not {EMBED, FIND}.isdisjoint(asked):
        return Pipeline(embedding_nodes(KEY, parameters, asked))
    if ASSEMBLE in asked:
        return Pipeline(assemble_nodes(ASSEMBLY, parameters, asked))
    named = tuple(part for part in (*known_parts(), *COMPARED, FEW_LABELS) if part in asked)
    parts = named or parameters.made_parts
    exported = EXPORT in asked
    of_chapter = planned_models(parameters, parts)
    models: list[PlannedModel] = [*of_chapter]
    if not set(COMPARED).isdisjoint(parts):
        models += planned_peers(parameters, of_chapter, TRANSFER)
    transfers = planned_transfers(parameters, models, TRANSFER)
    common = [*parts, *budget_tags(models)]
    tuning, gathered = label_nodes(KEY, models, [FEW_LABELS, *budget_tags(models)])
    made = [*gathering(KEY, models, parameters.dense_method, exported=exported), *gathered]
    made += _report(models, transfers, parts, stages(models, exported=exported))
    whole = Pipeline(
        [
            *encoder_nodes(
                KEY,
                models,
                common,
                parameters.initial,
                exported=exported,
                heads=parameters.keep_head,
            ),
            *tuning,
            *transfer_nodes(parameters, transfers, TRANSFER),
            *(
                report_node(KEY, one, _tags_of_parts(one[2], parts), exported=exported)
                for one in made
            ),
        ]
    )
    return left_to_export(whole, asked)


def _tags_of_parts(output: str, parts: Sequence[str]) -> Sequence[str]:
    """A part of its own, or every part."""
    return [output] if output in parts else [] if output in OF_EXPORT else parts


def _report(
    models: Sequence[PlannedModel],
    transfers: Sequence[Transfer],
    parts: Sequence[str],
    further: Sequence[str],
) -> list[Made]:
    """Runs, metrics, tables, figures and report over all models."""
    own = [model for model in models if model.own_data]
    runs = {f"{m.key}.seed_{m.training.seed}": f"{m.namespace}.evaluation" for m in own}
    made: list[Made] = [
        (collect_runs, runs, "runs"),
        (metrics, named(KEY, "runs", "baselines", *further), "metrics"),
    ]
    if "table_6_1" in parts:
        inputs = named(KEY, "metrics", "models")
        made.append((accuracy_against_cost, inputs, "accuracy_against_cost"))
    if "figure_6_2" in parts:
        shown = [
            model
            for model in own
            if isinstance(model, Model) and not model.repeat and "figure_6_2" in model.parts
        ]
        features = {model.key: f"{model.namespace}.features" for model in shown}
        images = named(KEY, "parameters", "eval_images")
        made.append((nodes.embed_features, images | features, "embedding"))
        made.append((embedding_figure, named(KEY, "embedding"), "embedding_plot"))
    if TRANSFER in parts:
        made.append(transfer_runs(transfers))
    tables = [part for part in parts if part in known_parts() and known_parts()[part].columns]
    for part in tables:
        rows = {"rows": f"{KEY}.{known_parts()[part].source}"}
        made.append((given(nodes.part_table, part=part), named(KEY, "parameters") | rows, part))
    shown_as_well = [*tables, *further, *frames(models)]
    shown_as_well += ["embedding"] if "figure_6_2" in parts else []
    page = ("parameters", "metrics", "models", "histories", "run_manifest", *shown_as_well)
    places, spaces = of_page(KEY, models)
    report = given(dual_gating_report, spaces=spaces)
    made.append((report, named(KEY, *page) | places, "report"))
    return made
