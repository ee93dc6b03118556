"""MLflow's client, made harmless: its first failure switches it off with one warning."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ssl_kedro.core.errors import first_few
from ssl_kedro.core.memory import loading
from ssl_kedro.hooks.mlflow_conditions import (
    TrackingConfig,
    create_database,
    patient_and_quiet,
    probe,
    sqlite_file,
)
from ssl_kedro.hooks.mlflow_models import log_model
from ssl_kedro.hooks.tracking_names import Place

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ssl_kedro.encoders.bundled import Bundled

logger = logging.getLogger("ssl_kedro.tracking")

T = TypeVar("T")
# MLflow's page opens such an experiment in its view of trainings, not of prompts and traces.
_KIND = "mlflow.experimentKind"
# What an address needs for MLflow 3.17, which asks the browser and not the experiment.
MODEL_TRAINING = "workflowType=machine_learning"
SERVER_REMEDY = "Start the server (`mlflow server`)"
FILE_REMEDY = (
    "Check that it exists, may be written and is not locked by others, move it away if a kill has "
    "left it half made"
)


def harmless(what: str) -> Callable[[Callable[..., T]], Callable[..., T | None]]:
    """Let a method of a store give None where that does not answer: "could not <what>"."""

    def made(method: Callable[..., T]) -> Callable[..., T | None]:
        @wraps(method)
        def attempt(store: TrackingStore, *arguments: Any, **options: Any) -> T | None:
            return store._attempt(what, lambda: method(store, *arguments, **options))

        return attempt

    return made


class TrackingStore:
    """One experiment of an MLflow store, safe to call whether or not the store answers.

    No method raises because of the store. The first failure is logged as a warning with its
    remedy and every later call returns None at once. Calls may come from several threads; they
    run one after the other.

    Args:
        config: which store, which experiment, how patient.
        project_path: folder that relative paths start from.
    """

    def __init__(self, config: TrackingConfig, project_path: Path) -> None:
        self._config = config
        self._uri = config.store_uri(project_path)
        self._artifact_uri = config.artifact_uri(project_path)
        self._lock = threading.RLock()
        self._on = True
        self._files_failed = False
        self._monitor: Any = None
        self._process = os.getpid()
        self._mlflow: Any
        self._client: MlflowClient
        self._experiment_id: str

    @loading()
    def connect(self) -> bool:
        """Find the store and the experiment, created where absent; whether that worked."""
        with warnings.catch_warnings():
            # Deprecations inside MLflow and SQLAlchemy, which Kedro would show, are theirs.
            warnings.simplefilter("ignore")
            self._attempt("open the store", lambda: None, at_start=True)
            self._load()
            self._open()
        return self._on

    @harmless("load MLflow")
    def _load(self) -> None:
        # Here, for it takes a second or more, which `kedro --help` should not pay; and on its own:
        # the import sets the levels of the loggers that calls quieten.
        self._mlflow = importlib.import_module("mlflow")

    @harmless("open the store")
    def _open(self) -> None:
        if (file := sqlite_file(self._uri)) is not None and not file.stat().st_size:
            create_database(file)
        self._client = self._mlflow.MlflowClient(self._uri)
        page, joined = "", self._config.run_id
        if not joined:
            self._experiment_id = self._found_or_created_experiment()
            page = f"/#/experiments/{self._experiment_id}/runs?{MODEL_TRAINING}"
        where = self._uri + page * self._uri.startswith("http")
        what = f"run {joined}" if joined else f"experiment {self._config.experiment}"
        logger.info("tracking in %s, %s", redacted(where), what)

    @harmless("start a run")
    def start_run(self, name: str, tags: Mapping[str, str], parameters: Mapping[str, str]) -> str:
        """Id of a new run."""
        known = _source() | dict(tags)
        created = self._client.create_run(self._experiment_id, tags=known, run_name=name)
        self._describe(created.info.run_id, {}, parameters)
        return str(created.info.run_id)

    @harmless("join the run that this one belongs to")
    def join_run(
        self, run_id: str, tags: Mapping[str, str], parameters: Mapping[str, str]
    ) -> dict[Place, str]:
        """Ids of the children that a run has already.

        What the run says of itself stays; tags and parameters that it lacks are added.
        """
        run, own = self._client.get_run(run_id), _source() | dict(tags)
        self._experiment_id, known = run.info.experiment_id, run.data.params
        if changed := [key for key, value in parameters.items() if known.get(key, value) != value]:
            logger.warning(
                "the run %s keeps the parameters that it was started with; others here: %s",
                run_id,
                first_few(changed),
            )
        self._describe(
            run_id,
            {key: own[key] for key in own.keys() - run.data.tags.keys()},
            {key: parameters[key] for key in parameters.keys() - known.keys()},
        )
        of_parent = f"tags.`mlflow.parentRunId` = '{run_id}'"
        children = self._client.search_runs([self._experiment_id], of_parent)
        return {
            Place(*(child.data.tags.get(key, "") for key in Place._fields)): child.info.run_id
            for child in children
        }

    def _describe(
        self, run_id: str, tags: Mapping[str, str], parameters: Mapping[str, str]
    ) -> None:
        of = self._mlflow.entities
        self._client.log_batch(
            run_id,
            params=[of.Param(*item) for item in parameters.items()],
            tags=[of.RunTag(*item) for item in tags.items()],
        )

    @harmless("follow the load of the machine")
    def watch_system(self, run_id: str) -> None:
        """Follow the load of processor, memory, disk, network and GPU until a run ends."""
        module = importlib.import_module("mlflow.system_metrics.system_metrics_monitor")
        made = module.SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self._uri)
        made.start()
        self._monitor = made

    @harmless("log metrics")
    def log_metrics(
        self, run_id: str, metrics: Mapping[str, float], step: int = 0, model: str | None = None
    ) -> None:
        """Log numbers of one step, of a logged model where there is one."""
        kind, now = self._mlflow.entities.Metric, int(time.time() * 1000)
        items = [kind(key, value, now, step, model) for key, value in metrics.items()]
        self._client.log_batch(run_id, metrics=items)

    @harmless("log data sets")
    def log_inputs(self, run_id: str, inputs: Mapping[tuple[str, str], str]) -> None:
        """Log the contexts of data sets, by their names and digests."""
        of = self._mlflow.entities
        found = [
            of.DatasetInput(
                of.Dataset(name, digest, "code", json.dumps({"tags": {"source": name}})),
                [of.InputTag("mlflow.data.context", context)],
            )
            for (name, digest), context in inputs.items()
        ]
        self._client.log_inputs(run_id, found)

    @harmless("log a model")
    def log_model(
        self, run_id: str, place: Place, parameters: dict[str, str], network: Bundled, bundle: Path
    ) -> str | None:
        """Id of a new model: a trained network; registered where that is asked for."""
        name, prefix = place.model.replace(".", "-"), self._config.register_as  # no dots in names
        described = {"name": name, "source_run_id": run_id, "params": parameters}
        described["experiment_id"] = self._experiment_id
        register_as = f"{prefix}-{place.pipeline}-{name}" if prefix else None
        make = partial(log_model, self._client, bundle, network, register_as, **described)
        return self._stored(name, make)

    @harmless("store a file")
    def log_artifact(self, run_id: str, path: Path, folder: str | None) -> None:
        """Copy a file or folder into a run."""
        self._stored(path, lambda: self._client.log_artifact(run_id, str(path), folder))

    @harmless("store a file")
    def log_text(self, run_id: str, text: str, file: str) -> None:
        """Write a file in a run."""
        self._stored(file, lambda: self._client.log_text(run_id, text, file))

    def _stored(self, what: object, action: Callable[[], T]) -> T | None:
        """Result of an action that copies files.

        A file that cannot be copied says nothing about the store: the first costs its own warning,
        and tracking goes on.
        """
        from requests.exceptions import RequestException  # noqa: PLC0415  slow to import

        try:
            return action()
        except OSError as error:
            if isinstance(error, RequestException | ConnectionError | TimeoutError):
                raise
            level = logging.DEBUG if self._files_failed else logging.WARNING
            logger.log(level, "tracking could not store the file %s: %s", what, error)
            self._files_failed = True
            return None

    @harmless("close a run")
    def end_run(self, run_id: str, status: str | None, tags: Mapping[str, str]) -> None:
        """Close a run as FINISHED, FAILED or KILLED; None leaves it to whoever started it."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            # It has requests of its own, which a server that hangs would keep for minutes.
            stopping = threading.Thread(target=monitor.finish, daemon=True)
            stopping.start()
            stopping.join(self._config.timeout_s)
        self._describe(run_id, tags, {})
        if status is not None:
            self._client.set_terminated(run_id, status)

    def _found_or_created_experiment(self) -> str:
        name = self._config.experiment
        found: Any = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                self._client.create_experiment(name, self._artifact_uri)
            except self._mlflow.MlflowException:  # perhaps another process has created it since
                if self._client.get_experiment_by_name(name) is None:
                    raise
            found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            raise ValueError(
                f"the experiment {name!r} was deleted there; restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}` or name another one"
            )
        if _KIND not in found.tags:
            self._client.set_experiment_tag(found.experiment_id, _KIND, "custom_model_development")
        return str(found.experiment_id)

    def _attempt(self, what: str, action: Callable[[], T], *, at_start: bool = False) -> T | None:
        """Result of an action; None where the store is off, or fails, which is the one warning."""
        if os.getpid() != self._process:
            return None  # a forked child must neither use this connection nor close these runs
        with self._lock, patient_and_quiet(self._config.timeout_s):
            if not self._on:
                return None  # perhaps since another thread's call, for which this one waited
            try:
                probe(self._uri, self._config.timeout_s, at_start=at_start)
                return action()
            except Exception as error:
                logger.debug("tracking failed", exc_info=True)
                self._on = False
                found = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                remedy = SERVER_REMEDY if self._uri.startswith("http") else FILE_REMEDY
                logger.warning(
                    f"could not {what} at {redacted(self._uri)} ({redacted(found)}). Nothing more "
                    "is tracked in this run; the run itself goes on and its results are complete. "
                    f"{remedy}, point MLFLOW_TRACKING_URI elsewhere, or set enabled: false in "
                    "mlflow.yml."
                )
                return None


def _source() -> dict[str, str]:
    """Script, kind and user, as MLflow's own ``start_run`` has them."""
    from mlflow.tracking.context.default_context import DefaultRunContext  # noqa: PLC0415

    return dict(DefaultRunContext().tags())  # type: ignore[no-untyped-call]


def redacted(text: str) -> str:
    """Text without the user and password of any URL in it."""
    return re.sub(r"//[^/@\s]+@", "//***@", text)
