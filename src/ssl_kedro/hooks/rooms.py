"""Where a run leaves its results: a room for each environment and named run, one run at a time."""

import json
import logging
import os
import re
import socket
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

from ssl_kedro.core.errors import UserError, first_few
from ssl_kedro.pipelines import effective_parameters

DATA, LATEST = "data", "latest"
_LOCK, _OWNER = ".lock", ".running.json"


class RoomError(UserError, ValueError):
    """A name that no room can have, or a room in which a run is going on."""


def room(environment: str | None, run: object, environments: Collection[str]) -> str:
    """Folder of a run's results, relative to the project (ADR 23).

    Args:
        environment: that is run; None, "base" and "local" are the base environment.
        run: the parameter ``run``, None where the run has no name.
        environments: names that a run cannot have: their folders would be the same.

    Raises:
        RoomError: the name is none of a folder, or that of another room.
    """
    parts = [DATA] if environment in (None, "base", "local") else [DATA, str(environment)]
    if run is None:
        return "/".join(parts)
    name = str(run)
    if not re.fullmatch(r"[^\W_][\w.-]*", name) or re.match(r"\d\d_", name):
        raise RoomError(
            f"run = {run!r}: expected a name of letters, digits, dots, dashes and underscores that "
            "starts with a letter or digit and not as 01_raw does; it becomes a folder"
        )
    if name in (*environments, LATEST):
        raise RoomError(
            f"run = {run!r}: expected a name that no other folder of {DATA}/ has; taken are "
            f"{first_few([LATEST, *sorted(environments)])}"
        )
    return "/".join([*parts, name])


class RoomHook:
    """Keeps two runs out of one room, and leaves a link to the results of the latest."""

    def __init__(self) -> None:
        self._project = Path()
        self._room = Path(DATA)
        self._joined = False
        self._lock: FileLock | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Take the room of the run at hand from the configuration."""
        self._project = Path(context.project_path)
        self._room = self._project / context.config_loader.room()  # type: ignore[attr-defined]
        given = context.config_loader.runtime_params or {}
        self._joined = bool(given.get("mlflow_run_id") or os.environ.get("MLFLOW_RUN_ID"))

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Claim the room until the run ends, however it ends.

        The operating system holds the claim and lets go of it with the process, so that no run
        that was killed stands in the way. Runs that an orchestrator joins to one by the id of
        an MLflow run share a room, as do machines that share a training.

        Raises:
            RoomError: another run is in the room; says which, and how to get another room.
        """
        if self._joined:
            return
        shared = any(
            isinstance(found, dict) and (found.get("train") or {}).get("nodes", 1) != 1
            for found in effective_parameters.current().values()
        )
        from ssl_kedro.core.files import finish_replacing, replaced_file  # noqa: PLC0415  loads NumPy

        host = socket.gethostname()
        self._room.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._room / f"{_LOCK}.{host}" if shared else self._room / _LOCK)
        owner = self._room / _OWNER
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RoomError(self._occupied(owner)) from None
        self._lock = lock
        # Machines that share a training and a disk may be writing there now.
        for folder in [] if shared else sorted(self._room.glob("0[2-8]_*")):
            for line in finish_replacing(folder):
                logging.getLogger(__name__).warning("Left by a run that was killed: %s", line)
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        names = ", ".join(run_params.get("pipeline_names") or ["__default__"])
        found = {"pipeline": names, "process": os.getpid(), "host": host, "started": started}
        with replaced_file(owner) as temporary:
            temporary.write_text(json.dumps(found) + "\n")

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Leave the room, and a link to what lies in it."""
        for name in run_params.get("pipeline_names") or ():
            self._link(name)
        self._leave()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Leave the room."""
        self._leave()

    def _leave(self) -> None:
        if self._lock is not None:
            (self._room / _OWNER).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _occupied(self, owner: Path) -> str:
        where = self._room.relative_to(self._project)
        try:
            found = json.loads(owner.read_text())
            who = "{pipeline}, process {process} on {host} since {started}".format(**found)
        except (OSError, ValueError, KeyError):
            who = "one that is about to start"
        return (
            f"{where}/ is in use by another run ({who}): wait for its end, or give this one a room "
            "of its own with --params run=NAME"
        )

    def _link(self, pipeline: str) -> None:
        """``data/latest/<pipeline>`` leads to the pipeline's report, where links exist."""
        from ssl_kedro.core.files import replaced_file  # noqa: PLC0415  loads NumPy

        report = self._room / "08_reporting" / pipeline
        links = self._project / DATA / LATEST
        if not report.is_dir():
            return
        try:
            links.mkdir(parents=True, exist_ok=True)
            with replaced_file(links / pipeline) as temporary:
                temporary.symlink_to(os.path.relpath(report, links), target_is_directory=True)
        except OSError:  # a file system or a system without links: a convenience less
            return
