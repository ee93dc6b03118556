"""Graph of chapter 3: images -> vectors -> whitening -> descriptors -> rankings -> scores."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kedro.pipeline import Node, Pipeline, node

from ssl_kedro.pipelines.assembly.nodes import assemble_nodes
from ssl_kedro.pipelines.assembly.parameters import ASSEMBLE
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.retrieval_eval import nodes, ranking_nodes
from ssl_kedro.pipelines.retrieval_eval.assembled import ASSEMBLY
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.report import figures, numbers, page, questions, tables
from ssl_kedro.retrieval.described import NONE, OWN, RUN

KEY = "retrieval_eval"
PARAMETERS = {"parameters": f"params:{KEY}"}
DATA = f"{KEY}.data_summary"
TABLES = ("table_3_1", "table_3_2", "table_3_3", "table_3_4")
DESCRIBED = ("descriptors", "query_descriptors")


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


def create_pipeline(parameters: RetrievalEvalParameters, asked: Sequence[str] = ()) -> Pipeline:
    """The whole chapter for these parameters; with the tag "assemble" tables of earlier runs."""
    if ASSEMBLE in asked:
        return Pipeline(assemble_nodes(ASSEMBLY, parameters, asked))
    own = parameters.own_descriptors
    whitening_sets = () if own else _whitening_sets(parameters)
    names = [*parameters.tasks, *whitening_sets]
    # Own descriptors have no vectors to be extracted before: what is evaluated is looked at anew.
    tags = ["extract", "evaluate"] if own else ["extract"]
    sets = {f"sets.{name}": _task_data(name) for name in names}
    made = [_shared_node(nodes.check_data, PARAMETERS | sets, DATA, tags)]
    for task in parameters.tasks:
        if own:
            made.append(_own_descriptors_node(Space(task, parameters.descriptors.name)))
        else:
            for encoder in parameters.present_encoders:
                made += _encoder_nodes(parameters, Space(task, encoder))
            for name, members in parameters.present_ensembles.items():
                made.append(_ensemble_node(parameters, Space(task, name), members))
        for name in parameters.evaluated:
            made += _search_nodes(parameters, Space(task, name))
    for name in whitening_sets:
        made += _whitening_nodes(parameters, name)
    return Pipeline([*made, *_report_nodes(parameters)])


def _task_data(task: str) -> str:
    return f"{KEY}.{task}.task"


def _whitening_sets(parameters: RetrievalEvalParameters) -> list[str]:
    """Data sets that some task is whitened on."""
    found = [name for task in parameters.tasks for name in parameters.whitening_sets(task)]
    return [name for name in dict.fromkeys(found) if name != NONE]


def _shared_node(
    function: Callable[..., Any],
    inputs: dict[str, str],
    outputs: str | dict[str, str],
    tags: Sequence[str] = ("evaluate", "report"),
) -> Node:
    """A node of all tasks. Kedro-Viz folds away what only the nodes of one namespace read."""
    name = function.__name__
    return node(function, inputs, outputs, name=name, namespace=KEY, tags=list(tags))


def _extract_node(space: Space) -> Node:
    return space.node(
        given(nodes.extract, encoder=space.encoder),
        ["database_vectors", "query_vectors"],
        "extraction",
        tags=["extract"],
        data=DATA,
        task=_task_data(space.task),
        network=f"{KEY}.{space.encoder}.network",
        **PARAMETERS,
    )


def _database_node(parameters: RetrievalEvalParameters, space: Space) -> Node:
    own, whitening = ["extraction", "database_vectors"], _main_whitening(parameters, space)
    describe = given(nodes.describe_database, encoder=space.encoder)
    return space.node(describe, own, "descriptors", **PARAMETERS, **whitening)


def _whitenings(parameters: RetrievalEvalParameters, space: Space) -> dict[str, str]:
    """Whitenings of an encoder for a task by the set that they were learnt on, the main one first.

    One that its publisher gives out is "own", and kept with the task.
    """
    return {
        name: Space(space.task if name == OWN else name, space.encoder).name("whitening")
        for name in parameters.whitening_sets(space.task, space.encoder)
        if name != NONE
    }


def _main_whitening(parameters: RetrievalEvalParameters, space: Space) -> dict[str, str]:
    """The whitening that makes a task's descriptors, where there is one."""
    main = parameters.whitening_sets(space.task, space.encoder)[0]
    return {} if main == NONE else {"whitening": _whitenings(parameters, space)[main]}


def _publish_node(space: Space) -> Node:
    """The whitening of an encoder's publisher; evaluations need no file of weights then."""
    function = given(nodes.publish_whitening, encoder=space.encoder)
    network = f"{KEY}.{space.encoder}.network"
    return space.node(function, [], "whitening", tags=["extract"], network=network, **PARAMETERS)


def _encoder_nodes(parameters: RetrievalEvalParameters, space: Space) -> list[Node]:
    """Descriptors of one encoder for one task, and its sweep."""
    task = PARAMETERS | {"task": _task_data(space.task)}
    found = {f"whitenings.{name}": at for name, at in _whitenings(parameters, space).items()}
    queries = ["extraction", "query_vectors", "descriptors"]
    main = _main_whitening(parameters, space)
    stores = ["extraction", "database_vectors", "query_vectors"]
    describe = given(nodes.describe_queries, encoder=space.encoder)
    sweep = given(ranking_nodes.sweep, encoder=space.encoder)
    published = parameters.encoders[space.encoder].whitening == OWN
    return [
        _extract_node(space),
        *([_publish_node(space)] if published else []),
        _database_node(parameters, space),
        space.node(describe, queries, "query_descriptors", **task, **main),
        space.node(sweep, stores, "sweep", **task, **found),
    ]


def _whitening_nodes(parameters: RetrievalEvalParameters, name: str) -> list[Node]:
    """Whitening by each encoder, and vectors of sets that only teach it."""
    made = []
    ensembles = parameters.present_ensembles.values()
    for encoder in parameters.present_encoders:
        space = Space(name, encoder)
        whitening = parameters.encoders[encoder].whitening
        member = any(encoder in members for members in ensembles)
        if name not in parameters.tasks and (whitening == RUN or member):
            made.append(_extract_node(space))
            if whitening == OWN:
                made.append(_publish_node(space))
            if member:
                made.append(_database_node(parameters, space))
        if whitening == RUN:
            own = ["extraction", "database_vectors"]
            made.append(space.node(nodes.learn_whitening, own, "whitening"))
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
    return space.node(nodes.describe_ensemble, [], DESCRIBED, **PARAMETERS, **inputs)


def _own_descriptors_node(space: Space) -> Node:
    arrays = {name: f"{KEY}.{name}" for name in ("own_database", "own_queries")}
    task = PARAMETERS | {"task": _task_data(space.task)}
    return space.node(nodes.check_own_descriptors, [], DESCRIBED, **task, **arrays)


def _search_nodes(parameters: RetrievalEvalParameters, space: Space) -> list[Node]:
    """Index where search is not exact, rankings, re-ranking and scores."""
    index = [] if parameters.search.index == "exact" else ["index"]
    task, of = PARAMETERS | {"task": _task_data(space.task)}, ranking_nodes
    made = [space.node(of.index, ["descriptors"], "index", **PARAMETERS)] if index else []
    score = given(of.score, encoder=space.encoder)
    made += [
        space.node(of.search, [*DESCRIBED, *index], "rankings", **PARAMETERS),
        space.node(of.rerank, [*DESCRIBED, "rankings", *index], "reranked", **task),
        space.node(score, [*DESCRIBED, "rankings", "reranked"], "evaluation", **task),
    ]
    if not parameters.own_descriptors:
        tags, own = ["evaluate", "report"], ["rankings", "evaluation"]
        made.append(space.node(figures.gallery, own, "gallery", tags=tags, **task))
    return made


def _report_nodes(parameters: RetrievalEvalParameters) -> list[Node]:
    """Metrics, Tables 3.1 to 3.4, manifest and report over all tasks and encoders."""
    tasks = parameters.tasks

    def gathered(kind: str, data: str, encoders: Iterable[str]) -> dict[str, str]:
        spaces = [Space(task, encoder) for task in tasks for encoder in encoders]
        return {f"{kind}.{space.task}.{space.encoder}": space.name(data) for space in spaces}

    found = gathered("evaluations", "evaluation", parameters.evaluated)
    shown = {}
    if not parameters.own_descriptors:
        found |= gathered("extractions", "extraction", parameters.present_encoders)
        found |= gathered("sweeps", "sweep", parameters.present_encoders)
        shown = {f"tasks.{task}": _task_data(task) for task in tasks}
        shown |= gathered("rankings", "rankings", parameters.evaluated)
    results = {"results": f"{KEY}.results"}
    both = {"data": DATA} | results
    manifest, origins = {"manifest": f"{KEY}.run_manifest"}, {"origins": f"{KEY}.origins"}
    made = {name: f"{KEY}.{name}" for name in TABLES}
    compared = {"questions": f"{KEY}.questions", "supervision": f"{KEY}.supervision"}
    of_page = PARAMETERS | both | manifest | made | compared | shown
    return [
        _shared_node(numbers.collect, found, results["results"]),
        _shared_node(numbers.metrics, both, f"{KEY}.metrics"),
        _shared_node(tables.tables, PARAMETERS | results, made),
        _shared_node(questions.answers, PARAMETERS | results, compared),
        _shared_node(numbers.describe_run, PARAMETERS | both | origins, manifest["manifest"]),
        _shared_node(figures.dimensions, both, f"{KEY}.dimensions"),
        _shared_node(page.report, of_page, f"{KEY}.report"),
    ]
