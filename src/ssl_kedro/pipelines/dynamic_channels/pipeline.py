"""The graph of chapter 5: the ungated baseline and one namespace a budget."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ssl_kedro.images.load import image_source
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.report.consistency import (
    CONSISTENCY,
    CONSISTENT,
    consistency,
)
from ssl_kedro.pipelines.dynamic_channels.report.page import (
    accuracy_against_cost,
    dynamic_channels_report,
)
from ssl_kedro.pipelines.dynamic_channels.report.tables import metrics, table_5_1
from ssl_kedro.pipelines.gated.gathering import (
    OF_EXPORT,
    frames,
    gathering,
    left_to_export,
    report_node,
    stages,
)
from ssl_kedro.pipelines.gated.given_encoder import EVALUATE, evaluation_nodes
from ssl_kedro.pipelines.gated.graph import (
    BEST,
    COMPARED,
    EXPORT,
    FRONTIER,
    Made,
    PlannedModel,
    budget_tags,
    encoder_nodes,
    named,
)
from ssl_kedro.pipelines.gated.peers import planned_peers
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.parameters import budget_name

KEY = "dynamic_channels"


def create_pipeline(parameters: DynamicChannelsParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Chapter 5, or with `recipe: best` one encoder for every budget; tags add to it.

    "frontier" adds what a user would take instead of a gated encoder, and further seeds, "export"
    the nodes that write compact networks to files, "consistency" gates that should decide alike for
    two views. "evaluate" does nothing but evaluate the encoder of ``encoder.init``.
    """
    if EVALUATE in asked:
        return Pipeline(evaluation_nodes(KEY, parameters, asked))
    exported = EXPORT in asked
    alike = [CONSISTENCY] if CONSISTENCY in asked else []
    plain = [BEST] if parameters.recipe == BEST and not alike else []
    parts = [*([tag for tag in COMPARED if tag in asked][:1] or plain), *alike]
    models = planned_models(parameters, parts)
    of_chapter = ["table_5_1"] if BEST not in parts or alike else []
    further = stages(models, exported=exported)
    page = ("parameters", "metrics", "models", "histories", "run_manifest", *of_chapter, *alike)
    made: list[Made] = [
        *gathering(KEY, models, parameters.dense_method, exported=exported),
        (metrics, named(KEY, "parameters", "models", "baselines", *further), "metrics"),
        (dynamic_channels_report, named(KEY, *page, *further, *frames(models)), "report"),
    ]
    if of_chapter:
        figure = named(KEY, "parameters", "metrics", "table_5_1")
        made += [
            (table_5_1, named(KEY, "parameters", "metrics"), "table_5_1"),
            (accuracy_against_cost, figure, "accuracy_against_cost"),
        ]
    if alike:
        seen = named(KEY, "parameters", "metrics", "histories")
        made.append((consistency, seen, CONSISTENCY))
    whole = Pipeline(
        [
            *encoder_nodes(
                KEY,
                models,
                [*budget_tags(models), *parts],
                parameters.initial,
                exported=exported,
            ),
            *(
                report_node(
                    KEY,
                    one,
                    [] if one[2] in OF_EXPORT else parts,
                    exported=exported,
                    prefix=f"{KEY}_",
                )
                for one in made
            ),
        ]
    )
    return left_to_export(whole, asked)


def planned_models(
    parameters: DynamicChannelsParameters, parts: Sequence[str] = ()
) -> list[PlannedModel]:
    """SimSiam without gates, which belongs to every budget, then with gates at each.

    Args:
        parameters: of the run.
        parts: "frontier" = peers stand beside them; "best" = the encoder for every budget instead
            of those with gates. With either all have several seeds. "consistency" = gates that
            should decide alike at each budget as well.
    """
    split = "pretrain" if image_source(parameters.data.source).unlabelled else "train"
    alike, compared = CONSISTENCY in parts, not set(COMPARED).isdisjoint(parts)
    gated = () if BEST in parts and not alike else parameters.gated_budgets
    kinds = [(parameters.dense_method, None), *((parameters.gated_method, one) for one in gated)]
    kinds += [(CONSISTENT, one) for one in gated] if alike else []
    found = [
        _planned(parameters, method, budget, repeat, f"{KEY}.{split}_images", gated, parts)
        for method, budget in kinds
        for repeat in range(parameters.repeats if compared else 1)
    ]
    return [*found, *(planned_peers(parameters, found) if compared else ())]


def _planned(
    parameters: DynamicChannelsParameters,
    method: str,
    budget: float | None,
    repeat: int,
    images: str,
    budgets: Sequence[float],
    parts: Sequence[str],
) -> PlannedModel:
    """One model of the chapter with its names; a dense one belongs to all budgets."""
    label = method if budget is None else budget_name(budget)
    own = [method] * (method == CONSISTENT)
    seed = parameters.seed + repeat
    of_seed = [f"seed_{seed}"] * bool(repeat)
    return PlannedModel(
        pipeline=KEY,
        key=method if budget is None else f"{method}.{label}",
        namespace=".".join([KEY, label, *own, *of_seed]),
        label="_".join([*own, label, *of_seed]),
        training=Training(method, budget, seed),
        images=images,
        data=KEY,
        tags=(*map(budget_name, budgets if budget is None else (budget,)), method, *parts),
        repeat=repeat,
        timed=not own
        and (FRONTIER in parts or parameters.inference.measures(parameters.gated_method)),
    )
