"""Where a run leaves its results: a room for each environment and named run, one run at a time."""

import atexit
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from ssl_kedro.core.errors import UserError, first_few
from ssl_kedro.hooks.interruption import (
    checkpoints,
    command_line,
    continuing,
    exit_on_sigterm,
    interrupted,
    resume_keys,
)
from ssl_kedro.pipelines import effective_parameters

if TYPE_CHECKING:
    from ssl_kedro.training.checkpoints import CheckpointStore

DATA, LATEST = "data", "latest"
_LOCK, _OWNER = ".lock", ".running.json"
# Bytes that a run needs at least, whatever it is.
_LEAST = 50_000_000


class RoomError(UserError, ValueError):
    """A name that no room can have, or a room in which a run is going on.

    Cause: two runs would write to one folder, or ``run=NAME`` is no name of a folder.
    Remedy: wait for the other run, or name this one: ``--params run=night``.
    """


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
        self._restore_sigterm: Callable[[], None] | None = None
        self._anew: list[CheckpointStore] = []

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Take the room of the run at hand from the configuration."""
        self._project = Path(context.project_path)
        self._room = self._project / context.config_loader.room()  # type: ignore[attr-defined]
        given = context.config_loader.runtime_params or {}
        self._joined = bool(given.get("mlflow_run_id") or os.environ.get("MLFLOW_RUN_ID"))

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Claim the room until the run ends, however it ends.

        The operating system holds the claim and lets go of it with the process, so that no run
        that was killed stands in the way. Runs that an orchestrator joins to one by the id of
        an MLflow run share a room, as do machines that share a training.

        Raises:
            RoomError: another run is in the room; says which, and how to get another room.
            StorageError: the room cannot be written to, or is too full for a run.
        """
        from ssl_kedro.core.files import storage_told  # noqa: PLC0415  loads NumPy

        self._release()  # a run interrupted in this same interpreter, as in a notebook
        written = {name.partition(".")[0] for name in pipeline.all_outputs()}
        with storage_told(self._room, _LEAST):
            self._room.mkdir(parents=True, exist_ok=True)
        if self._joined:
            self._check_storage(written)
            self._restore_sigterm = exit_on_sigterm()
            return
        current = effective_parameters.current()
        shared = any(
            isinstance(found, dict) and (found.get("train") or {}).get("nodes", 1) != 1
            for found in current.values()
        )
        host = socket.gethostname()
        with storage_told(self._room, _LEAST):
            lock = FileLock(self._room / f"{_LOCK}.{host}" if shared else self._room / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RoomError(self._occupied(self._room / _OWNER)) from None
        self._lock = lock
        if not (shared or (self._room / _OWNER).exists()):
            self._anew = [
                catalog.load(name)
                for name in sorted(pipeline.inputs())
                if name.endswith(".checkpoint")
                and not resume_keys(current, [name.partition(".")[0]], value=True)
            ]
        try:
            self._settle(run_params, written, shared)
        except BaseException:
            self._release()
            raise

    def _settle(self, run_params: dict[str, Any], pipelines: Collection[str], shared: bool) -> None:
        """Look at what lies in a room that was just claimed, and say who has it now."""
        from ssl_kedro.core.files import finish_replacing, replaced_file  # noqa: PLC0415  NumPy

        # Machines that share a training and a disk may be writing there now.
        for folder in [] if shared else sorted(self._room.glob("0[2-8]_*")):
            for line in finish_replacing(folder):
                logging.getLogger(__name__).warning("Left by a run that was killed: %s", line)
        self._check_storage(pipelines)
        owner, started = self._room / _OWNER, datetime.now().astimezone()
        keys = resume_keys(effective_parameters.current(), pipelines)
        if owner.exists() and not shared:
            self._say_what_is_left(owner, pipelines, keys)
        found = {
            "pipeline": ", ".join(run_params.get("pipeline_names") or ["__default__"]),
            "process": os.getpid(),
            "host": socket.gethostname(),
            "started": started.isoformat(timespec="seconds"),
        }
        with replaced_file(owner) as temporary:
            temporary.write_text(json.dumps(found) + "\n")
        typed = click.get_current_context(silent=True) is not None
        command = command_line(sys.argv) if typed else ["kedro", "run"]
        atexit.register(self._interrupted, pipelines, keys, started.timestamp(), command)
        self._restore_sigterm = exit_on_sigterm()

    @hook_impl
    def before_node_run(self) -> None:
        """Forget checkpoints of a run that has ended, when this one begins these trainings anew.

        Else to continue this run, after an interruption, would come upon them where it had not yet
        come to a training. All checks are behind when the first node starts.
        """
        forgotten, self._anew = self._anew, []
        for store in forgotten:
            store.forget()

    # After all others: tracking still reads what lies in the room.
    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Leave the room, and a link to what lies in it."""
        for name in run_params.get("pipeline_names") or ():
            self._link(name)
        if self._lock is not None:
            (self._room / _OWNER).unlink(missing_ok=True)
        self._release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Leave the room, with what tells the next run that this one has left checkpoints."""
        self._release()

    def _release(self) -> None:
        """Let go of the room, as of one whose run did not end."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        atexit.unregister(self._interrupted)
        if self._restore_sigterm is not None:
            self._restore_sigterm()
            self._restore_sigterm = None

    def _interrupted(
        self, pipelines: Collection[str], keys: list[str], since: float, command: list[str]
    ) -> None:
        """The interpreter ends before the run has; Kedro's hooks do not see that."""
        kept = checkpoints(self._room, pipelines, since)
        where = self._room.relative_to(self._project)
        goes_on = continuing(command, keys if kept else ())
        sys.stderr.write(f"\n{interrupted(where, kept, goes_on)}\n")

    def _say_what_is_left(self, owner: Path, pipelines: Collection[str], keys: list[str]) -> None:
        """A run that did not end has left its checkpoints; this one may go on from them."""
        try:
            since = datetime.fromisoformat(json.loads(owner.read_text())["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        kept = checkpoints(self._room, pipelines, since.timestamp())
        if kept and keys:
            logging.getLogger(__name__).warning(
                "The run started at %s here did not end; it has left checkpoints of %s. This run "
                "begins anew and replaces them; stop it and add --params %s to continue instead",
                f"{since:%Y-%m-%d %H:%M:%S}",
                first_few(kept),
                ",".join(f"{key}=true" for key in keys),
            )

    def _check_storage(self, pipelines: Collection[str]) -> None:
        """Refuse a room that cannot take the largest file of an earlier run once more.

        A result is replaced when the new one is whole, so that one of them is there twice.
        """
        from ssl_kedro.core.files import StorageError, free_bytes, size_of  # noqa: PLC0415  NumPy

        places = [self._room, *self._room.glob("0[2-8]_*")]
        left = [p for place in places for name in pipelines for p in place.glob(f"{name}*/**/*")]
        needed = max([_LEAST, *(size_of(path) for path in left if path.is_file())])
        for place in places:
            free = free_bytes(place)
            if free < needed:
                raise StorageError.of(place, "too little room", needed, free)
            if not os.access(place, os.W_OK):
                raise StorageError.of(place, "it is read-only", needed, free)

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
