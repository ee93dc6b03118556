"""Kedro runs in MLflow: parameters, metrics as they come, files, and how it ended.

A Kedro run is one MLflow run, and every budget in it a child run, so that budgets can be
compared in MLflow's table. Only the client object is used, never MLflow's global "active
run": nothing stays open behind the user's back, and nodes may run in threads.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl

from ssl_kedro.hooks.mlflow_client import TrackingStore
from ssl_kedro.hooks.mlflow_conditions import TrackingConfig, parsed_tracking_config
from ssl_kedro.hooks.tracking_names import (
    TAG_VALUE_LIMIT,
    Place,
    local_path,
    numbers,
    parameters_read,
    pipeline_keys,
    tracking_kind,
    without_budget,
)
from ssl_kedro.reporting.manifest import git_commit

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

    from ssl_kedro.training.checkpoints import EpochLog, Row

logger = logging.getLogger("ssl_kedro.tracking")


@dataclass
class _OpenRun:
    """An MLflow run that has not ended.

    Args:
        store: where it is.
        run_id: of the parent.
        catalog: of the Kedro run.
        several: pipelines run together; names in the parent then keep the pipeline's, because
            two pipelines may use the same name.
        children: run ids by pipeline and budget in percent.
        artifacts: files to store at the end, with the pipeline they belong to.
        followed: epoch logs subscribed to already.
    """

    store: TrackingStore
    run_id: str
    catalog: CatalogProtocol[Any, Any]
    several: bool
    children: dict[tuple[str, int], str] = field(default_factory=dict)
    artifacts: dict[Path, str] = field(default_factory=dict)
    followed: WeakSet[EpochLog] = field(default_factory=WeakSet)

    def prefix(self, pipeline: str) -> str:
        """What names in the parent run begin with."""
        return f"{pipeline}." if self.several and pipeline else ""


class TrackingHook:
    """Tracks every Kedro run in MLflow; see ``conf/base/mlflow.yml``.

    How a run ends: FINISHED, or FAILED with the error as a tag. Kedro's error hook does not
    see KeyboardInterrupt and SystemExit, so what is open when the interpreter exits is
    closed as KILLED. SIGTERM would end the interpreter without that; for the time of a run
    it is turned into SystemExit, unless somebody else handles it already; a thread runner
    then waits for the nodes at work. After SIGKILL or
    a loss of power a run stays RUNNING: nothing is left to say otherwise.
    """

    def __init__(self) -> None:
        self._config: TrackingConfig | None = None
        self._project_path = Path()
        self._run: _OpenRun | None = None
        self._lock = threading.RLock()
        self._restore_sigterm: Callable[[], None] | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read ``mlflow.yml`` of base and environment.

        Raises:
            TrackingConfigError: naming each faulty key, its value and what is allowed.
        """
        self._project_path = Path(context.project_path)
        try:
            self._config = parsed_tracking_config(context.config_loader["mlflow"])
        except MissingConfigException:
            self._config = None
            logger.warning(
                "this run is not tracked: there is no mlflow.yml in the configuration; "
                "restore conf/base/mlflow.yml, or say so there with enabled: false"
            )

    @hook_impl
    def before_pipeline_run(
        self, run_params: Mapping[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Start the parent run with tags and the parameters that the pipeline reads."""
        self._end("KILLED")  # a run interrupted in this same interpreter, as in a notebook
        if self._config is None or not self._config.enabled:
            return
        store = TrackingStore(self._config, self._project_path)
        if not store.connect():
            return
        names = run_params.get("pipeline_names") or ["__default__"]
        started = datetime.now().astimezone()
        run_id = store.start_run(
            name=f"{'+'.join(names).strip('_')} {started:%Y-%m-%d %H:%M:%S}",
            tags=_run_tags(run_params, names),
            parameters=parameters_read(pipeline, catalog),
        )
        if run_id is None:
            return
        several = len(pipeline_keys(pipeline.datasets())) > 1
        self._run = _OpenRun(store, run_id, catalog, several)
        atexit.register(self._end, "KILLED")
        self._restore_sigterm = exit_on_sigterm()

    @hook_impl
    def before_node_run(self, inputs: Mapping[str, Any]) -> None:
        """Follow the epoch logs that a training node is about to write."""
        run = self._run
        if run is None:
            return
        from ssl_kedro.training.checkpoints import EpochLog  # noqa: PLC0415  loads torch

        for name, value in inputs.items():
            if isinstance(value, EpochLog) and value not in run.followed:
                run.followed.add(value)
                value.subscribe(partial(self._log_row, run, Place.of(name)))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log metrics at once; remember files for the end of the run."""
        run = self._run
        if run is None:
            return
        dataset = run.catalog.get(dataset_name)
        kind = tracking_kind(dataset)
        place = Place.of(dataset_name)
        if kind == "metrics":
            self._log_final_metrics(run, place.pipeline, dataset_name, data)
        elif kind == "artifact":
            path = local_path(dataset)
            if path is not None:
                with self._lock:
                    run.artifacts[path] = run.prefix(place.pipeline).rstrip(".")

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Store the files that this run has written, then close all runs as FINISHED."""
        run = self._run
        if run is None:
            return
        for path, folder in run.artifacts.items():
            run.store.log_artifact(run.run_id, path, folder or None)
        self._end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: BaseException) -> None:
        """Close all runs as FAILED, with the error's message."""
        text = f"{type(error).__name__}: {error}"
        self._end("FAILED", {"error": text[:TAG_VALUE_LIMIT]})

    def _log_row(self, run: _OpenRun, place: Place, row: Row) -> None:
        if self._run is not run:
            return
        run_id, start = run.run_id, run.prefix(place.pipeline)
        if place.budget is not None:
            run_id, start = self._child(run, place.pipeline, place.budget), ""
        values = {key: value for key, value in row.items() if key != "epoch"}
        metrics = numbers(values, start + "".join(f"{part}." for part in place.rest))
        run.store.log_metrics(run_id, metrics, step=int(row["epoch"]))

    def _log_final_metrics(
        self, run: _OpenRun, pipeline: str, dataset_name: str, data: Any
    ) -> None:
        if not isinstance(data, Mapping):
            logger.warning(
                "%s is marked `mlflow: metrics` but holds a %s; expected a flat mapping of "
                "numbers, so it is not tracked",
                dataset_name,
                type(data).__name__,
            )
            return
        metrics = {key.removeprefix(f"{pipeline}."): value for key, value in numbers(data).items()}
        run.store.log_metrics(run.run_id, numbers(metrics, run.prefix(pipeline)))
        of_budgets: dict[int, dict[str, float]] = {}
        for key, value in metrics.items():
            budget, rest = without_budget(key.split("."))
            if budget is not None:
                # The same name in every child, so that MLflow can chart it over the budget.
                of_budgets.setdefault(budget, {})[".".join(rest)] = value
        for budget, own in of_budgets.items():
            run.store.log_metrics(self._child(run, pipeline, budget), own)

    def _child(self, run: _OpenRun, pipeline: str, budget: int) -> str:
        """Id of a budget's run, started when it is first needed."""
        with self._lock:
            if (pipeline, budget) not in run.children:
                share = budget / 100
                tags = {"mlflow.parentRunId": run.run_id, "pipeline": pipeline}
                started = run.store.start_run(
                    f"budget_{budget:02d}", tags, {"budget": f"{share:.2f}"}
                )
                if started is None:
                    return ""  # the store is off: nothing is sent under this id
                run.children[pipeline, budget] = started
                run.store.log_metrics(started, {"budget": share})
            return run.children[pipeline, budget]

    def _end(self, status: str, tags: Mapping[str, str] | None = None) -> None:
        with self._lock:
            run, self._run = self._run, None
        if run is None:
            return
        for run_id in (*run.children.values(), run.run_id):
            run.store.end_run(run_id, status, tags)
        atexit.unregister(self._end)
        if self._restore_sigterm is not None:
            self._restore_sigterm()
            self._restore_sigterm = None


def _run_tags(run_params: Mapping[str, Any], names: list[str]) -> dict[str, str]:
    tags = {
        "kedro.env": run_params.get("env"),
        "kedro.pipelines": ",".join(names),
        "kedro.run_id": run_params.get("run_id"),
        "kedro.runner": run_params.get("runner"),
        "git_commit": git_commit(),
    }
    return {key: str(value)[:TAG_VALUE_LIMIT] for key, value in tags.items() if value}


def exit_on_sigterm() -> Callable[[], None] | None:
    """Make SIGTERM end the interpreter in order; returns what undoes it.

    Only where nobody else handles the signal, and only in the main thread, where Python
    allows it. A second SIGTERM ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return None

    process = os.getpid()

    def leave(signum: int, _: FrameType | None) -> None:
        signal.signal(signum, signal.SIG_DFL)
        if os.getpid() != process:
            os.kill(os.getpid(), signum)  # a forked worker ends as it always would
        sys.exit(128 + signum)

    def restore() -> None:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, leave)
    return restore
