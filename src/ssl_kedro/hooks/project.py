"""Parameters in catalog and graph, checks before a run, and errors in one message."""

import difflib
import os
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, SharedMemoryDataCatalog
from kedro.pipeline import Pipeline
from omegaconf.resolvers import oc

from ssl_kedro.core.errors import UserError, first_few
from ssl_kedro.core.memory import keep_freed_memory, loading
from ssl_kedro.hooks.catalog import check_catalog
from ssl_kedro.hooks.rooms import room
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.pipelines.entrance import chosen


class ParameterAwareConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader that knows ``${parameter:dual_gating.data}`` and ``${room:}``.

    It also lets the pipeline registry see the effective parameters, without a hook: Kedro-Viz
    reads a project with all hooks switched off.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        shorten_errors()  # the first code of ours that a run comes to
        resolvers = {
            "oc.env": oc.env,
            "parameter": effective_parameters.lookup,
            "room": self.room,
            **(options.pop("custom_resolvers", None) or {}),
        }
        super().__init__(*arguments, custom_resolvers=resolvers, **options)
        if self.env is not None and not (Path(self.conf_source) / self.env).is_dir():
            raise UnknownNameError("--env", self.env, self._environments())
        effective_parameters.bind(self._parameters)

    def room(self) -> str:
        """Folder of the results of this environment and run, relative to the project."""
        return room(self.env, (self.runtime_params or {}).get("run"), self._environments())

    def _environments(self) -> list[str]:
        return sorted({path.parent.name for path in Path(self.conf_source).glob("*/*")})

    def _parameters(self) -> dict[str, Any]:
        try:
            return dict(self["parameters"])
        except MissingConfigException:
            return {}


def _given(command: click.Context | None, option: str) -> list[str]:
    """Names that an option of the ``kedro run`` being executed lists.

    Kedro tells hooks of tags only when the graph is fixed. Other commands and sessions started from
    Python have none.
    """
    given = command.params.get(option) if command is not None else None
    return given.split(",") if isinstance(given, str) else list(given or ())


class UnknownNameError(UserError, ValueError):
    """What stands on the command line names nothing.

    Args:
        where: the option.
        found: what it was given.
        known: what there is.
    """

    def __init__(self, where: str, found: str, known: Collection[str]) -> None:
        close = difflib.get_close_matches(found, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        super().__init__(f"{where} {found}: there is none; {hint}known: {', '.join(known)}")


class RunnerError(UserError, ValueError):
    """A runner that the pipelines cannot be run with."""


class EarlierResultsError(UserError, ValueError):
    """A run by tag or node needs results that no earlier run has left."""


class ProjectHook:
    """Checks the effective parameters, has the graph built from them, and checks what runs it."""

    @hook_impl
    @loading()
    def after_context_created(self, context: KedroContext) -> None:
        """Runs once the environment's files and the command line's parameters are merged.

        Raises:
            UnknownNameError: a pipeline, or the first part of a parameter's key, that is not known.
            ParameterError: naming each faulty key, its value and what is allowed.
        """
        command = click.get_current_context(silent=True)
        names = pipelines._requested_pipelines
        if names is None and command is not None and command.info_name == "run":
            names = ["__default__"]
        known = chosen(None)
        for name in names or ():
            if name not in known:
                raise UnknownNameError("--pipeline", name, sorted({*known} - {"__default__"}))
        keys = sorted({"run", "mlflow_run_id", *known} - {"__default__"})
        for key in context.config_loader.runtime_params or {}:
            if key not in keys:
                raise UnknownNameError("--params", key, keys)
        parameters = effective_parameters.current()
        for found in dict.fromkeys(chosen(names).values()):
            found.check(parameters.get(found.name, {}))
        effective_parameters.ask_for(_given(command, "tags"))
        # Kedro keeps pipelines of an earlier session; told again, it builds the graph from the
        # effective budgets and the parts that are asked for.
        pipelines.configure("ssl_kedro.pipeline_registry")
        pipelines.set_requested(names)
        keep_freed_memory()

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Runs before the first node.

        Kedro finds out that results of an earlier run are missing when a node loads them, which
        may be after hours of training.

        Raises:
            RunnerError: nodes would run in processes of their own.
            EarlierResultsError: a part of the graph reads what another part makes and no earlier
                run has left; names what is missing and what makes it.
            VersionError: a version that is to be loaded is not there.
        """
        if isinstance(catalog, SharedMemoryDataCatalog):
            raise RunnerError(
                "ParallelRunner cannot run these pipelines, whose nodes share decoded images and "
                "report each epoch in one process: use --runner ThreadRunner, or give one training "
                "several processes with train.workers"
            )
        check_catalog(pipeline, catalog, run_params.get("load_versions"))
        names = run_params.get("pipeline_names") or ["__default__"]
        whole = sum((pipelines[name] for name in names), Pipeline([]))
        needed = pipeline.inputs() & whole.all_outputs()
        missing = sorted(name for name in needed if not catalog.exists(name))
        if not missing:
            return
        makers = [node.name for node in whole.only_nodes_with_outputs(*missing).nodes]
        raise EarlierResultsError(
            f"this part of the pipeline reads results that no earlier run has left here: "
            f"{first_few(missing)}. They are made by {first_few(makers)}; "
            "run the pipeline without --tags first, or name the tags of these nodes as well"
        )


TRACEBACK_VARIABLE = "SSL_KEDRO_TRACEBACK"


def shorten_errors() -> None:
    """Have the interpreter print errors that a user can mend as one message, without a traceback.

    Wrong parameters, unusable images, a checkpoint of another run or a diverged training name key,
    value and remedy; fifty lines of framework above them hide that. With ``SSL_KEDRO_TRACEBACK=1``
    the traceback is printed as always. The exception itself is not touched: callers of the Python
    API see it unchanged.
    """
    wrapped = getattr(sys.excepthook, "func", None) is _print_shortly
    if not wrapped and not os.environ.get(TRACEBACK_VARIABLE):
        sys.excepthook = partial(_print_shortly, sys.excepthook)


def _print_shortly(
    fallback: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    message = mendable_message(error)
    if message is None:
        fallback(kind, error, traceback)
        return
    sys.stderr.write(f"\nError: {message}\n(Set {TRACEBACK_VARIABLE}=1 to see the traceback.)\n")


def mendable_message(error: BaseException | None) -> str | None:
    """Text of the first error in the chain of causes that a user can mend, else None."""
    while error is not None:
        if isinstance(error, UserError):
            return str(error)
        error = error.__cause__
    return None
