"""Results say what made them, and a run refuses to mix those of different data or recipes."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from pydantic_core import to_jsonable_python

from ssl_kedro.core.errors import UserError, first_few
from ssl_kedro.hooks.catalog import layers
from ssl_kedro.hooks.flat_parameters import flattened, parameters_read
from ssl_kedro.reporting.manifest import git_commit
from ssl_kedro.training.config import IRRELEVANT

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline.node import Node

    from ssl_kedro.datasets.base import FileDataset
    from ssl_kedro.datasets.origin import Origin

MADE_FROM, COMPARED = "made_from", "compared"
# Where and how things are computed, by section of the parameters: results are the same.
_COMPUTED = {
    "train": IRRELEVANT,
    "decoder_train": IRRELEVANT,
    "extract": ("device", "batch_size", "workers"),
    "data": ("cache_dir", "workers", "memory_limit_mb"),
}
# So many nodes are named by a command.
_NAMED = 5
NEW_LINE = "\n"


class MixedResultsError(UserError, ValueError):
    """A run would put results together that were made from different data or recipes.

    Cause: part of a pipeline is run with parameters other than those of the results that lie
    there.
    Remedy: make them anew by the command in the message, or give this run a room: ``--params
    run=NAME``.
    """


class ProvenanceHook:
    """Leaves an origin beside every result; compares those of earlier runs with the run at hand.

    The catalog says under ``metadata.made_from`` which parameters the node reads that makes an
    entry; what its inputs were made from comes with them (ADR 24).
    """

    def __init__(self) -> None:
        self._catalog: CatalogProtocol[Any, Any]
        self._parameters: dict[str, str] = {}
        self._images: dict[str, str] = {}
        self._origins: dict[str, Origin] = {}
        self._run_params: Mapping[str, Any] = {}
        self._commit: str | None = None

    @hook_impl
    def before_pipeline_run(
        self, run_params: Mapping[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Compare what earlier runs left, and this one takes over, with this run's parameters.

        Raises:
            MixedResultsError: they differ; says in what, and which command makes them one.
        """
        from ssl_kedro.datasets.origin import read_origin  # noqa: PLC0415  loads NumPy

        whole = _whole(run_params)
        only_missing = bool(run_params.get("only_missing_outputs"))
        self._catalog, self._run_params, self._commit = catalog, run_params, git_commit()
        self._parameters, self._images = _relevant_parameters(whole, catalog), {}
        taken = {name for node in pipeline.nodes if self._compares(node) for name in node.inputs}
        taken &= pipeline.inputs() & whole.all_outputs()
        found = {
            name: read_origin(dataset)
            for name in sorted(pipeline.all_outputs() | taken if only_missing else taken)
            if (dataset := self._file(name)) is not None and dataset.exists()
        }
        self._origins = {name: origin for name, origin in found.items() if origin is not None}
        self._refuse_mixture(self._origins)
        unknown = sorted(found.keys() - self._origins.keys())
        if unknown:
            logging.getLogger(__name__).warning(
                "Taken as they are, with no word on what made them: %s", first_few(unknown)
            )
        found |= self._given(pipeline.inputs() - whole.all_outputs())
        for summary in (name for name in pipeline.inputs() if name.endswith(".origins")):
            earlier = {
                name: "unknown" if origin is None else origin.made
                for name, origin in found.items()
                if name.startswith(summary.removesuffix("origins"))
            }
            catalog.save(summary, earlier)

    def _given(self, names: Collection[str]) -> dict[str, Origin | None]:
        """Origins of files that parameters name, such as encoders from elsewhere."""
        from ssl_kedro.datasets.origin import read_origin  # noqa: PLC0415  loads NumPy

        datasets = {name: layers(self._catalog.get(name)) for name in sorted(names)}
        return {
            name: read_origin(layer)
            for name, found in datasets.items()
            for layer in found
            if getattr(layer, "names_file", False)
        }

    @hook_impl
    def before_node_run(self, node: Node, inputs: Mapping[str, Any]) -> None:
        """Look at the images, and the weights to begin with, that a node is given.

        Raises:
            MixedResultsError: results that it is given as well were made from others.
        """
        for name in inputs.keys() - self._images.keys():
            mark = getattr(inputs[name], "fingerprint", None)
            if mark is not None:
                self._images[name] = mark() if callable(mark) else mark
        if self._compares(node):
            self._refuse_mixture({n: self._origins[n] for n in node.inputs if n in self._origins})

    @hook_impl
    def before_dataset_saved(self, dataset_name: str) -> None:
        """Forget what made the old content: a run that is killed here leaves none."""
        dataset = self._file(dataset_name)
        if dataset is not None:
            dataset.forget_beside()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Say beside a result what made it."""
        from ssl_kedro.datasets.origin import Origin, joined, write_origin  # noqa: PLC0415

        dataset = self._file(dataset_name)
        given = {name: self._origins[name] for name in node.inputs if name in self._origins}
        seen = {name: mark for name, mark in self._images.items() if name in node.inputs}
        keywords = node.func.keywords if isinstance(node.func, partial) else {}
        origin = Origin(
            made=datetime.now().astimezone().isoformat(timespec="seconds"),
            node=node.name,
            version=version("ssl_kedro"),
            commit=self._commit,
            shared=joined(given.values(), "shared") | self._made_from(dataset_name, dataset),
            images=joined(given.values(), "images") | seen,
            own=to_jsonable_python(keywords, fallback=str),
            inputs={name: found.fingerprint for name, found in given.items()},
        )
        self._origins[dataset_name] = origin
        if dataset is not None:
            write_origin(dataset, origin)

    def _file(self, name: str) -> FileDataset[Any] | None:
        """A catalog entry that can keep an origin."""
        from ssl_kedro.datasets.base import FileDataset  # noqa: PLC0415  loads NumPy

        dataset = self._catalog.get(name)
        return dataset if isinstance(dataset, FileDataset) else None

    def _compares(self, node: Node) -> bool:
        """Whether a node's results stand beside others; the catalog says where they do not."""
        found = [self._file(name) for name in node.outputs]
        return not all(of and (of.metadata or {}).get(COMPARED) is False for of in found)

    def _made_from(self, name: str, dataset: FileDataset[Any] | None) -> dict[str, str]:
        """Parameters that the catalog says an entry is made from, flattened."""
        metadata = dataset.metadata if dataset is not None else None
        key, _, _ = name.partition(".")
        sections = [f"{key}.{section}" for section in (metadata or {}).get(MADE_FROM, ())]
        return {
            parameter: value
            for parameter, value in self._parameters.items()
            if any(f"{parameter}.".startswith(f"{section}.") for section in sections)
        }

    def _differences(self, origin: Origin) -> list[tuple[str, str, str]]:
        return list(origin.differences(version("ssl_kedro"), self._parameters, self._images))

    def _refuse_mixture(self, given: Mapping[str, Origin]) -> None:
        different = {name: self._differences(origin) for name, origin in given.items()}
        stale = [name for name, found in different.items() if found]
        if not stale:
            return
        lines = {
            key: f"  - {key}: {value} in {name}, made {given[name].made}; {now} in this run"
            for name in reversed(stale)
            for key, value, now in different[name]
        }
        raise MixedResultsError(
            f"This run would mix what it makes with {first_few(stale)}, which other data or "
            f"parameters have made:\n{first_few(reversed(lines.values()), separator=NEW_LINE)}\n"
            f"To make all of it anew: {self._remedy(stale)}\nTo keep what is there: give this run "
            "a room of its own with --params run=NAME, or the parameters that made it"
        )

    def _remedy(self, stale: Collection[str]) -> str:
        """The command that makes stale results anew, and what they were made from that is stale."""
        from ssl_kedro.datasets.origin import read_origin  # noqa: PLC0415

        whole = _whole(self._run_params)
        makers = [
            node
            for node in whole.to_outputs(*stale).nodes
            if any(
                (dataset := self._file(output)) is not None
                and (origin := read_origin(dataset)) is not None
                and self._differences(origin)
                for output in node.outputs
            )
        ]
        given = flattened(self._run_params.get("runtime_params") or {})
        tags = self._run_params.get("tags") or ()
        options = {
            "--pipeline": ",".join(self._run_params.get("pipeline_names") or ()),
            "--env": self._run_params.get("env"),
            # They add nodes to the graph, and leave others out.
            "--tags": ",".join(tags) if all(node.tags & {*tags} for node in makers) else "",
            "--params": ",".join(
                f"{key}={value}".removesuffix("null") for key, value in given.items()
            ),
            "--from-nodes": ",".join(node.name for node in makers) if len(makers) <= _NAMED else "",
        }
        words = [word for option, value in options.items() if value for word in (option, value)]
        return shlex.join(["kedro", "run", *words])


def _whole(run_params: Mapping[str, Any]) -> Pipeline:
    """The pipelines of a run before any nodes are selected."""
    names = run_params.get("pipeline_names") or ["__default__"]
    return sum((pipelines[name] for name in names), Pipeline([]))


def _relevant_parameters(whole: Pipeline, catalog: CatalogProtocol[Any, Any]) -> dict[str, str]:
    """All parameters by dotted key, without those that leave all numbers as they are."""
    computed = {f"{section}.{name}" for section, names in _COMPUTED.items() for name in names}
    return {
        k: v
        for k, v in parameters_read(whole, catalog).items()
        if ".".join(k.split(".")[-2:]) not in computed
    }
