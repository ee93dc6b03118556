"""The graph of chapter 5: the ungated baseline and one namespace a budget."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ssl_kedro.pipelines.assembly.nodes import assemble_nodes
from ssl_kedro.pipelines.assembly.parameters import ASSEMBLE
from ssl_kedro.pipelines.dynamic_channels.assembled import ASSEMBLY
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report.consistency import (
    CONSISTENCY,
    CONSISTENT,
    FREE,
    consistency,
)
from ssl_kedro.pipelines.dynamic_channels.report.page import (
    accuracy_against_cost,
    dynamic_channels_report,
)
from ssl_kedro.pipelines.dynamic_channels.report.tables import metrics, table_5_1, transfer_table
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
    BEST,
    COMPARED,
    EXPORT,
    FEW_LABELS,
    FRONTIER,
    Made,
    PlannedModel,
    budget_tags,
    encoder_nodes,
    named,
    times_nothing,
)
from ssl_kedro.pipelines.gated.peers import planned_peers
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.transfer import (
    Transfer,
    data_namespace,
    images_of,
    planned_transfers,
    transfer_nodes,
    transfer_runs,
)
from ssl_kedro.pipelines.gated.transfer_parameters import TRANSFER
from ssl_kedro.pipelines.parameters import budget_name

KEY = "dynamic_channels"


def create_pipeline(parameters: DynamicChannelsParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Chapter 5, or with `recipe: best` one encoder for every budget; tags add to it.

    "frontier" adds what a user would take instead of a gated encoder, and further seeds, "export"
    the nodes that write compact networks to files. "few_labels" fine-tunes the chapter's encoders,
    "transfer" evaluates them on other data, "consistency" adds gates that should decide alike for
    two views. "evaluate" does nothing but evaluate the encoder of ``encoder.init``, "embed" and
    "find" put a trained one to use, "assemble" makes Table 5.1 of runs on several data sets.
    """
    if EVALUATE in asked:
        return Pipeline(evaluation_nodes(KEY, parameters, asked))
    if not {EMBED, FIND}.isdisjoint(asked):
        return Pipeline(embedding_nodes(KEY, parameters, asked))
    if ASSEMBLE in asked:
        return Pipeline(assemble_nodes(ASSEMBLY, parameters, asked))
    exported = EXPORT in asked
    plain = [BEST] if parameters.recipe == BEST else []
    compared = [tag for tag in COMPARED if tag in asked][:1]
    added = [tag for tag in (FEW_LABELS, TRANSFER, CONSISTENCY) if tag in asked]
    parts = [*compared, *added] or plain
    models = planned_models(parameters, parts)
    transfers = planned_transfers(parameters, models, TRANSFER)
    common = [*budget_tags(models), *parts]
    tuning, gathered = label_nodes(KEY, models, [FEW_LABELS, *budget_tags(models)])
    made = [
        *gathering(KEY, models, parameters.dense_method, exported=exported),
        *gathered,
        *_report(models, parts, stages(models, exported=exported), transfers),
    ]
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
                report_node(
                    KEY,
                    one,
                    [] if one[2] in OF_EXPORT else parts,
                    exported=exported,
                )
                for one in made
            ),
        ]
    )
    return left_to_export(whole, asked)


def _report(
    models: Sequence[PlannedModel],
    parts: Sequence[str],
    further: Sequence[str],
    transfers: Sequence[Transfer],
) -> list[Made]:
    """Metrics, tables and report over all models."""
    alike = [CONSISTENCY] if CONSISTENCY in parts else []
    of_chapter = ["table_5_1"] if BEST not in parts or alike else []
    page = ("parameters", "metrics", "models", "histories", "run_manifest", *of_chapter, *alike)
    places, spaces = of_page(KEY, models)
    report = given(dynamic_channels_report, spaces=spaces)
    tables = [*frames(models), *["transfer_table"] * bool(transfers)]
    made: list[Made] = [
        (metrics, named(KEY, "parameters", "models", "baselines", *further), "metrics"),
        (report, named(KEY, *page, *further, *tables) | places, "report"),
    ]
    if of_chapter:
        figure = named(KEY, "parameters", "metrics", "table_5_1")
        made += [
            (table_5_1, named(KEY, "parameters", "metrics"), "table_5_1"),
            (accuracy_against_cost, figure, "accuracy_against_cost"),
        ]
    if alike:
        seen = {
            f"{model.key}.seed_{model.training.seed}.{output}": f"{model.namespace}.{output}"
            for model in models
            for output in ("evaluation", "training")
            if model.own_data and model.name in (FREE, CONSISTENT)
        }
        made.append((consistency, seen, CONSISTENCY))
    if transfers:
        runs = {"runs": f"{KEY}.transfer"}
        made += [transfer_runs(transfers), (transfer_table, runs, "transfer_table")]
    return made


def planned_models(
    parameters: DynamicChannelsParameters, parts: Sequence[str] = ()
) -> list[PlannedModel]:
    """SimSiam without gates, which belongs to every budget, then with gates at each.

    Args:
        parameters: of the run.
        parts: "frontier" = peers stand beside them; "best" = the encoder for every budget instead
            of those with gates; "few_labels"; "transfer" = there are those of further data as well.
            "consistency" = gates that should decide alike at each budget as well, on the run's own
            data. With any of these all have several seeds.
    """
    alike = CONSISTENCY in parts
    gated = () if BEST in parts and not alike else parameters.gated_budgets
    kinds = [(parameters.dense_method, None), *((parameters.gated_method, one) for one in gated)]
    of_own = [*kinds, *((CONSISTENT, one) for one in gated if alike)]
    repeats = parameters.repeats if parts else 1
    sources = (None, *(parameters.transfer.sources if TRANSFER in parts else ()))
    found = [
        _planned(parameters, *kind, repeat, source, gated, parts if source is None else [TRANSFER])
        for source in sources
        for kind in (of_own if source is None else kinds)
        for repeat in range(repeats)
    ]
    peers = () if set(COMPARED).isdisjoint(parts) else planned_peers(parameters, found, TRANSFER)
    return [*found, *peers]


def _planned(
    parameters: DynamicChannelsParameters,
    method: str,
    budget: float | None,
    repeat: int,
    source: str | None,
    budgets: Sequence[float],
    parts: Sequence[str],
) -> PlannedModel:
    """One model of the chapter with its names; a dense one belongs to all budgets."""
    label = method if budget is None else budget_name(budget)
    seed, data = parameters.seed + repeat, data_namespace(KEY, source)
    of_seed = [f"seed_{seed}"] * bool(repeat)
    own = [method] * (method == CONSISTENT)
    return PlannedModel(
        pipeline=KEY,
        key=method if budget is None else f"{method}.{label}",
        namespace=".".join([data, label, *own, *of_seed]),
        label="_".join([*own, label, *([source] if source else []), *of_seed]),
        training=Training(method, budget, seed),
        images=images_of(parameters, KEY, source, "pretrain"),
        data=data,
        tags=(*map(budget_name, budgets if budget is None else (budget,)), method, *parts),
        repeat=repeat,
        timed=not own
        and not times_nothing(parts)
        and (FRONTIER in parts or parameters.inference.measures(parameters.gated_method)),
    )
