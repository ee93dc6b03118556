"""Graph of chapter 3: images -> vectors -> whitening -> descriptors -> rankings -> scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.pipelines.given import given
from ssl_kedro.pipelines.retrieval_eval import nodes, report_nodes
from ssl_kedro.pipelines.retrieval_eval.parameters import NONE, RetrievalEvalParameters

KEY = "retrieval_eval"
PARAMETERS = f"params:{KEY}"
DATA = f"{KEY}.data_summary"


def create_pipeline(parameters: RetrievalEvalParameters, _: Sequence[str] = ()) -> Pipeline:
    """The whole chapter for these parameters, whatever tags the run has."""
    made = [*_data_nodes(parameters)]
    for task in parameters.tasks:
        if parameters.own_descriptors:
            made.append(_own_descriptors_node(parameters.descriptors.name, task))
        for encoder in parameters.present_encoders if not parameters.own_descriptors else ():
            made += _encoder_nodes(parameters, task, encoder)
        if not parameters.own_descriptors:
            for name, members in parameters.present_ensembles.items():
                made.append(_ensemble_node(parameters, task, name, members))
        for name in parameters.evaluated:
            made += _search_nodes(parameters, task, name)
    if not parameters.own_descriptors:
        made += _whitening_nodes(parameters)
    made += _report_nodes(parameters)
    return Pipeline(made)


def _task_data(task: str) -> str:
    return f"{KEY}.{task}.task"


def _whitening_sets(parameters: RetrievalEvalParameters) -> tuple[str, ...]:
    """Data sets that some task is whitened on."""
    found = [name for task in parameters.tasks for name in parameters.whitening_sets(task)]
    return tuple(dict.fromkeys(name for name in found if name != NONE))


def _data_nodes(parameters: RetrievalEvalParameters) -> list[Node]:
    names = dict.fromkeys(parameters.tasks)
    if not parameters.own_descriptors:
        names |= dict.fromkeys(_whitening_sets(parameters))
    inputs = [PARAMETERS, *(_task_data(name) for name in names)]
    return [_shared_node(nodes.check_data, inputs, DATA, "check_data", ["extract"])]


def _node(
    function: Callable[..., Any],
    inputs: Iterable[str],
    outputs: str | list[str],
    task: str,
    encoder: str,
    tags: Iterable[str] = ("evaluate",),
) -> Node:
    """A node of one encoder on one task, in their namespace."""
    return node(
        function,
        list(inputs),
        outputs,
        name=f"{function.__name__}_{encoder}_{task}",
        namespace=f"{KEY}.{task}.{encoder}",
        tags=[*tags, task, encoder],
    )


def _shared_node(
    function: Callable[..., Any],
    inputs: list[str],
    outputs: str | list[str],
    name: str,
    tags: Iterable[str],
) -> Node:
    """A node of all tasks. Kedro-Viz folds away what only the nodes of one namespace read."""
    return node(function, inputs, outputs, name=name, namespace=KEY, tags=list(tags))


def _extract_node(task: str, encoder: str) -> Node:
    space = f"{KEY}.{task}.{encoder}"
    inputs = [
        PARAMETERS,
        DATA,
        _task_data(task),
        f"{KEY}.{encoder}.network",
        f"{space}.database_vectors",
        f"{space}.query_vectors",
    ]
    function = given(nodes.extract, encoder=encoder)
    return _node(function, inputs, f"{space}.extraction", task, encoder, ["extract"])


def _database_node(parameters: RetrievalEvalParameters, task: str, encoder: str) -> Node:
    space = f"{KEY}.{task}.{encoder}"
    return _node(
        nodes.describe_database,
        [
            PARAMETERS,
            f"{space}.extraction",
            f"{space}.database_vectors",
            *_main_whitening(parameters, task, encoder),
        ],
        f"{space}.descriptors",
        task,
        encoder,
    )


def _main_whitening(parameters: RetrievalEvalParameters, task: str, encoder: str) -> list[str]:
    """Catalog name of the whitening that makes a task's descriptors, none without one."""
    main = parameters.whitening_sets(task)[0]
    return [] if main == NONE else [f"{KEY}.{main}.{encoder}.whitening"]


def _encoder_nodes(parameters: RetrievalEvalParameters, task: str, encoder: str) -> list[Node]:
    """Descriptors of one encoder for one task, and its sweep."""
    space = f"{KEY}.{task}.{encoder}"
    sets = tuple(name for name in parameters.whitening_sets(task) if name != NONE)
    return [
        _extract_node(task, encoder),
        _database_node(parameters, task, encoder),
        _node(
            nodes.describe_queries,
            [
                PARAMETERS,
                f"{space}.extraction",
                _task_data(task),
                f"{space}.query_vectors",
                f"{space}.descriptors",
                *_main_whitening(parameters, task, encoder),
            ],
            f"{space}.query_descriptors",
            task,
            encoder,
        ),
        _node(
            given(nodes.sweep, names=sets),
            [
                PARAMETERS,
                f"{space}.extraction",
                _task_data(task),
                f"{space}.database_vectors",
                f"{space}.query_vectors",
                *(f"{KEY}.{name}.{encoder}.whitening" for name in sets),
            ],
            f"{space}.sweep",
            task,
            encoder,
        ),
    ]


def _whitening_nodes(parameters: RetrievalEvalParameters) -> list[Node]:
    """Whitening by each encoder, and vectors of sets that only teach it."""
    made = []
    for name in _whitening_sets(parameters):
        for encoder in parameters.present_encoders:
            space = f"{KEY}.{name}.{encoder}"
            if name not in parameters.tasks:
                made.append(_extract_node(name, encoder))
                if _in_ensemble(parameters, encoder):
                    made.append(_database_node(parameters, name, encoder))
            made.append(
                _node(
                    nodes.learn_whitening,
                    [f"{space}.extraction", f"{space}.database_vectors"],
                    f"{space}.whitening",
                    name,
                    encoder,
                )
            )
    return made


def _in_ensemble(parameters: RetrievalEvalParameters, encoder: str) -> bool:
    return any(encoder in members for members in parameters.present_ensembles.values())


def _ensemble_node(
    parameters: RetrievalEvalParameters, task: str, name: str, members: tuple[str, ...]
) -> Node:
    main = parameters.whitening_sets(task)[0]
    inputs = [f"{KEY}.{task}.{member}.descriptors" for member in members]
    inputs += [f"{KEY}.{task}.{member}.query_descriptors" for member in members]
    if main not in (NONE, task):
        inputs += [f"{KEY}.{main}.{member}.descriptors" for member in members]
    space = f"{KEY}.{task}.{name}"
    return _node(
        given(nodes.describe_ensemble, members=len(members)),
        [PARAMETERS, *inputs],
        [f"{space}.descriptors", f"{space}.query_descriptors"],
        task,
        name,
    )


def _own_descriptors_node(name: str, task: str) -> Node:
    space = f"{KEY}.{task}.{name}"
    return _node(
        given(nodes.check_own_descriptors, task=task),
        [PARAMETERS, DATA, f"{KEY}.own_database", f"{KEY}.own_queries"],
        [f"{space}.descriptors", f"{space}.query_descriptors"],
        task,
        name,
    )


def _search_nodes(parameters: RetrievalEvalParameters, task: str, name: str) -> list[Node]:
    """Index where search is not exact, rankings, re-ranking and scores."""
    space = f"{KEY}.{task}.{name}"
    described = [f"{space}.descriptors", f"{space}.query_descriptors"]
    made = []
    found_index = []
    if parameters.search.index != "exact":
        found_index = [f"{space}.index"]
        made.append(_node(nodes.index, [PARAMETERS, described[0]], found_index[0], task, name))
    whitened_on = "own" if parameters.own_descriptors else parameters.whitening_sets(task)[0]
    made += [
        _node(
            nodes.search, [PARAMETERS, *described, *found_index], f"{space}.rankings", task, name
        ),
        _node(
            nodes.rerank,
            [PARAMETERS, _task_data(task), *described, f"{space}.rankings", *found_index],
            f"{space}.reranked",
            task,
            name,
        ),
        _node(
            given(nodes.score, whitened_on=whitened_on),
            [
                PARAMETERS,
                DATA,
                _task_data(task),
                *described,
                f"{space}.rankings",
                f"{space}.reranked",
            ],
            f"{space}.evaluation",
            task,
            name,
        ),
    ]
    if not parameters.own_descriptors:
        made.append(
            _node(
                report_nodes.gallery,
                [PARAMETERS, _task_data(task), f"{space}.rankings", f"{space}.evaluation"],
                f"{space}.gallery",
                task,
                name,
                ["evaluate", "report"],
            )
        )
    return made


def _report_nodes(parameters: RetrievalEvalParameters) -> list[Node]:
    """Metrics, Tables 3.1 to 3.4, manifest and report over all tasks and encoders."""
    pairs = tuple((t, e) for t in parameters.tasks for e in parameters.evaluated)
    encoders = () if parameters.own_descriptors else parameters.present_encoders
    own = tuple((t, e) for t in parameters.tasks for e in encoders)
    results, extractions, sweeps = (
        [f"{KEY}.{t}.{e}.{kind}" for t, e in of]
        for kind, of in (("evaluation", pairs), ("extraction", own), ("sweep", own))
    )
    collected = f"{KEY}.results"
    tables = [f"{KEY}.table_3_{number}" for number in (1, 2, 3, 4)]
    best = [] if parameters.own_descriptors else [_task_data(t) for t in parameters.tasks]
    rankings = [f"{KEY}.{t}.{e}.rankings" for t, e in pairs] if best else []
    made: list[tuple[Callable[..., Any], list[str], str | list[str], str]] = [
        (
            given(report_nodes.collect, pairs=pairs, own=own),
            [*results, *extractions, *sweeps],
            collected,
            "collect",
        ),
        (report_nodes.metrics, [DATA, collected], f"{KEY}.metrics", "metrics"),
        (report_nodes.tables, [PARAMETERS, collected], tables, "tables"),
        (
            report_nodes.describe_run,
            [PARAMETERS, DATA, collected],
            f"{KEY}.run_manifest",
            "describe_run",
        ),
        (report_nodes.sweep_figure, [DATA, collected], f"{KEY}.dimensions", "dimensions"),
        (
            given(report_nodes.render_report, pairs=pairs if best else ()),
            [
                PARAMETERS,
                DATA,
                collected,
                f"{KEY}.run_manifest",
                *tables,
                *best,
                *rankings,
            ],
            f"{KEY}.report",
            "report",
        ),
    ]
    return [
        _shared_node(function, inputs, outputs, name, ["evaluate", "report"])
        for function, inputs, outputs, name in made
    ]
