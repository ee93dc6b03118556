"""What a run was asked for and what its nodes read, looked at before the first of them runs."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DataCatalog, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import SettingError, UserError, first_few, nearest
from ssl_kedro.hooks.catalog import layers

if TYPE_CHECKING:
    from ssl_kedro.pipelines.parameters import PipelineParameters


class UnknownNameError(UserError, ValueError):
    """What stands on the command line names nothing.

    Cause: a typo in a pipeline, tag, node or parameter.
    Remedy: take the name that the message proposes.

    Args:
        where: the option.
        found: what it was given.
        known: what there is.
    """

    def __init__(self, where: str, found: str, known: Collection[str]) -> None:
        super().__init__(f"{where} {found}: there is none; {nearest(found, known)}")


class UnreadParameterError(UserError, ValueError):
    """A parameter on the command line that no pipeline of the run reads.

    Cause: its pipeline is not run, or the key lacks what stands before the dot.
    Remedy: write the whole key, ``dual_gating.train.epochs``, and name the pipeline.
    """


class SelectionError(UserError, ValueError):
    """Options of the command line that leave nothing to run.

    Cause: ``--tags``, ``--nodes``, ``--from-nodes`` and others together select no node.
    Remedy: leave one of them out; ``kedro registry describe NAME`` lists nodes.
    """


class EarlierResultsError(UserError, ValueError):
    """A run by tag or node needs results that no earlier run has left.

    Cause: a part of a pipeline reads what another part makes.
    Remedy: run the pipeline without ``--tags`` first, or name the tags in the message as well.
    """


class MissingInputError(UserError, ValueError):
    """A node reads what the catalog does not define, or what is not where the catalog says.

    Cause: an encoder or file that a parameter names is not there.
    Remedy: correct the name, or run what makes it first.
    """


def check_selection(
    options: Mapping[str, Any], pipeline: Pipeline, further_tags: Collection[str]
) -> None:
    """Refuse options of ``kedro run`` that select nodes by names that there are none of.

    Kedro passes over tags that no node has, if another tag has one.

    Args:
        options: parameters of the command, by their names in Kedro.
        pipeline: all that could be run.
        further_tags: known as well; their nodes are in the graph only when they are asked for.

    Raises:
        UnknownNameError: naming option, value and the nearest name.
        SelectionError: nothing is left to run.
    """
    names = {node.name for node in pipeline.nodes}
    spaces = {node.namespace or "" for node in pipeline.nodes}
    parts = [space.split(".") for space in spaces if space]
    data = pipeline.datasets()
    known = {
        "tags": ("--tags", {tag for node in pipeline.nodes for tag in node.tags}),
        "node_names": ("--nodes", names),
        "from_nodes": ("--from-nodes", names),
        "to_nodes": ("--to-nodes", names),
        "from_inputs": ("--from-inputs", data),
        "to_outputs": ("--to-outputs", data),
        "node_namespaces": (
            "--namespaces",
            {".".join(part[: n + 1]) for part in parts for n in range(len(part))},
        ),
    }
    given = {key: options.get("namespaces" if key == "node_namespaces" else key) for key in known}
    if not any(given.values()):
        return
    for key, (option, there) in known.items():
        for name in given[key] or ():
            if name not in there:
                more = further_tags if key == "tags" else ()
                raise UnknownNameError(option, name, sorted({*there, *more}))
    try:
        pipeline.filter(**given)
    except ValueError as error:
        asked = ", ".join(f"{known[key][0]} {first_few(v)}" for key, v in given.items() if v)
        raise SelectionError(f"no node is selected by all of {asked}") from error


def check_inputs(
    pipeline: Pipeline,
    whole: Pipeline,
    catalog: DataCatalog,
    models: Mapping[str, "PipelineParameters"],
) -> None:
    """Refuse to start where nodes read what is not there.

    Kedro finds out when a node loads it, which may be after hours of training.

    Args:
        pipeline: what runs.
        whole: all that the pipelines at hand could run.
        catalog: of the run.
        models: parameters by the name of their pipeline.

    Raises:
        EarlierResultsError: another part of the graph makes it, and no earlier run has left it.
        MissingInputError: nothing makes it.
    """
    free = pipeline.inputs()
    needed = free & whole.all_outputs()
    if missing := sorted(name for name in needed if not catalog.exists(name)):
        makers = [node.name for node in whole.only_nodes_with_outputs(*missing).nodes]
        raise EarlierResultsError(
            f"this part of the pipeline reads results that no earlier run has left here: "
            f"{first_few(missing)}. They are made by {first_few(makers)}; "
            "run the pipeline without --tags first, or name the tags of these nodes as well"
        )
    for name in sorted(free - needed):
        if _there(name, catalog):
            continue
        readers = [node for node in pipeline.nodes if name in node.inputs]
        for key in {_pipeline_of(node) for node in readers} & {*models}:
            with _named(key):
                models[key].check_missing(name)
        dataset = catalog.get(name)
        what = f"is not in the catalog; {nearest(name, sorted(catalog.keys()))}"
        if dataset is not None:
            what = f"is not there: {dataset._describe().get('filepath', dataset)}"
        raise MissingInputError(
            f"{first_few(node.name for node in readers)} reads {name}, which {what}"
        )


def _there(name: str, catalog: DataCatalog) -> bool:
    """Whether a free input can be read, as far as its dataset can tell."""
    dataset = catalog.get(name)
    if dataset is None:
        return False
    *_, inner = layers(dataset)  # a cache is in memory, what it reads need not be
    tells = type(inner)._exists is not AbstractDataset._exists
    # What is kept in memory alone comes from a hook.
    return not tells or getattr(inner, "_EPHEMERAL", False) or catalog.exists(name)


def _pipeline_of(node: Node) -> str:
    """What names of a node's results begin with."""
    return node.outputs[0].split(".")[0]


def check_seen(
    pipeline: Pipeline, catalog: DataCatalog, models: Mapping[str, "PipelineParameters"]
) -> None:
    """Have each node's parameters checked against what is seen of its inputs at little cost.

    Args:
        pipeline: what runs.
        catalog: of the run.
        models: parameters by the name of their pipeline.

    Raises:
        UserError: a source that cannot be used, or parameters that do not fit it.
    """
    seen = {}
    for name in sorted(pipeline.inputs()):
        with _named(name):
            seen[name] = _seen(catalog.get(name))
    for node in pipeline.nodes:
        model = models.get(_pipeline_of(node))
        if model is not None:
            inputs = node._inputs if isinstance(node._inputs, dict) else {}
            constants = node.func.keywords if isinstance(node.func, partial) else {}
            of_node = {key: seen[of] for key, of in inputs.items() if seen.get(of) is not None}
            with _named(_pipeline_of(node)):
                model.check_seen(node.func.__name__, constants, of_node)


@contextmanager
def _named(space: str) -> Iterator[None]:
    """Complete the keys of errors by the pipeline that a name begins with."""
    pipeline = space.partition(".")[0]
    try:
        yield
    except SettingError as error:
        error.stand_under(pipeline)
        raise
    except (ConfigError, DatasetError) as error:
        cause = error if isinstance(error, ConfigError) else error.__cause__
        if not isinstance(cause, ConfigError):
            raise
        raise ConfigError(f"{pipeline}.{cause.field}", cause.value, cause.expected) from error


def _seen(dataset: Any) -> Any:
    """What a dataset tells of itself without the work of loading; None where that is nothing."""
    return next((layer.look() for layer in layers(dataset) if hasattr(layer, "look")), None)
