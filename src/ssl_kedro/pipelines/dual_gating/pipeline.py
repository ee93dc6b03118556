"""The graph of chapter 6: one namespace a budget, added by configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.images.load import has_unlabelled_part
from ssl_kedro.pipelines.dual_gating import nodes, report_nodes
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.parameters import budget_name

KEY = "dual_gating"
PARAMETERS = f"params:{KEY}"
TABLE_TAG = "table_6_1"


@dataclass(frozen=True)
class Model:
    """One training of the pipeline.

    Args:
        key: its name in metrics, e.g. "dual.budget_30".
        namespace: of its nodes and of its data in the catalog.
        method: the method's name.
        budget: t_d, or None for a dense method.
    """

    key: str
    namespace: str
    method: str
    budget: float | None


def models(parameters: DualGatingParameters) -> list[Model]:
    """What is trained: the dense baseline once, two gated methods a budget."""
    planned = [Model("vicreg", f"{KEY}.vicreg", "vicreg", None)]
    for budget in parameters.budgets:
        name = budget_name(budget)
        space = f"{KEY}.{name}"
        planned += [
            Model(f"vicreg_gating.{name}", f"{space}.vicreg_gating", "vicreg_gating", budget),
            Model(f"dual.{name}", space, "dual_gating", budget),
        ]
    return planned


def create_pipeline(parameters: DualGatingParameters) -> Pipeline:
    """Chapter 6 for these parameters."""
    planned = models(parameters)
    pretrain_part = "pretrain" if has_unlabelled_part(parameters.data.source) else "train"
    every_budget = [f"budget_{tag.split('_')[1]}" for tag in map(budget_name, parameters.budgets)]
    graph = _preparation(pretrain_part, every_budget)
    for model in planned:
        graph += _model_nodes(model, pretrain_part, every_budget)
    return Pipeline([*graph, *_report_nodes(planned)])


def _preparation(pretrain_part: str, tags: list[str]) -> list[Node]:
    """Data summary, arithmetic and baselines, which every budget needs."""
    return [
        node(
            nodes.summarise_data,
            [f"{KEY}.{pretrain_part}_images", f"{KEY}.train_images", f"{KEY}.eval_images"],
            f"{KEY}.data_summary",
            name="summarise_data",
            tags=[TABLE_TAG, *tags],
        ),
        node(
            nodes.select_execution,
            [PARAMETERS, f"{KEY}.data_summary"],
            f"{KEY}.execution",
            name="select_execution",
            tags=[TABLE_TAG, *tags],
        ),
        node(
            nodes.measure_baselines,
            [PARAMETERS, f"{KEY}.data_summary", f"{KEY}.train_images", f"{KEY}.eval_images"],
            f"{KEY}.baselines",
            name="measure_baselines",
            tags=[TABLE_TAG, *tags],
        ),
    ]


def _model_nodes(model: Model, pretrain_part: str, every_budget: list[str]) -> list[Node]:
    """Training, features and evaluation of one model, inside its namespace."""
    space = model.namespace
    tags = [TABLE_TAG, model.method]
    tags += every_budget if model.budget is None else [budget_name(model.budget)]
    given = {"method": model.method, "budget": model.budget}
    name = model.key.replace(".", "_")
    return [
        node(
            _given(nodes.pretrain, **given),
            [
                PARAMETERS,
                f"{KEY}.data_summary",
                f"{KEY}.execution",
                f"{KEY}.{pretrain_part}_images",
                f"{space}.checkpoint",
                f"{space}.epoch_log",
            ],
            [f"{space}.encoder", f"{space}.training"],
            name=f"pretrain_{name}",
            namespace=space,
            tags=[*tags, "pretrain"],
        ),
        node(
            nodes.extract,
            [PARAMETERS, f"{space}.encoder", f"{KEY}.train_images", f"{KEY}.eval_images"],
            f"{space}.features",
            name=f"extract_{name}",
            namespace=space,
            tags=tags,
        ),
        node(
            _given(nodes.evaluate, **given),
            [
                PARAMETERS,
                f"{KEY}.data_summary",
                f"{space}.encoder",
                f"{space}.features",
                f"{space}.training",
                f"{KEY}.train_images",
                f"{KEY}.eval_images",
            ],
            f"{space}.evaluation",
            name=f"evaluate_{name}",
            namespace=space,
            tags=tags,
        ),
    ]


def _report_nodes(planned: list[Model]) -> list[Node]:
    """Metrics, Table 6.1, figures, manifest and report over all models."""
    keys = tuple(model.key for model in planned)
    spaces = [model.namespace for model in planned]
    # Fig. 6.2 compares dual gating with the dense baseline.
    shown = [model for model in planned if model.method != "vicreg_gating"]
    gather: list[tuple[Callable[..., Any], list[str], str | list[str]]] = [
        (
            _given(report_nodes.collect_models, keys=keys),
            [f"{space}.evaluation" for space in spaces],
            f"{KEY}.models",
        ),
        (
            _given(report_nodes.collect_histories, keys=keys),
            [f"{space}.training" for space in spaces],
            f"{KEY}.histories",
        ),
        (
            _given(report_nodes.embed_features, keys=tuple(model.key for model in shown)),
            [PARAMETERS, f"{KEY}.eval_images", *(f"{m.namespace}.features" for m in shown)],
            f"{KEY}.embedding",
        ),
        (report_nodes.flat_metrics, [f"{KEY}.models", f"{KEY}.baselines"], f"{KEY}.metrics"),
        (report_nodes.table_6_1, [PARAMETERS, f"{KEY}.metrics"], f"{KEY}.table_6_1"),
        (
            report_nodes.describe_run,
            [PARAMETERS, f"{KEY}.data_summary", f"{KEY}.execution", f"{KEY}.models"],
            f"{KEY}.run_manifest",
        ),
        (
            report_nodes.figures,
            [f"{KEY}.metrics", f"{KEY}.models", f"{KEY}.histories", f"{KEY}.embedding"],
            [
                f"{KEY}.training_curves",
                f"{KEY}.accuracy_against_cost",
                f"{KEY}.channel_usage",
                f"{KEY}.embedding_plot",
            ],
        ),
        (
            report_nodes.render_report,
            [
                PARAMETERS,
                f"{KEY}.metrics",
                f"{KEY}.models",
                f"{KEY}.histories",
                f"{KEY}.embedding",
                f"{KEY}.run_manifest",
                f"{KEY}.table_6_1",
            ],
            f"{KEY}.report",
        ),
    ]
    return [
        node(function, inputs, outputs, name=function.__name__, tags=[TABLE_TAG, "report"])
        for function, inputs, outputs in gather
    ]


def _given(function: Callable[..., Any], **constants: Any) -> Callable[..., Any]:
    """Function with constants bound, under its own name."""
    return update_wrapper(partial(function, **constants), function)
