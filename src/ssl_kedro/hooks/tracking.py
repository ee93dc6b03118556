"""Kedro runs in MLflow: parameters, metrics as they come, files, models, and how it ended.

A Kedro run is one MLflow run, and every model in it a child run, so that models can be compared in
MLflow's table. Only the client object is used, never MLflow's global "active run": nothing stays
open behind the user's back, and nodes may run in threads.
"""

from __future__ import annotations

import atexit
import csv
import io
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl

from ssl_kedro.core.extras import absent, how_to_install
from ssl_kedro.hooks.flat_parameters import parameters_read
from ssl_kedro.hooks.mlflow_client import TrackingStore
from ssl_kedro.hooks.mlflow_conditions import TrackingConfig
from ssl_kedro.hooks.tracking_names import (
    TAG_VALUE_LIMIT,
    Place,
    bound_constants,
    dataset_inputs,
    headline,
    local_path,
    numbers,
    of_all_models,
    of_one_model,
    run_name,
    run_tags,
    tracking_kind,
)

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from ssl_kedro.training.checkpoints import Row

logger = logging.getLogger("ssl_kedro.tracking")


@dataclass
class _OpenRun:
    """An MLflow run that has not ended.

    Args:
        store: where it is.
        run_id: of the parent.
        joined: whether somebody else has started it, who then ends it too.
        catalog: of the Kedro run.
        several: whether names in the parent keep the pipeline's, of which more than one runs.
        tags: of the run and of its children.
        children: run ids.
        inputs: contexts of data sets by name and digest.
        models: ids of logged models.
        artifacts: files to store at the end, with run and folder.
    """

    store: TrackingStore
    run_id: str
    joined: bool
    catalog: CatalogProtocol[Any, Any]
    several: bool
    tags: Mapping[str, str]
    children: dict[Place, str]
    inputs: dict[tuple[str, str], str] = field(default_factory=dict)
    models: dict[Place, str | None] = field(default_factory=dict)
    artifacts: dict[Path, tuple[str, str | None]] = field(default_factory=dict)


class TrackingHook:
    """Tracks every Kedro run in MLflow; see ``conf/base/mlflow.yml``.

    How a run ends: FINISHED, or FAILED with the error as a tag. Kedro's error hook does not see
    KeyboardInterrupt and SystemExit, so what is open when the interpreter exits is closed as
    KILLED; the hook of rooms turns SIGTERM into SystemExit. After SIGKILL or a loss of
    power a run stays RUNNING: nothing is left to say otherwise.
    """

    def __init__(self) -> None:
        self._config: TrackingConfig | None = None
        self._project_path = Path()
        self._run: _OpenRun | None = None
        self._lock = threading.RLock()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read ``mlflow.yml`` of base and environment.

        Raises:
            ParameterError: naming each faulty key, its value and what is allowed.
        """
        from ssl_kedro.pipelines.parameters import parsed  # noqa: PLC0415  loads torch

        self._project_path = Path(context.project_path)
        try:
            self._config = parsed(TrackingConfig, "mlflow.yml", context.config_loader["mlflow"])
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
        """Start the parent run, or join it, with tags and the parameters that nodes read."""
        self._end("KILLED")  # a run interrupted in this same interpreter, as in a notebook
        if self._config is None or not self._config.enabled:
            return
        if absent("mlflow"):
            logger.warning(
                "this run is not tracked: MLflow is not installed; %s, or say enabled: false in "
                "mlflow.yml",
                how_to_install("mlflow"),
            )
            return
        store, joined = TrackingStore(self._config, self._project_path), self._config.run_id
        if not store.connect():
            return
        tags, parameters = run_tags(run_params), parameters_read(pipeline, catalog)
        children = store.join_run(joined, tags, parameters) or {} if joined else {}
        if not (run_id := joined or store.start_run(run_name(run_params), tags, parameters)):
            return
        several = len(run_params.get("pipeline_names") or ()) > 1
        self._run = _OpenRun(store, run_id, bool(joined), catalog, several, tags, children)
        if self._config.system_metrics:
            store.watch_system(run_id)
        atexit.register(self._end, "KILLED")

    @hook_impl
    def before_node_run(self, node: Node, inputs: Mapping[str, Any]) -> None:
        """Follow the epoch logs that a training node is about to write."""
        run = self._run
        if run is None:
            return
        from ssl_kedro.training.checkpoints import EpochLog  # noqa: PLC0415  loads torch

        for name, value in inputs.items():
            if isinstance(value, EpochLog):
                child = self._run_of(run, Place.of(name), node)
                value.subscribe(partial(self._log_row, run, child))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log metrics, data sets and models at once; remember files for the end of the run."""
        run = self._run
        if run is None:
            return
        dataset = run.catalog.get(dataset_name)
        kind, place = tracking_kind(dataset), Place.of(dataset_name)
        if kind == "metrics" and place.model:
            metrics = {of_one_model(key): value for key, value in numbers(data).items()}
            child = self._run_of(run, place, node)
            run.store.log_metrics(child, metrics, model=run.models.get(place))
        elif kind == "metrics":
            self._log_headline(run, place, data)
        elif kind == "dataset":
            run.inputs |= dataset_inputs(data)
            for run_id in (run.run_id, *run.children.values()):
                run.store.log_inputs(run_id, run.inputs)
        elif kind in ("artifact", "model") and (path := local_path(dataset)):
            owner, (_, parameters) = self._run_of(run, place, node), bound_constants(node.func)
            if kind == "model":
                run.models[place] = run.store.log_model(owner, place, parameters, data, path)
            else:
                folder = place.pipeline if run.several and not place.model else None
                run.artifacts[path] = owner, folder

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Store the files that this run has written, then close all runs as FINISHED."""
        self._end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: BaseException) -> None:
        """The same of a run that has failed, with the error's message."""
        text = f"{type(error).__name__}: {error}"
        self._end("FAILED", error=text[:TAG_VALUE_LIMIT])

    def _log_row(self, run: _OpenRun, run_id: str, row: Row) -> None:
        if self._run is run:
            metrics = numbers(row, "epochs/")
            del metrics["epochs/epoch"]
            run.store.log_metrics(run_id, metrics, step=int(row["epoch"]))

    def _log_headline(self, run: _OpenRun, place: Place, data: Any) -> None:
        """The numbers of a pipeline that matter most as metrics, all of them as a table."""
        metrics = numbers(data)
        start = f"{place.pipeline}." if run.several else ""
        patterns = self._config.headline if self._config is not None else ()
        chosen = {of_all_models(start + k): v for k, v in headline(metrics, patterns).items()}
        run.store.log_metrics(run.run_id, chosen)
        table = io.StringIO()
        csv.writer(table).writerows([("metric", "value"), *metrics.items()])
        run.store.log_text(run.run_id, table.getvalue(), f"{start}metrics.csv")

    def _run_of(self, run: _OpenRun, place: Place, node: Node) -> str:
        """Id of the run of a model, started when it is first needed; else of the parent."""
        if not place.model:
            return run.run_id
        with self._lock:
            if place not in run.children:
                label, parameters = bound_constants(node.func)
                tags = {**run.tags, "mlflow.parentRunId": run.run_id, **place._asdict()}
                started = run.store.start_run(label or place.model, tags, parameters)
                # Where the store is off, nothing is sent under this id.
                run.children[place] = started or ""
                run.store.log_inputs(run.children[place], run.inputs)
            return run.children[place]

    def _end(self, status: str, **tags: str) -> None:
        with self._lock:
            run, self._run = self._run, None
        if run is None:
            return
        if status != "KILLED":
            for path, (run_id, folder) in run.artifacts.items():
                run.store.log_artifact(run_id, path, folder)
        for run_id in run.children.values():
            run.store.end_run(run_id, status, tags)
        run.store.end_run(run.run_id, None if run.joined else status, tags)
        atexit.unregister(self._end)
