"""Parameters in catalog and graph, checks before a run, and errors in one message."""

import os
import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, DatasetNotFoundError, SharedMemoryDataCatalog
from kedro.pipeline import Pipeline
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc
from yaml import YAMLError

from ssl_kedro.core.config import merged
from ssl_kedro.core.errors import UserError, first_few, first_line
from ssl_kedro.core.memory import keep_freed_memory, loading
from ssl_kedro.hooks.catalog import check_catalog
from ssl_kedro.hooks.launchers import check_alone
from ssl_kedro.hooks.planning import PlanningHook
from ssl_kedro.hooks.rooms import room
from ssl_kedro.hooks.selection import (
    UnknownNameError,
    UnreadParameterError,
    check_inputs,
    check_seen,
    check_selection,
)
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.pipelines.entrance import chosen

if TYPE_CHECKING:
    from ssl_kedro.pipelines.parameters import PipelineParameters


# Records would lose every "dual_gating" in them where an experiment is called that.
_NO_SECRETS = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID")


def _environment_variable(name: str, *default: Any) -> Any:
    """What ``${oc.env:NAME}`` stands for; records of a run do not show it."""
    found = oc.env(name, *default)
    if name in os.environ and name not in _NO_SECRETS:
        effective_parameters.keep_secret(os.environ[name], f"${{oc.env:{name}}}")
    return found


_UNREADABLE = (YAMLError, OmegaConfBaseException, OSError, ValueError)


class ConfigFileError(UserError, ValueError):
    """A file of the configuration that cannot be read.

    Cause: a YAML file below ``conf/`` has a mistake, or names an environment variable that is
    not set.
    Remedy: correct the file and line that the message names.
    """


class EnvironmentOfOthersError(UserError, ValueError):
    """An environment that is made for other pipelines than the one that is run.

    Cause: ``--env`` names one whose files say nothing of the pipeline, which would run as in base.
    Remedy: Take one of the environments that the message names, or add a file of parameters.
    """


class ParameterAwareConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader that knows ``${parameter:dual_gating.data}`` and ``${room:}``.

    It also lets the pipeline registry see the effective parameters, without a hook: Kedro-Viz
    reads a project with all hooks switched off.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        shorten_errors()  # the first code of ours that a run comes to
        resolvers = {
            "oc.env": _environment_variable,
            **(options.pop("custom_resolvers", None) or {}),
        }
        super().__init__(*arguments, custom_resolvers=resolvers, **options)
        if self.env is not None and not self._fs.isdir(self._get_conf_env_path(self.env)):
            raise UnknownNameError("--env", self.env, self._environments())
        self._settled: dict[str, Any] = {}
        effective_parameters.bind(self._parameters)

    def settle(self, changes: Mapping[str, Any]) -> None:
        """Take values in place of those of files and command line, nested by pipeline and key."""
        self._settled = merged(self._settled, changes)
        effective_parameters.bind(self._parameters)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Configuration of one kind.

        Raises:
            ConfigFileError: a file is not YAML, or an interpolation leads nowhere.
        """
        # Of this loader: Kedro registers a name once, and a notebook has several sessions, for each
        # of which it imports the project anew.
        OmegaConf.register_new_resolver("room", self.room, replace=True)
        OmegaConf.register_new_resolver("parameter", effective_parameters.lookup, replace=True)
        try:
            found: dict[str, Any] = super().__getitem__(key)
            return merged(found, self._settled) if key == "parameters" else found
        except (*_UNREADABLE, AttributeError, TypeError) as error:
            if mendable_message(error) is not None:
                raise
            raise ConfigFileError(self._fault(key, error)) from error

    def _fault(self, key: str, error: Exception) -> str:
        """Which file of the configuration is wrong, where, and what with it."""
        for folder in (self.base_env, self.env or self.default_run_env):
            for path in sorted((Path(self.conf_source) / folder).rglob("*")):
                if path.suffix not in (".yml", ".yaml", ".json"):
                    continue
                try:
                    if OmegaConf.is_list(OmegaConf.load(path)):
                        return f"{path}: found a list; expected keys with values"
                except _UNREADABLE as wrong:
                    mark = getattr(wrong, "problem_mark", None)
                    place = f"{path}, line {mark.line + 1}" if mark else path
                    what = getattr(wrong, "problem", None) or first_line(wrong)
                    return f"{place}: found no valid YAML ({what}); correct or remove the file"
        place = f" at {found}" if (found := getattr(error, "full_key", None)) else ""
        return f"the configuration of {key} cannot be read{place}: {first_line(error)}"

    def room(self) -> str:
        """Folder of the results of this environment and run, relative to the project."""
        return room(self.env, (self.runtime_params or {}).get("run"), self._environments())

    def check_environment(self, pipeline: str) -> None:
        """Refuse an environment that is made for others, where this one would run as in base.

        One that has a catalog or other settings may well have no parameters.

        Raises:
            EnvironmentOfOthersError: naming the environments that are made for it.
        """
        if self.env in (None, self.base_env, self.default_run_env):
            return
        having = [name for name in self._environments() if pipeline in self._keys(name)]
        others = self._keys(self.env)
        if others and self.env not in having:
            raise EnvironmentOfOthersError(
                f"--env {self.env}: it has nothing for {pipeline}, only for "
                f"{first_few(sorted(others))}; environments for {pipeline}: "
                f"{first_few(having, 12)}"
            )

    def _keys(self, environment: str) -> set[str]:
        """What parameters of an environment speak of; nothing if it has other settings as well."""
        files = [p for p in Path(self._get_conf_env_path(environment)).rglob("*") if p.is_file()]
        if not all(path.name.startswith("parameters") for path in files):
            return set()
        return {str(key) for path in files for key in OmegaConf.load(path)}

    def _environments(self) -> list[str]:
        files = self._fs.glob(f"{self._get_conf_env_path('*')}/*")
        return sorted({PurePosixPath(path).parent.name for path in files})

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


# Parameters of a run as a whole.
_OF_RUNS = ("run", "mlflow_run_id")


class RunnerError(UserError, ValueError):
    """A runner that the pipelines cannot be run with.

    Cause: ``--runner ParallelRunner``, whose processes could not share decoded images.
    Remedy: use ThreadRunner, or several processes for a training: ``train.workers``.
    """


class ProjectHook:
    """Checks the effective parameters, has the graph built from them, and checks what runs it."""

    def __init__(self, planning: PlanningHook | None = None) -> None:
        self._models: dict[str, PipelineParameters] = {}
        self._planning = planning or PlanningHook()

    @hook_impl
    @loading()
    def after_context_created(self, context: KedroContext) -> None:
        """Runs once the environment's files and the command line's parameters are merged.

        Raises:
            LauncherError: torchrun has started several of this run.
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
        parameters = effective_parameters.current()
        self._check_keys(context.config_loader.runtime_params or {}, names)
        asked = [*dict.fromkeys(chosen(names).values())]
        self._models = {found.name: found.check(parameters.get(found.name, {})) for found in asked}
        loader: Any = context.config_loader
        for found in asked if names is not None else ():
            loader.check_environment(found.name)
            changes = self._planning.changes(found, parameters.get(found.name, {}), loader, command)
            if changes:
                loader.settle({found.name: changes})
                settled = effective_parameters.current()[found.name]
                self._models[found.name] = found.check(settled)
        check_alone([name for name, model in self._models.items() if hasattr(model, "train")])
        effective_parameters.ask_for(_given(command, "tags"))
        # Kedro keeps pipelines of an earlier session; told again, it builds the graph from the
        # effective budgets and the parts that are asked for.
        pipelines.configure("ssl_kedro.pipeline_registry")
        pipelines.set_requested(names)
        if names is not None and command is not None:
            whole = sum((pipelines[name] for name in names), Pipeline([]))
            tags = [tag for model in self._models.values() for tag in model.further_tags]
            check_selection(command.params, whole, tags)
        keep_freed_memory()

    def _check_keys(self, given: Mapping[str, Any], names: Collection[str] | None) -> None:
        """Refuse parameters on the command line that no pipeline of the run reads."""
        every = sorted({found.name for found in chosen(None).values()})
        read = sorted({found.name for found in chosen(names).values()})
        values = effective_parameters.current()
        for key in given.keys() - {*_OF_RUNS, *read}:
            if key in every:
                others = f"this run, of {', '.join(read)}, does not read it"
                raise UnreadParameterError(f"--params {key}: {others}; name it with --pipeline")
            inside = [f"{name}.{key}" for name in read if key in values.get(name, {})]
            if inside:
                raise UnreadParameterError(f"--params {key}: did you mean {inside[0]!r}?")
            raise UnknownNameError("--params", key, [*_OF_RUNS, *every])

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Runs before the first node.

        Raises:
            RunnerError: nodes would run in processes of their own.
            UserError: what nodes read is not there, or does not fit their parameters; see
                :func:`check_catalog`, :func:`check_inputs` and :func:`check_seen`.
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
        check_inputs(pipeline, whole, catalog, self._models)
        if not run_params.get("only_missing_outputs"):
            check_seen(pipeline, catalog, self._models)


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
    message = effective_parameters.as_written(message)
    sys.stderr.write(f"\nError: {message}\n(Set {TRACEBACK_VARIABLE}=1 to see the traceback.)\n")


def mendable_message(error: BaseException | None) -> str | None:
    """Text of the first error in the chain of causes that a user can mend, else None."""
    while error is not None:
        # Kedro's own, where configuration or a dataset to load is missing, say as much.
        if isinstance(error, UserError | MissingConfigException | DatasetNotFoundError):
            return str(error)
        error = error.__cause__
    return None
