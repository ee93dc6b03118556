"""Parameters checked before anything runs, and a graph that follows them."""

from __future__ import annotations

from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, SharedMemoryDataCatalog

from ssl_kedro.core.errors import UserError
from ssl_kedro.core.memory import keep_freed_memory, loading
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.pipelines.entrance import chosen


def _given(command: click.Context | None, option: str) -> list[str]:
    """Names that an option of the ``kedro run`` being executed lists.

    Kedro tells hooks of tags only when the graph is fixed. Other commands and sessions started from
    Python have none.
    """
    given = command.params.get(option) if command is not None else None
    return given.split(",") if isinstance(given, str) else list(given or ())


class RunnerError(UserError, ValueError):
    """A runner that the pipelines cannot be run with."""


class ParameterHook:
    """Checks the effective parameters, then has the graph built from them."""

    @hook_impl
    @loading()
    def after_context_created(self, context: KedroContext) -> None:  # noqa: ARG002
        """Runs once the environment's files and the command line's parameters are merged.

        Raises:
            ParameterError: naming each faulty key, its value and what is allowed.
        """
        command = click.get_current_context(silent=True)
        names = pipelines._requested_pipelines
        if names is None and command is not None and command.info_name == "run":
            names = ["__default__"]
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
    def before_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Runs before the first node.

        Raises:
            RunnerError: nodes would run in processes of their own.
        """
        if isinstance(catalog, SharedMemoryDataCatalog):
            raise RunnerError(
                "ParallelRunner cannot run these pipelines, whose nodes share decoded images and "
                "report each epoch in one process: use --runner ThreadRunner, or give one training "
                "several processes with train.workers"
            )
