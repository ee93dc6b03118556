"""Graph of chapter 4: panoramas -> encoders -> decoders -> predictions -> scores."""

from collections.abc import Callable, Iterable
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.saliency360 import data_nodes, gating, nodes, scoring
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.plans import MAIN
from ssl_kedro.pipelines.saliency360.report import nodes as report
from ssl_kedro.pipelines.saliency360.report.differences import paired_differences
from ssl_kedro.pipelines.saliency360.report.latitude import latitude_table
from ssl_kedro.pipelines.saliency360.report.tables import all_tables
from ssl_kedro.saliency.folds import ALL

KEY = "saliency360"
ONLY = {"parameters": f"params:{KEY}"}
SUMMARY = f"{KEY}.data_summary"
PRETRAINING = f"{KEY}.data.pretraining"
TABLES = ("table_4_1", "table_4_2", "table_4_3", "table_4_4")
LATITUDE = "table_latitude"
Names = dict[str, str]


def create_pipeline(parameters: Saliency360Parameters, asked: tuple[str, ...] = ()) -> Pipeline:
    """The whole chapter for these parameters, and the parts that tags ask for."""
    models, given = (parameters.chosen_models(asked, kind) for kind in ("trained", "maps"))
    encoders = parameters.chosen_encoders(asked)
    # Of nodes that every part needs.
    every = (part for plan in parameters.models.values() for part in plan.part)
    shared = sorted({"evaluate", *every} - {MAIN})
    made = [Pipeline(_data_nodes(parameters), tags=[*shared, "data", "pretrain", "decode"])]
    for name in encoders:
        parameters.check_size(name)
        parts = {p for plan in models.values() if plan.encoder == name for p in plan.part}
        # An ablation takes encoders of the main models as they are: it never trains them again.
        tags = ["pretrain", name, *({MAIN} if MAIN in parts else parts)]
        made.append(Pipeline([_encoder_node(parameters, name)], tags=tags))
    for name in parameters.gated_encoders(encoders):
        made.append(Pipeline([_gating_node(parameters, name)], tags=["decode", name, "evaluate"]))
    for name, plan in models.items():
        tags = ["decode", name, *plan.part]
        made.append(Pipeline(_decoder_nodes(parameters, name), tags=tags))
        tested = _predict_nodes(parameters, name) + _score_nodes(parameters, name)
        made.append(Pipeline(tested, tags=[*tags, "evaluate"]))
    for name, plan in given.items():
        tags = ["decode", name, *plan.part, "evaluate"]
        made.append(Pipeline(_given_nodes(parameters, name), tags=tags))
    results = _report_nodes(parameters, models, encoders, given)
    made.append(Pipeline(results, tags=[*shared, "decode", "report"]))
    return Pipeline([*made, *_use_nodes(parameters, asked)])


def _of(space: str, *names: str) -> Names:
    """Catalog names of data of one namespace, by the arguments that they are."""
    return {name: f"{space}.{name}" for name in names}


def _data(name: str, *names: str) -> Names:
    return _of(f"{KEY}.data.{name}", *names)


def _stored(name: str) -> Names:
    return {"stored": f"{KEY}.data.{name}.panoramas"}


def _sources(names: Iterable[str]) -> Names:
    return {f"sources.{name}": f"{KEY}.data.{name}.source" for name in names}


def _model(model: str, part: str) -> str:
    return f"{KEY}.models.{model}.{part}.model"


def _node(
    function: Callable[..., Any],
    inputs: Names,
    outputs: str | Names,
    name: str = "",
    namespace: str = KEY,
) -> Node:
    return node(function, inputs, outputs, name=name or function.__name__, namespace=namespace)


def _data_nodes(parameters: Saliency360Parameters) -> list[Node]:
    """Sources checked, panoramas stored, ground truth made, baselines scored."""
    own, unlabelled = parameters.dataset, tuple(parameters.unlabelled)
    checked = ONLY | {"data": SUMMARY}
    roles = {"learnt_from": parameters.learnt_from, "tested": parameters.tested}
    priors = _data(own, "priors")
    every = ONLY | _sources(parameters.datasets + unlabelled)
    seen = checked | {"store": f"{PRETRAINING}.store"} | _sources((own, *unlabelled))
    labelled = ONLY | _stored(own) | _data(own, "truth")
    made = [
        _node(given(data_nodes.check_sources, **roles), every, SUMMARY),
        _node(data_nodes.store_for_pretraining, seen, f"{PRETRAINING}.panoramas"),
        _node(scoring.learn_priors, labelled, priors["priors"]),
    ]
    for name in parameters.datasets:
        source, stored, truth = _data(name, "source"), _stored(name), _data(name, "truth")
        made += [
            _node(
                given(data_nodes.store_panoramas, name=name, own=name == own),
                checked | source | _data(name, "store"),
                stored["stored"],
                f"store_{name}",
            ),
            _node(
                data_nodes.ground_truth,
                ONLY | source | stored,
                truth | _data(name, "truth_summary"),
                f"ground_truth_{name}",
            ),
            _node(
                given(scoring.score_baselines, own=name == own),
                ONLY | stored | truth | priors,
                f"{KEY}.data.{name}.baselines",
                f"score_baselines_{name}",
            ),
        ]
    return made


def _encoder_node(parameters: Saliency360Parameters, encoder: str) -> Node:
    """Where an encoder comes from."""
    space = f"{KEY}.encoders.{encoder}"
    outputs = _of(space, "network", "training")
    kind = parameters.encoders[encoder].kind
    if kind == "random":
        function = given(nodes.random_encoder, encoder=encoder)
        return _node(function, ONLY, outputs, f"random_{encoder}", space)
    if kind != "contrastive":
        inputs = ONLY | _of(space, "file")
        function = given(nodes.given_encoder, encoder=encoder)
        return _node(function, inputs, outputs, f"load_{encoder}", space)
    truths = {f"truths.{name}": f"{KEY}.data.{name}.truth_summary" for name in parameters.datasets}
    inputs = ONLY | _stored("pretraining") | _of(PRETRAINING, "store") | truths
    inputs |= _of(space, "checkpoint", "epoch_log")
    function = given(nodes.pretrain, encoder=encoder)
    return _node(function, inputs, outputs, f"pretrain_{encoder}", space)


def _gating_node(parameters: Saliency360Parameters, encoder: str) -> Node:
    """What the gates of an encoder save."""
    space = f"{KEY}.encoders.{encoder}"
    inputs = ONLY | _data(parameters.dataset, "store") | _stored(parameters.dataset)
    inputs |= _of(space, "network")
    return _node(
        gating.measure_gating, inputs, f"{space}.gating", f"measure_gating_{encoder}", space
    )


def _decoder_nodes(parameters: Saliency360Parameters, model: str) -> list[Node]:
    """Decoders of each part of one model."""
    own, space = parameters.dataset, f"{KEY}.models.{model}"
    inputs = ONLY | _stored(own) | _data(own, "store", "truth", "priors")
    inputs |= _of(f"{KEY}.encoders.{parameters.models[model].encoder}", "network")
    return [
        _node(
            given(nodes.fit, model=model, part_name=part),
            inputs | _of(f"{space}.{part}", "checkpoint", "epoch_log"),
            _of(f"{space}.{part}", "model", "training"),
            f"fit_{model}_{part}",
            space,
        )
        for part in parameters.parts
    ]


def _predict_nodes(parameters: Saliency360Parameters, model: str) -> list[Node]:
    """Predictions of one model for every data set."""
    made = []
    for name in parameters.datasets:
        own = name == parameters.dataset
        # Another data set is predicted by the deployed part; no part tests one made from all.
        parts = [p for p in parameters.parts if p != ALL] if own else [parameters.deployed_part]
        inputs = ONLY | _stored(name) | _data(name, "store")
        inputs |= {f"models.{part}": _model(model, part) for part in parts}
        label = model if own else f"{model} on {name}"
        function = given(nodes.predict_tested, label=label, own=own)
        made.append(_prediction_node(function, inputs, model, name, "predict"))
    return made


def _given_nodes(parameters: Saliency360Parameters, model: str) -> list[Node]:
    """Somebody else's maps of the data sets that they were made for, and their scores."""
    made = []
    for name in parameters.covered(model):
        folder = {"folder": f"{KEY}.models.{model}.{name}.map_folder"}
        inputs = ONLY | _stored(name) | _data(name, "source") | folder
        function = given(scoring.read_maps, model=model, own=name == parameters.dataset)
        made.append(_prediction_node(function, inputs, model, name, "read"))
    return made + _score_nodes(parameters, model)


def _prediction_node(
    function: Callable[..., Any], inputs: Names, model: str, name: str, verb: str
) -> Node:
    space = f"{KEY}.models.{model}"
    return _node(function, inputs, f"{space}.{name}.predictions", f"{verb}_{model}_{name}", space)


def _score_nodes(parameters: Saliency360Parameters, model: str) -> list[Node]:
    """Scores of one model's predictions."""
    space, priors = f"{KEY}.models.{model}", _data(parameters.dataset, "priors")
    return [
        _node(
            given(scoring.score_model, own=name == parameters.dataset),
            ONLY
            | _stored(name)
            | _data(name, "truth")
            | priors
            | _of(f"{space}.{name}", "predictions"),
            f"{space}.{name}.scores",
            f"score_{model}_{name}",
            space,
        )
        for name in parameters.covered(model)
    ]


def _collected(
    parameters: Saliency360Parameters,
    models: Iterable[str],
    encoders: Iterable[str],
    others: Iterable[str],
) -> Names:
    """What results are gathered from; see :func:`report.nodes.collect`."""
    deployed = parameters.deployed_part
    found = {f"pretrained.{name}": f"{KEY}.encoders.{name}.training" for name in encoders}
    for name in parameters.gated_encoders(encoders):
        found[f"gating.{name}"] = f"{KEY}.encoders.{name}.gating"
    for name in parameters.datasets:
        space = f"{KEY}.data.{name}"
        found[f"stored.{name}"] = f"{space}.panoramas"
        found |= {f"{kind}.{name}": f"{space}.{kind}" for kind in ("truth", "baselines")}
        for model in (*models, *others):
            if name in parameters.covered(model):
                found[f"scores.{name}.{model}"] = f"{KEY}.models.{model}.{name}.scores"
    for model in models:
        found[f"fitted.{model}"] = f"{KEY}.models.{model}.{deployed}.training"
        found[f"networks.{model}"] = _model(model, deployed)
    return found


def _report_nodes(
    parameters: Saliency360Parameters,
    models: Iterable[str],
    encoders: Iterable[str],
    others: Iterable[str],
) -> list[Node]:
    """Results over all models, differences, tables, pictures and the report."""
    own, data = parameters.dataset, {"data": SUMMARY}
    runtime, results = _of(KEY, "runtime"), _of(KEY, "results")
    model = {"model": _model(parameters.deploy, parameters.deployed_part)}
    page = ONLY | results | _of(KEY, "differences") | {"manifest": f"{KEY}.run_manifest"}
    page |= _of(KEY, "bundles") | _stored(own) | _data(own, "store", "truth", "priors")
    page |= {f"tables.{name}": f"{KEY}.{name}" for name in (*TABLES, LATITUDE)}
    shown_maps = [name for name in (*models, *others) if own in parameters.covered(name)]
    maps = {f"predictions.{name}": f"{KEY}.models.{name}.{own}.predictions" for name in shown_maps}
    by_latitude = ONLY | _stored(own) | _data(own, "truth", "priors") | maps
    shown = {"scores": f"{KEY}.score_figure"}
    shown |= _of(KEY, "report", "training_curves", "overlays", "poles")
    collected = ONLY | data | runtime | _collected(parameters, models, encoders, others)
    timed = ONLY | _data(parameters.timed, "source") | _stored(parameters.timed) | model
    return [
        _node(nodes.measure_runtime, timed, runtime["runtime"]),
        _node(report.collect, collected, results["results"]),
        _node(paired_differences, results, page["differences"], "differences"),
        _node(report.metrics, results, f"{KEY}.metrics"),
        _node(all_tables, results, _of(KEY, *TABLES), "tables"),
        _node(report.describe_run, ONLY | data | results | _of(KEY, "origins"), page["manifest"]),
        _node(latitude_table, by_latitude, f"{KEY}.{LATITUDE}"),
        _node(report.report, page | maps, shown),
    ]


def _use_nodes(parameters: Saliency360Parameters, asked: tuple[str, ...]) -> list[Node]:
    """Prediction for a user's panoramas, and export; only where they are asked for."""
    inputs = ONLY | {"model": _model(parameters.deploy, parameters.deployed_part)}
    made = []
    if "predict" in asked or parameters.predict.input is not None:
        place = {"folder": f"{KEY}.prediction_folder"}
        predict = _node(nodes.predict, inputs | place, f"{KEY}.predicted_files")
        made.append(predict.tag("predict"))
    if "export" in asked:
        place = {"path": f"{KEY}.onnx_file", **_data(parameters.dataset, "store")}
        export = _node(nodes.export, inputs | place, f"{KEY}.export_check")
        made.append(export.tag("export"))
    return made
