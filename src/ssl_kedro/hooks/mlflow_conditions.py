"""Under which conditions MLflow is called: where, how patient and quiet, which failures count."""

import logging
import math
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ssl_kedro.core.extras import absent, how_to_install

SQLITE_PREFIX = "sqlite:///"
# A failure is reported once, by the store itself; a first run need not list migrations.
_NOISY_LOGGERS = {
    "mlflow": logging.CRITICAL,
    "alembic": logging.CRITICAL,
    "urllib3.connectionpool": logging.ERROR,
}


class TrackingConfig(BaseModel):
    """Content of ``mlflow.yml``.

    Args:
        tracking_uri: of the MLflow store: ``http(s)://...``, ``sqlite:///...`` or another
            database; a relative sqlite path is below the project folder.
        experiment: name; created where it is absent.
        artifact_location: folder below the project for the files of a new experiment, or a
            URI; used with sqlite stores, since a server decides for itself.
        timeout_s: seconds after which a server counts as down.
        run_id: of a run that somebody else has started and will end; None = a run of its own.
        headline: patterns of the metrics that stand on the parent run, the most important first.
        system_metrics: whether the load of the machine is followed.
        register_as: what names of trained models in the registry begin with; None = none is there.
        enabled: whether anything is tracked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracking_uri: Annotated[str, Field(min_length=1)]
    experiment: Annotated[str, Field(min_length=1)]
    artifact_location: Annotated[str, Field(min_length=1)] = "mlruns"
    timeout_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 5.0
    run_id: str | None = None
    headline: tuple[str, ...] = ("*",)
    system_metrics: bool = False
    register_as: Annotated[str, Field(pattern=r"^[\w -]+$")] | None = None
    enabled: bool = True

    @field_validator("system_metrics")
    @classmethod
    def _installed(cls, asked: bool) -> bool:
        if asked and absent("psutil"):
            raise ValueError(f"needs psutil: {how_to_install('psutil')}")
        return asked

    def store_uri(self, project_path: Path) -> str:
        """The tracking URI with a relative sqlite path made absolute."""
        if sqlite_file(self.tracking_uri) is None:
            return self.tracking_uri
        path = self.tracking_uri.removeprefix(SQLITE_PREFIX)
        return SQLITE_PREFIX + (project_path.absolute() / path).as_posix()

    def artifact_uri(self, project_path: Path) -> str | None:
        """Where a new experiment keeps its files; None leaves it to the server."""
        if not self.tracking_uri.startswith("sqlite:"):
            return None
        where = self.artifact_location
        return where if "://" in where else (project_path / where).absolute().as_uri()


def sqlite_file(uri: str) -> Path | None:
    """File of a sqlite store; None for a database in memory and for every other store."""
    path, _, _ = uri.removeprefix(SQLITE_PREFIX).partition("?")
    named = uri.startswith(SQLITE_PREFIX) and path not in {"", ":memory:"}
    return Path(path) if named else None


@contextmanager
def patient_and_quiet(timeout_s: float) -> Iterator[None]:
    """MLflow's settings for a call; whatever the user has set in the environment stays as it is.

    One retry, because a server may close an idle connection just as it is used again; no
    waiting in between, so that a server that hangs costs twice the limit and no more. Neither
    MLflow nor its migrations and its HTTP client fill the terminal.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(timeout_s)),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
        "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    added = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(added)
    levels = {name: logging.getLogger(name).level for name in _NOISY_LOGGERS}
    for name, level in _NOISY_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for key in added:
            os.environ.pop(key, None)


def probe(uri: str, timeout_s: float, *, at_start: bool) -> None:
    """Fail within the time limit where MLflow itself would wait for minutes.

    A server is asked once, at the start: any HTTP answer counts. A sqlite file is tried
    before every call, which costs well under a millisecond, because MLflow waits 20 s
    for a locked one and retries for 100 s to open a broken one.

    Raises:
        TimeoutError: a server has not answered in time.
        OSError: it cannot be reached, or the file's folder cannot be created.
        ValueError: its address is none.
        sqlite3.Error: the file is locked, broken, absent or may not be written.
    """
    if (database := sqlite_file(uri)) is not None:
        _try_sqlite(database, timeout_s, create=at_start)
    elif at_start and uri.startswith(("http://", "https://")):
        _try_server(uri, timeout_s)


def _try_sqlite(path: Path, timeout_s: float, *, create: bool) -> None:
    """Take and return the write lock of a sqlite file."""
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    location = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(location, timeout=timeout_s, isolation_level=None, uri=True)
    with closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _try_server(uri: str, timeout_s: float) -> None:
    """Ask a server for anything.

    In a thread, because a name server that is slow has no limit of its own. Proxies and
    certificates are those of the later client.
    """
    import requests  # noqa: PLC0415  slow to import for commands that track nothing

    failed: list[Exception] = []

    def ask() -> None:
        try:
            requests.get(f"{uri.rstrip('/')}/health", timeout=timeout_s, allow_redirects=False)
        except requests.exceptions.SSLError:
            # It does answer. Which certificates to trust is for MLflow's own settings to say.
            return
        except (OSError, ValueError) as error:
            failed.append(error)

    thread = threading.Thread(target=ask, name="tracking probe", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    if failed:
        raise failed[0]


def create_database(file: Path) -> None:
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
