"""Conditions under which MLflow is called: patience, quiet, and which failures count."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

# A failure is reported once, by the store itself; a first run need not list migrations.
_NOISY_LOGGERS = {
    "mlflow": logging.CRITICAL,
    "alembic": logging.CRITICAL,
    "urllib3.connectionpool": logging.ERROR,
}


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


def store_failures() -> tuple[type[BaseException], ...]:
    """What a store that fails may raise; all of requests' exceptions are OSError.

    ValueError, KeyError, TypeError and AttributeError come from MLflow reading the answer of
    something that is not an MLflow server. MLflow's own are only looked up once it is
    imported: before that nobody can raise them.
    """
    failures = (OSError, sqlite3.Error, ImportError, RuntimeError)
    unreadable = (ValueError, KeyError, TypeError, AttributeError)
    if "mlflow" not in sys.modules:
        return (*failures, *unreadable)
    from google.protobuf.json_format import (  # type: ignore[import-untyped]  # noqa: PLC0415
        Error as ProtobufError,
    )
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    return (*failures, *unreadable, MlflowException, SQLAlchemyError, ProtobufError)


def is_local(error: BaseException) -> bool:
    """Whether an error is about a file and not about a connection."""
    from requests.exceptions import RequestException  # noqa: PLC0415

    network = (RequestException, ConnectionError, TimeoutError)
    return isinstance(error, OSError) and not isinstance(error, network)


def try_sqlite(path: Path, timeout_s: float, *, create: bool) -> None:
    """Take and return the write lock of a sqlite file.

    Raises:
        OSError: its folder cannot be created.
        sqlite3.Error: the file is locked, broken, absent or may not be written.
    """
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    mode = "rwc" if create else "rw"
    location = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(location, timeout=timeout_s, isolation_level=None, uri=True)
    with closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def try_server(uri: str, timeout_s: float) -> None:
    """Ask a server for anything; any HTTP answer counts.

    In a thread, because a name server that is slow has no limit of its own. Proxies and
    certificates are those of the later client.

    Raises:
        TimeoutError: the time is over.
        OSError: it cannot be reached.
        ValueError: the address is none.
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
