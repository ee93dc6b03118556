"""Graph of chapter 4: panoramas -> encoders -> decoders -> predictions -> scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.pipelines.given import given
from ssl_kedro.pipelines.saliency360 import nodes, report_nodes, score_nodes, use_nodes
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.plans import MAIN

KEY = "saliency360"
PARAMETERS = f"params:{KEY}"
SUMMARY = f"{KEY}.data_summary"
PRETRAINING = f"{KEY}.data.pretraining"


def create_pipeline(parameters: Saliency360Parameters, asked: tuple[str, ...] = ()) -> Pipeline:
    """The whole chapter for these parameters, and the parts that tags ask for."""
    made = _data_nodes(parameters)
    for name in parameters.chosen_encoders(asked):
        parameters.check_size(name)
        made.append(_encoder_node(parameters, name, asked))
    for name in parameters.chosen_models(asked):
        made += _model_nodes(parameters, name, asked)
    made += _report_nodes(parameters, asked)
    made += _use_nodes(parameters, asked)
    return Pipeline(made)


def _data(name: str) -> str:
    return f"{KEY}.data.{name}"


def _network(encoder: str) -> str:
    return f"{KEY}.encoders.{encoder}.network"


def _model(model: str, part: str) -> str:
    return f"{KEY}.models.{model}.{part}"


def _shared_tags(parameters: Saliency360Parameters) -> list[str]:
    """Of nodes that every part needs."""
    return sorted({"evaluate", *(plan.part for plan in parameters.models.values())} - {MAIN})


def _node(
    function: Callable[..., Any],
    inputs: Iterable[str],
    outputs: str | list[str],
    name: str,
    tags: Iterable[str],
    namespace: str = KEY,
) -> Node:
    return node(function, list(inputs), outputs, name=name, namespace=namespace, tags=list(tags))


def _data_nodes(parameters: Saliency360Parameters) -> list[Node]:
    """Sources checked, panoramas stored, ground truth made."""
    tags = [*_shared_tags(parameters), "data", "pretrain", "decode"]
    sources = (*parameters.datasets, *parameters.unlabelled)
    names = (parameters.dataset, *parameters.unlabelled)
    made = [
        _node(
            given(nodes.check_sources, names=sources),
            [PARAMETERS, *(f"{_data(name)}.source" for name in sources)],
            SUMMARY,
            "check_sources",
            tags,
        ),
        _node(
            given(nodes.store_for_pretraining, names=names),
            [
                PARAMETERS,
                SUMMARY,
                *(f"{_data(name)}.source" for name in names),
                f"{PRETRAINING}.store",
            ],
            f"{PRETRAINING}.panoramas",
            "store_for_pretraining",
            tags,
        ),
    ]
    for name in parameters.datasets:
        space = _data(name)
        made += [
            _node(
                given(nodes.store_panoramas, name=name),
                [PARAMETERS, SUMMARY, f"{space}.source", f"{space}.store"],
                f"{space}.panoramas",
                f"store_{name}",
                tags,
            ),
            _node(
                nodes.ground_truth,
                [PARAMETERS, f"{space}.source", f"{space}.panoramas"],
                [f"{space}.truth", f"{space}.truth_summary"],
                f"ground_truth_{name}",
                tags,
            ),
        ]
    own = _data(parameters.dataset)
    made.append(
        _node(
            score_nodes.learn_priors,
            [PARAMETERS, f"{own}.panoramas", f"{own}.truth"],
            f"{own}.priors",
            "learn_priors",
            tags,
        )
    )
    for name in parameters.datasets:
        made.append(
            _node(
                given(score_nodes.score_baselines, own=name == parameters.dataset),
                [PARAMETERS, f"{_data(name)}.panoramas", f"{_data(name)}.truth", f"{own}.priors"],
                f"{_data(name)}.baselines",
                f"score_baselines_{name}",
                tags,
            )
        )
    return made


def _encoder_node(parameters: Saliency360Parameters, encoder: str, asked: tuple[str, ...]) -> Node:
    """Where an encoder comes from."""
    space = f"{KEY}.encoders.{encoder}"
    parts = {m.part for m in parameters.chosen_models(asked).values() if m.encoder == encoder}
    # An ablation takes encoders of the main models as they are: it never trains them again.
    tags = sorted({"pretrain", encoder, *({MAIN} if MAIN in parts else parts)})
    outputs = [f"{space}.network", f"{space}.training"]
    kind = parameters.encoders[encoder].kind
    if kind == "random":
        return _node(
            given(nodes.random_encoder, encoder=encoder),
            [PARAMETERS],
            outputs,
            f"random_{encoder}",
            tags,
            space,
        )
    if kind == "file":
        return _node(
            nodes.earlier_encoder, [f"{space}.file"], outputs, f"load_{encoder}", tags, space
        )
    inputs = [
        PARAMETERS,
        f"{PRETRAINING}.panoramas",
        f"{PRETRAINING}.store",
        f"{space}.checkpoint",
        f"{space}.epoch_log",
        *(f"{_data(name)}.truth_summary" for name in parameters.datasets),
    ]
    return _node(
        given(nodes.pretrain, encoder=encoder), inputs, outputs, f"pretrain_{encoder}", tags, space
    )


def _model_nodes(
    parameters: Saliency360Parameters, model: str, asked: tuple[str, ...]
) -> list[Node]:
    """Decoders of each part, predictions and scores of one model."""
    plan = parameters.chosen_models(asked)[model]
    own = _data(parameters.dataset)
    space = f"{KEY}.models.{model}"
    tags = sorted({model, plan.part})
    made = []
    for part in parameters.parts:
        fitted = _model(model, part)
        made.append(
            _node(
                given(nodes.fit, model=model, part_name=part),
                [
                    PARAMETERS,
                    _network(plan.encoder),
                    f"{own}.panoramas",
                    f"{own}.store",
                    f"{own}.truth",
                    f"{own}.priors",
                    f"{fitted}.checkpoint",
                    f"{fitted}.epoch_log",
                ],
                [f"{fitted}.model", f"{fitted}.training"],
                f"fit_{model}_{part}",
                ["decode", *tags],
                space,
            )
        )
    for name in parameters.datasets:
        predictions = f"{space}.{name}.predictions"
        if name == parameters.dataset:
            made.append(
                _node(
                    given(
                        nodes.predict_tested,
                        parts=parameters.tested_parts,
                        label=model,
                    ),
                    [
                        PARAMETERS,
                        f"{own}.panoramas",
                        f"{own}.store",
                        *(f"{_model(model, part)}.model" for part in parameters.tested_parts),
                    ],
                    predictions,
                    f"predict_{model}_{name}",
                    ["decode", "evaluate", *tags],
                    space,
                )
            )
        else:
            made.append(
                _node(
                    given(nodes.predict_others, label=f"{model} on {name}"),
                    [
                        PARAMETERS,
                        f"{_data(name)}.panoramas",
                        f"{_data(name)}.store",
                        f"{_model(model, parameters.deployed_part)}.model",
                    ],
                    predictions,
                    f"predict_{model}_{name}",
                    ["decode", "evaluate", *tags],
                    space,
                )
            )
        made.append(
            _node(
                given(score_nodes.score_model, own=name == parameters.dataset),
                [
                    PARAMETERS,
                    f"{_data(name)}.panoramas",
                    f"{_data(name)}.truth",
                    f"{own}.priors",
                    predictions,
                ],
                f"{space}.{name}.scores",
                f"score_{model}_{name}",
                ["decode", "evaluate", *tags],
                space,
            )
        )
    return made


def _report_nodes(parameters: Saliency360Parameters, asked: tuple[str, ...]) -> list[Node]:
    """Results over all models, tables, pictures and the report."""
    models = tuple(parameters.chosen_models(asked))
    encoders = tuple(parameters.chosen_encoders(asked))
    datasets, deployed = parameters.datasets, parameters.deployed_part
    own = _data(parameters.dataset)
    tags = [*_shared_tags(parameters), "decode", "report"]
    results = f"{KEY}.results"
    tables = [f"{KEY}.table_4_{number}" for number in (1, 2, 3, 4)]
    networks = [f"{_model(model, deployed)}.model" for model in models]
    pairs = tuple((name, model) for name in datasets for model in models)
    made: list[tuple[Callable[..., Any], list[str], str | list[str], str]] = [
        (
            report_nodes.measure_runtime,
            [PARAMETERS, f"{own}.store", f"{_model(parameters.deploy, deployed)}.model"],
            f"{KEY}.runtime",
            "measure_runtime",
        ),
        (
            given(report_nodes.collect, datasets=datasets, encoders=encoders, models=models),
            [
                PARAMETERS,
                SUMMARY,
                f"{KEY}.runtime",
                *(f"{_data(name)}.panoramas" for name in datasets),
                *(f"{_data(name)}.truth" for name in datasets),
                *(f"{_data(name)}.baselines" for name in datasets),
                *(f"{KEY}.encoders.{name}.training" for name in encoders),
                *(f"{_model(model, deployed)}.training" for model in models),
                *networks,
                *(f"{KEY}.models.{model}.{name}.scores" for name, model in pairs),
            ],
            results,
            "collect",
        ),
        (report_nodes.metrics, [results], f"{KEY}.metrics", "metrics"),
        (report_nodes.tables, [results], tables, "tables"),
        (
            report_nodes.describe_run,
            [PARAMETERS, SUMMARY, results],
            f"{KEY}.run_manifest",
            "describe_run",
        ),
        (
            given(report_nodes.overlays, models=models),
            [
                PARAMETERS,
                f"{own}.panoramas",
                f"{own}.store",
                f"{own}.truth",
                f"{own}.priors",
                *(f"{KEY}.models.{model}.{parameters.dataset}.predictions" for model in models),
            ],
            f"{KEY}.overlays",
            "overlays",
        ),
        (
            report_nodes.figures,
            [results],
            [f"{KEY}.score_figure", f"{KEY}.training_curves"],
            "figures",
        ),
        (
            given(report_nodes.render_report, models=models),
            [
                PARAMETERS,
                results,
                f"{KEY}.run_manifest",
                *tables,
                f"{own}.panoramas",
                f"{own}.store",
                f"{own}.truth",
                f"{own}.priors",
                *(f"{KEY}.models.{model}.{parameters.dataset}.predictions" for model in models),
            ],
            f"{KEY}.report",
            "report",
        ),
    ]
    return [
        _node(function, inputs, outputs, name, tags) for function, inputs, outputs, name in made
    ]


def _use_nodes(parameters: Saliency360Parameters, asked: tuple[str, ...]) -> list[Node]:
    """Prediction for a user's panoramas, and export; only where they are asked for."""
    trained = f"{_model(parameters.deploy, parameters.deployed_part)}.model"
    made = []
    if "predict" in asked or parameters.predict.input is not None:
        made.append(
            _node(
                use_nodes.predict,
                [PARAMETERS, trained, f"{KEY}.prediction_folder"],
                f"{KEY}.predicted_files",
                "predict",
                ["predict"],
            )
        )
    if "export" in asked:
        made.append(
            _node(
                use_nodes.export,
                [PARAMETERS, trained, f"{_data(parameters.dataset)}.store", f"{KEY}.onnx_file"],
                f"{KEY}.export_check",
                "export",
                ["export"],
            )
        )
    return made
