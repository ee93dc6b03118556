"""Graph of chapter 4: panoramas -> encoders -> decoders -> predictions -> scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.pipelines.given import given
from ssl_kedro.pipelines.saliency360 import nodes, scoring
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.plans import MAIN
from ssl_kedro.pipelines.saliency360.report import nodes as report

KEY = "saliency360"
ONLY = {"parameters": f"params:{KEY}"}
SUMMARY = f"{KEY}.data_summary"
PRETRAINING = f"{KEY}.data.pretraining"
TABLES = ("table_4_1", "table_4_2", "table_4_3", "table_4_4")
Names = Mapping[str, str]


def create_pipeline(parameters: Saliency360Parameters, asked: tuple[str, ...] = ()) -> Pipeline:
    """The whole chapter for these parameters, and the parts that tags ask for."""
    made = _data_nodes(parameters)
    for name in parameters.chosen_encoders(asked):
        parameters.check_size(name)
        made.append(_encoder_node(parameters, name, asked))
    for name in parameters.chosen_models(asked):
        made += _decoder_nodes(parameters, name, asked)
        made += _score_nodes(parameters, name, asked)
    return Pipeline([*made, *_report_nodes(parameters, asked), *_use_nodes(parameters, asked)])


def _of(space: str, *names: str) -> dict[str, str]:
    """Catalog names of data of one namespace, by the arguments that they are."""
    return {name: f"{space}.{name}" for name in names}


def _data(name: str, *names: str) -> dict[str, str]:
    return _of(f"{KEY}.data.{name}", *names)


def _model(model: str, part: str) -> str:
    return f"{KEY}.models.{model}.{part}.model"


def _shared_tags(parameters: Saliency360Parameters) -> list[str]:
    """Of nodes that every part needs."""
    return sorted({"evaluate", *(plan.part for plan in parameters.models.values())} - {MAIN})


def _node(
    function: Callable[..., Any],
    inputs: Names,
    outputs: str | Names,
    tags: Iterable[str],
    name: str = "",
    namespace: str = KEY,
) -> Node:
    return node(
        function,
        dict(inputs),
        outputs if isinstance(outputs, str) else dict(outputs),
        name=name or function.__name__,
        namespace=namespace,
        tags=list(tags),
    )


def _sources(names: Iterable[str]) -> dict[str, str]:
    return {f"sources.{name}": f"{KEY}.data.{name}.source" for name in names}


def _data_nodes(parameters: Saliency360Parameters) -> list[Node]:
    """Sources checked, panoramas stored, ground truth made, baselines scored."""
    tags = [*_shared_tags(parameters), "data", "pretrain", "decode"]
    checked = {**ONLY, "data": SUMMARY}
    every = (*parameters.datasets, *parameters.unlabelled)
    seen = (parameters.dataset, *parameters.unlabelled)
    own = parameters.dataset
    priors = _data(own, "priors")
    made = [
        _node(nodes.check_sources, {**ONLY, **_sources(every)}, SUMMARY, tags),
        _node(
            nodes.store_for_pretraining,
            {**checked, "store": f"{PRETRAINING}.store", **_sources(seen)},
            f"{PRETRAINING}.panoramas",
            tags,
        ),
        _node(
            scoring.learn_priors,
            {**ONLY, **_stored(own), **_data(own, "truth")},
            priors["priors"],
            tags,
        ),
    ]
    for name in parameters.datasets:
        made += [
            _node(
                given(nodes.store_panoramas, name=name),
                {**checked, **_data(name, "source", "store")},
                f"{KEY}.data.{name}.panoramas",
                tags,
                f"store_{name}",
            ),
            _node(
                nodes.ground_truth,
                {**ONLY, **_data(name, "source"), **_stored(name)},
                _data(name, "truth", "truth_summary"),
                tags,
                f"ground_truth_{name}",
            ),
            _node(
                given(scoring.score_baselines, own=name == own),
                {**ONLY, **_stored(name), **_data(name, "truth"), **priors},
                f"{KEY}.data.{name}.baselines",
                tags,
                f"score_baselines_{name}",
            ),
        ]
    return made


def _stored(name: str) -> dict[str, str]:
    return {"stored": f"{KEY}.data.{name}.panoramas"}


def _encoder_node(parameters: Saliency360Parameters, encoder: str, asked: tuple[str, ...]) -> Node:
    """Where an encoder comes from."""
    space = f"{KEY}.encoders.{encoder}"
    parts = {m.part for m in parameters.chosen_models(asked).values() if m.encoder == encoder}
    # An ablation takes encoders of the main models as they are: it never trains them again.
    tags = sorted({"pretrain", encoder, *({MAIN} if MAIN in parts else parts)})
    outputs = _of(space, "network", "training")
    kind = parameters.encoders[encoder].kind
    if kind == "random":
        function = given(nodes.random_encoder, encoder=encoder)
        return _node(function, ONLY, outputs, tags, f"random_{encoder}", space)
    if kind == "file":
        inputs: Names = _of(space, "file")
        return _node(nodes.earlier_encoder, inputs, outputs, tags, f"load_{encoder}", space)
    inputs = {
        **ONLY,
        **_stored("pretraining"),
        "store": f"{PRETRAINING}.store",
        **_of(space, "checkpoint", "epoch_log"),
        **{f"truths.{name}": f"{KEY}.data.{name}.truth_summary" for name in parameters.datasets},
    }
    function = given(nodes.pretrain, encoder=encoder)
    return _node(function, inputs, outputs, tags, f"pretrain_{encoder}", space)


def _decoder_nodes(
    parameters: Saliency360Parameters, model: str, asked: tuple[str, ...]
) -> list[Node]:
    """Decoders of each part of one model."""
    plan = parameters.chosen_models(asked)[model]
    own = parameters.dataset
    space = f"{KEY}.models.{model}"
    return [
        _node(
            given(nodes.fit, model=model, part_name=part),
            {
                **ONLY,
                "network": f"{KEY}.encoders.{plan.encoder}.network",
                **_stored(own),
                **_data(own, "store", "truth", "priors"),
                **_of(f"{space}.{part}", "checkpoint", "epoch_log"),
            },
            _of(f"{space}.{part}", "model", "training"),
            sorted({"decode", model, plan.part}),
            f"fit_{model}_{part}",
            space,
        )
        for part in parameters.parts
    ]


def _score_nodes(
    parameters: Saliency360Parameters, model: str, asked: tuple[str, ...]
) -> list[Node]:
    """Predictions and scores of one model on every data set."""
    space = f"{KEY}.models.{model}"
    tags = sorted({"decode", "evaluate", model, parameters.chosen_models(asked)[model].part})
    made = []
    for name in parameters.datasets:
        own = name == parameters.dataset
        if own:
            function = given(nodes.predict_tested, label=model)
            models = {f"models.{part}": _model(model, part) for part in parameters.tested_parts}
        else:
            function = given(nodes.predict_others, label=f"{model} on {name}")
            models = {"model": _model(model, parameters.deployed_part)}
        predictions = {"predictions": f"{space}.{name}.predictions"}
        made += [
            _node(
                function,
                {**ONLY, **_stored(name), **_data(name, "store"), **models},
                predictions["predictions"],
                tags,
                f"predict_{model}_{name}",
                space,
            ),
            _node(
                given(scoring.score_model, own=own),
                {
                    **ONLY,
                    **_stored(name),
                    **_data(name, "truth"),
                    **_data(parameters.dataset, "priors"),
                    **predictions,
                },
                f"{space}.{name}.scores",
                tags,
                f"score_{model}_{name}",
                space,
            ),
        ]
    return made


def _collected(parameters: Saliency360Parameters, asked: tuple[str, ...]) -> dict[str, str]:
    """What results are gathered from; see :func:`report.nodes.collect`."""
    models, deployed = parameters.chosen_models(asked), parameters.deployed_part
    found = {}
    for name in parameters.datasets:
        space = f"{KEY}.data.{name}"
        found[f"stored.{name}"] = f"{space}.panoramas"
        found |= {f"{kind}.{name}": f"{space}.{kind}" for kind in ("truth", "baselines")}
        for model in models:
            found[f"scores.{name}.{model}"] = f"{KEY}.models.{model}.{name}.scores"
    for name in parameters.chosen_encoders(asked):
        found[f"pretrained.{name}"] = f"{KEY}.encoders.{name}.training"
    for model in models:
        found[f"fitted.{model}"] = f"{KEY}.models.{model}.{deployed}.training"
        found[f"networks.{model}"] = _model(model, deployed)
    return found


def _report_nodes(parameters: Saliency360Parameters, asked: tuple[str, ...]) -> list[Node]:
    """Results over all models, differences, tables, pictures and the report."""
    own = parameters.dataset
    tags = [*_shared_tags(parameters), "decode", "report"]
    data, runtime = {"data": SUMMARY}, _of(KEY, "runtime")
    results, differences = _of(KEY, "results"), _of(KEY, "differences")
    manifest = f"{KEY}.run_manifest"
    deployed = {"model": _model(parameters.deploy, parameters.deployed_part)}
    shown = {
        **_stored(own),
        **_data(own, "store", "truth", "priors"),
        **{
            f"predictions.{model}": f"{KEY}.models.{model}.{own}.predictions"
            for model in parameters.chosen_models(asked)
        },
    }
    collected = {**ONLY, **data, **runtime, **_collected(parameters, asked)}
    figures = {"scores": f"{KEY}.score_figure", **_of(KEY, "training_curves")}
    page = {
        **ONLY,
        **results,
        **differences,
        "manifest": manifest,
        **{f"tables.{name}": f"{KEY}.{name}" for name in TABLES},
        **shown,
    }
    timed = {**ONLY, **_data(own, "store"), **deployed}
    return [
        _node(nodes.measure_runtime, timed, runtime["runtime"], tags),
        _node(report.collect, collected, results["results"], tags),
        _node(report.differences, results, differences["differences"], tags),
        _node(report.metrics, results, f"{KEY}.metrics", tags),
        _node(report.tables, results, _of(KEY, *TABLES), tags),
        _node(report.describe_run, {**ONLY, **data, **results}, manifest, tags),
        _node(report.overlays, {**ONLY, **shown}, f"{KEY}.overlays", tags),
        _node(report.figures, results, figures, tags),
        _node(report.report, page, f"{KEY}.report", tags),
    ]


def _use_nodes(parameters: Saliency360Parameters, asked: tuple[str, ...]) -> list[Node]:
    """Prediction for a user's panoramas, and export; only where they are asked for."""
    inputs = {**ONLY, "model": _model(parameters.deploy, parameters.deployed_part)}
    made = []
    if "predict" in asked or parameters.predict.input is not None:
        place = {"folder": f"{KEY}.prediction_folder"}
        made.append(
            _node(nodes.predict, {**inputs, **place}, f"{KEY}.predicted_files", ["predict"])
        )
    if "export" in asked:
        place = {"path": f"{KEY}.onnx_file", **_data(parameters.dataset, "store")}
        made.append(_node(nodes.export, {**inputs, **place}, f"{KEY}.export_check", ["export"]))
    return made
