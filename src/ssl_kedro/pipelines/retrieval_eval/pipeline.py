"""Graph of chapter 3: images -> vectors -> whitening -> descriptors -> rankings -> scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.pipelines.given import given
from ssl_kedro.pipelines.retrieval_eval import nodes
from ssl_kedro.pipelines.retrieval_eval.parameters import NONE, RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.report import nodes as report

KEY = "retrieval_eval"
PARAMETERS = f"params:{KEY}"
DATA = f"{KEY}.data_summary"
TABLES = ("table_3_1", "table_3_2", "table_3_3", "table_3_4")


@dataclass(frozen=True)
class Space:
    """The namespace of one encoder, or ensemble, on one task."""

    task: str
    encoder: str

    def name(self, data: str) -> str:
        """Catalog name of something of theirs."""
        return f"{KEY}.{self.task}.{self.encoder}.{data}"

    def node(
        self,
        function: Callable[..., Any],
        own: Iterable[str],
        outputs: str | Iterable[str],
        *,
        tags: Iterable[str] = ("evaluate",),
        **others: str,
    ) -> Node:
        """A node of theirs.

        Args:
            function: arguments are called as what they take from this namespace.
            own: names of that data.
            outputs: name of the result, or names of the entries of a dictionary of results.
            tags: besides task and encoder.
            others: data from elsewhere, by argument.
        """
        single = isinstance(outputs, str)
        return node(
            function,
            {**others, **{data: self.name(data) for data in own}},
            self.name(str(outputs)) if single else {data: self.name(data) for data in outputs},
            name=f"{function.__name__}_{self.encoder}_{self.task}",
            namespace=f"{KEY}.{self.task}.{self.encoder}",
            tags=[*tags, self.task, self.encoder],
        )


def create_pipeline(parameters: RetrievalEvalParameters, _: Sequence[str] = ()) -> Pipeline:
    """The whole chapter for these parameters, whatever tags the run has."""
    made = [_data_node(parameters)]
    for task in parameters.tasks:
        if parameters.own_descriptors:
            made.append(_own_descriptors_node(Space(task, parameters.descriptors.name)))
        else:
            for encoder in parameters.present_encoders:
                made += _encoder_nodes(parameters, Space(task, encoder))
            for name, members in parameters.present_ensembles.items():
                made.append(_ensemble_node(parameters, Space(task, name), members))
        for name in parameters.evaluated:
            made += _search_nodes(parameters, Space(task, name))
    if not parameters.own_descriptors:
        made += _whitening_nodes(parameters)
    return Pipeline([*made, *_report_nodes(parameters)])


def _task_data(task: str) -> str:
    return f"{KEY}.{task}.task"


def _whitening_sets(parameters: RetrievalEvalParameters) -> tuple[str, ...]:
    """Data sets that some task is whitened on."""
    if parameters.own_descriptors:
        return ()
    found = [name for task in parameters.tasks for name in parameters.whitening_sets(task)]
    return tuple(dict.fromkeys(name for name in found if name != NONE))


def _data_node(parameters: RetrievalEvalParameters) -> Node:
    names = dict.fromkeys([*parameters.tasks, *_whitening_sets(parameters)])
    inputs = {"parameters": PARAMETERS, **{name: _task_data(name) for name in names}}
    # Own descriptors have no vectors to be extracted before: what is evaluated is looked at anew.
    tags = ["extract", "evaluate"] if parameters.own_descriptors else ["extract"]
    return _shared_node(nodes.check_data, inputs, DATA, tags)


def _shared_node(
    function: Callable[..., Any],
    inputs: Mapping[str, str],
    outputs: str | Mapping[str, str],
    tags: Iterable[str] = ("evaluate", "report"),
) -> Node:
    """A node of all tasks. Kedro-Viz folds away what only the nodes of one namespace read."""
    return node(
        function,
        dict(inputs),
        outputs if isinstance(outputs, str) else dict(outputs),
        name=function.__name__,
        namespace=KEY,
        tags=list(tags),
    )


def _extract_node(space: Space) -> Node:
    return space.node(
        given(nodes.extract, encoder=space.encoder),
        ["database_vectors", "query_vectors"],
        "extraction",
        tags=["extract"],
        parameters=PARAMETERS,
        data=DATA,
        task=_task_data(space.task),
        network=f"{KEY}.{space.encoder}.network",
    )


def _database_node(parameters: RetrievalEvalParameters, space: Space) -> Node:
    return space.node(
        nodes.describe_database,
        ["extraction", "database_vectors"],
        "descriptors",
        parameters=PARAMETERS,
        **_main_whitening(parameters, space),
    )


def _main_whitening(parameters: RetrievalEvalParameters, space: Space) -> dict[str, str]:
    """The whitening that makes a task's descriptors, where there is one."""
    main = parameters.whitening_sets(space.task)[0]
    return {} if main == NONE else {"whitening": Space(main, space.encoder).name("whitening")}


def _encoder_nodes(parameters: RetrievalEvalParameters, space: Space) -> list[Node]:
    """Descriptors of one encoder for one task, and its sweep."""
    task = {"parameters": PARAMETERS, "task": _task_data(space.task)}
    sets = [name for name in parameters.whitening_sets(space.task) if name != NONE]
    return [
        _extract_node(space),
        _database_node(parameters, space),
        space.node(
            nodes.describe_queries,
            ["extraction", "query_vectors", "descriptors"],
            "query_descriptors",
            **task,
            **_main_whitening(parameters, space),
        ),
        space.node(
            nodes.sweep,
            ["extraction", "database_vectors", "query_vectors"],
            "sweep",
            **task,
            **{name: Space(name, space.encoder).name("whitening") for name in sets},
        ),
    ]


def _whitening_nodes(parameters: RetrievalEvalParameters) -> list[Node]:
    """Whitening by each encoder, and vectors of sets that only teach it."""
    made = []
    ensembles = parameters.present_ensembles.values()
    for name in _whitening_sets(parameters):
        for encoder in parameters.present_encoders:
            space = Space(name, encoder)
            if name not in parameters.tasks:
                made.append(_extract_node(space))
                if any(encoder in members for members in ensembles):
                    made.append(_database_node(parameters, space))
            made.append(
                space.node(nodes.learn_whitening, ["extraction", "database_vectors"], "whitening")
            )
    return made


def _ensemble_node(
    parameters: RetrievalEvalParameters, space: Space, members: Iterable[str]
) -> Node:
    main = parameters.whitening_sets(space.task)[0]
    inputs = {}
    for member in members:
        of_task = Space(space.task, member)
        inputs[f"database.{member}"] = of_task.name("descriptors")
        inputs[f"queries.{member}"] = of_task.name("query_descriptors")
        if main not in (NONE, space.task):
            inputs[f"learn_on.{member}"] = Space(main, member).name("descriptors")
    described = ["descriptors", "query_descriptors"]
    return space.node(nodes.describe_ensemble, [], described, parameters=PARAMETERS, **inputs)


def _own_descriptors_node(space: Space) -> Node:
    return space.node(
        nodes.check_own_descriptors,
        [],
        ["descriptors", "query_descriptors"],
        parameters=PARAMETERS,
        task=_task_data(space.task),
        own_database=f"{KEY}.own_database",
        own_queries=f"{KEY}.own_queries",
    )


def _search_nodes(parameters: RetrievalEvalParameters, space: Space) -> list[Node]:
    """Index where search is not exact, rankings, re-ranking and scores."""
    described = ["descriptors", "query_descriptors"]
    index = [] if parameters.search.index == "exact" else ["index"]
    only = {"parameters": PARAMETERS}
    task = {**only, "task": _task_data(space.task)}
    made = [space.node(nodes.index, ["descriptors"], "index", **only)] if index else []
    made += [
        space.node(nodes.search, [*described, *index], "rankings", **only),
        space.node(nodes.rerank, [*described, "rankings", *index], "reranked", **task),
        space.node(nodes.score, [*described, "rankings", "reranked"], "evaluation", **task),
    ]
    if not parameters.own_descriptors:
        tags = ["evaluate", "report"]
        own = ["rankings", "evaluation"]
        made.append(space.node(report.gallery, own, "gallery", tags=tags, **task))
    return made


def _report_nodes(parameters: RetrievalEvalParameters) -> list[Node]:
    """Metrics, Tables 3.1 to 3.4, manifest and report over all tasks and encoders."""
    own = parameters.own_descriptors
    encoders = () if own else parameters.present_encoders
    gathered = {"evaluations": ("evaluation", parameters.evaluated)} | {
        kind: (kind.removesuffix("s"), encoders) for kind in ("extractions", "sweeps")
    }
    found = {
        f"{kind}.{task}.{encoder}": Space(task, encoder).name(data)
        for kind, (data, of) in gathered.items()
        for task in parameters.tasks
        for encoder in of
    }
    shown = {} if own else {f"tasks.{task}": _task_data(task) for task in parameters.tasks}
    if not own:
        shown |= {
            f"rankings.{task}.{encoder}": Space(task, encoder).name("rankings")
            for task in parameters.tasks
            for encoder in parameters.evaluated
        }
    results = {"results": f"{KEY}.results"}
    data, only = {"data": DATA}, {"parameters": PARAMETERS}
    tables = {name: f"{KEY}.{name}" for name in TABLES}
    manifest = {"manifest": f"{KEY}.run_manifest"}
    page = {**only, **data, **results, **manifest, **tables, **shown}
    return [
        _shared_node(report.collect, found, results["results"]),
        _shared_node(report.metrics, {**data, **results}, f"{KEY}.metrics"),
        _shared_node(report.tables, {**only, **results}, tables),
        _shared_node(report.describe_run, {**only, **data, **results}, manifest["manifest"]),
        _shared_node(report.dimensions, {**data, **results}, f"{KEY}.dimensions"),
        _shared_node(report.report, page, f"{KEY}.report"),
    ]
