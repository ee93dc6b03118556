"""MLflow's client, made harmless: its first failure switches it off with one warning."""

from __future__ import annotations

import importlib
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from ssl_kedro.core.memory import loading
from ssl_kedro.hooks.mlflow_conditions import (
    SQLITE_PREFIX,
    TrackingConfig,
    is_local,
    patient_and_quiet,
    probe,
    sqlite_file,
    store_failures,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger("ssl_kedro.tracking")

T = TypeVar("T")


class TrackingStore:
    """One experiment of an MLflow store, safe to call whether or not the store answers.

    No method raises because of the store. The first failure is logged as a warning with its
    remedy and every later call returns at once. Calls may come from several threads; they
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
        self._process = os.getpid()
        self._client: MlflowClient
        self._experiment_id: str

    @loading()
    def connect(self) -> bool:
        """Find the store and the experiment, created where absent; whether that worked."""
        with warnings.catch_warnings():
            # Deprecations inside MLflow and SQLAlchemy, which Kedro would show, are theirs.
            warnings.simplefilter("ignore")
            self._attempt("open the store", lambda: None, at_start=True)
            # On its own: the import sets the levels of the loggers that calls quieten.
            self._attempt("load MLflow", lambda: importlib.import_module("mlflow"))
            self._attempt("open the store", self._open)
        return self._on

    def _open(self) -> None:
        # Imported here: it takes a second or more, which `kedro --help` should not pay.
        from mlflow import MlflowClient  # noqa: PLC0415

        file = sqlite_file(self._uri)
        if file is not None and not file.stat().st_size:
            _create_database(file)
        self._client = MlflowClient(self._uri)
        self._experiment_id = self._found_or_created_experiment()
        logger.info("tracking in %s, experiment %s", redacted(self._uri), self._config.experiment)

    def start_run(
        self, name: str, tags: Mapping[str, str], parameters: Mapping[str, str]
    ) -> str | None:
        """Id of a new run; None where the store does not answer."""

        def call() -> str:
            from mlflow.entities import Param  # noqa: PLC0415

            created = self._client.create_run(self._experiment_id, tags=dict(tags), run_name=name)
            run_id = str(created.info.run_id)
            self._client.log_batch(run_id, params=[Param(*item) for item in parameters.items()])
            return run_id

        return self._attempt("start a run", call)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers of one step."""

        def call() -> None:
            from mlflow.entities import Metric  # noqa: PLC0415

            now = int(time.time() * 1000)
            items = [Metric(key, value, now, step) for key, value in metrics.items()]
            self._client.log_batch(run_id, metrics=items)

        if metrics:
            self._attempt("log metrics", call)

    def log_artifact(self, run_id: str, path: Path, folder: str | None) -> None:
        """Copy a file or folder into a run.

        A file that cannot be copied says nothing about the store: it costs its own warning,
        and tracking goes on.
        """

        def call() -> None:
            try:
                self._client.log_artifact(run_id, str(path), folder)
            except OSError as error:
                if not is_local(error):
                    raise
                logger.warning("tracking could not store the file %s: %s", path, error)

        self._attempt("store a file", call)

    def end_run(self, run_id: str, status: str, tags: Mapping[str, str] | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED."""

        def call() -> None:
            for key, value in (tags or {}).items():
                self._client.set_tag(run_id, key, value)
            self._client.set_terminated(run_id, status)

        self._attempt("close a run", call)

    def _found_or_created_experiment(self) -> str:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        name = self._config.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, self._artifact_uri))
            except MlflowException:
                # Another process may have created it since.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise ValueError(
                f"the experiment {name!r} was deleted there; restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}` or name another one"
            )
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
            except store_failures() as error:
                self._switch_off(what, error)
                return None

    def _switch_off(self, what: str, error: BaseException) -> None:
        self._on = False
        text = " ".join(str(error).split())[:300]
        server = self._uri.startswith("http")
        check = "Check that it exists, may be written and is not locked by others"
        logger.warning(
            "could not %s at %s (%s: %s). Nothing more is tracked in this run; the run itself "
            "goes on and its results are complete. %s, point MLFLOW_TRACKING_URI elsewhere, or set "
            "enabled: false in mlflow.yml.",
            what,
            redacted(self._uri),
            type(error).__name__,
            redacted(text),
            "Start the server (`mlflow server`)" if server else check,
        )


def _create_database(file: Path) -> None:
    """Fill an empty database under another name, so that it never is half made under its own.

    MLflow creates some tables and changes them in forty steps; it cannot go on with what a kill in
    between leaves. Of runs that start at once, one makes it and the others wait.
    """
    from mlflow import MlflowClient  # noqa: PLC0415

    from ssl_kedro.core.files import replaced_file  # noqa: PLC0415  loads NumPy

    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.stat().st_size:
            for left in file.parent.glob(f".{file.name}.*.tmp*"):
                left.unlink()  # of a run that was killed: whoever makes one holds the lock
            with replaced_file(file) as temporary:
                MlflowClient(f"{SQLITE_PREFIX}{temporary.as_posix()}").search_experiments()


def redacted(text: str) -> str:
    """Text without the user and password of any URL in it."""
    return re.sub(r"//[^/@\s]+@", "//***@", text)
