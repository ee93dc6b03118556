"""The graph of chapter 5: the ungated baseline and one namespace a budget."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ssl_kedro.images.load import image_source
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
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
from ssl_kedro.pipelines.gated.graph import (
    EXPORT,
    FRONTIER,
    Made,
    PlannedModel,
    encoder_nodes,
    named,
)
from ssl_kedro.pipelines.gated.peers import planned_peers
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.parameters import budget_name

KEY = "dynamic_channels"


def create_pipeline(parameters: DynamicChannelsParameters, asked: Sequence[str] = ()) -> Pipeline:
    """Chapter 5; tags add to it.

    "frontier" adds what a user would take instead of a gated encoder, and further seeds, "export"
    the nodes that write compact networks to files.
    """
    exported = EXPORT in asked
    of_front = [FRONTIER] if FRONTIER in asked else []
    models = planned_models(parameters, compared=bool(of_front))
    budgets = [*map(budget_name, parameters.budgets), *of_front]
    further = stages(models, exported=exported)
    page = ("parameters", "metrics", "models", "histories", "run_manifest", "table_5_1")
    figure = named(KEY, "parameters", "metrics", "table_5_1")
    made: list[Made] = [
        *gathering(KEY, models, parameters.dense_method, exported=exported),
        (metrics, named(KEY, "parameters", "models", "baselines", *further), "metrics"),
        (table_5_1, named(KEY, "parameters", "metrics"), "table_5_1"),
        (accuracy_against_cost, figure, "accuracy_against_cost"),
        (dynamic_channels_report, named(KEY, *page, *further, *frames(models)), "report"),
    ]
    whole = Pipeline(
        [
            *encoder_nodes(KEY, models, budgets, exported=exported),
            *(
                report_node(
                    KEY,
                    one,
                    [] if one[2] in OF_EXPORT else of_front,
                    exported=exported,
                    prefix=f"{KEY}_",
                )
                for one in made
            ),
        ]
    )
    return left_to_export(whole, asked)


def planned_models(
    parameters: DynamicChannelsParameters, *, compared: bool = False
) -> list[PlannedModel]:
    """SimSiam without gates, which belongs to every budget, then with gates at each.

    Args:
        parameters: of the run.
        compared: whether peers stand beside them, and all have several seeds.
    """
    part = "pretrain" if image_source(parameters.data.source).unlabelled else "train"
    found = [
        _planned(parameters, budget, repeat, f"{KEY}.{part}_images", compared=compared)
        for budget in (None, *parameters.budgets)
        for repeat in range(parameters.repeats if compared else 1)
    ]
    return [*found, *(planned_peers(parameters, found) if compared else ())]


def _planned(
    parameters: DynamicChannelsParameters,
    budget: float | None,
    repeat: int,
    images: str,
    *,
    compared: bool,
) -> PlannedModel:
    """One model of the chapter with its names."""
    method = parameters.dense_method if budget is None else parameters.gated_method
    label = method if budget is None else budget_name(budget)
    budgets, seed = parameters.budgets if budget is None else (budget,), parameters.seed + repeat
    of_seed = [f"seed_{seed}"] * bool(repeat)
    return PlannedModel(
        pipeline=KEY,
        key=method if budget is None else f"{method}.{label}",
        namespace=".".join([KEY, label, *of_seed]),
        label="_".join([label, *of_seed]),
        training=Training(method, budget, seed),
        images=images,
        data=KEY,
        tags=(*map(budget_name, budgets), method, *[FRONTIER] * compared),
        repeat=repeat,
        timed=compared or parameters.inference.measures(parameters.gated_method),
    )
