"""A small pipeline shaped like the real ones, run through Kedro's own hooks and runner.

As a program (``python tracked_run.py URI FOLDER [UNTIL]``) it waits in its third epoch to be
interrupted, unless told to run on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import CachedDataset, DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.text import TextDataset
from pydantic import BaseModel

from ssl_kedro.hooks.interruption import exit_on_sigterm
from ssl_kedro.hooks.tracking import TrackingHook
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.training.checkpoints import EpochLog

TRAININGS = {
    "dual_gating.vicreg": Training("vicreg", None, 3),
    "dual_gating.budget_30": Training("dual_gating", 0.3, 3),
    "dual_gating.budget_30.vicreg_gating": Training("vicreg_gating", 0.3, 3),
    "dual_gating.budget_50": Training("dual_gating", 0.5, 3, {"steering": "dual_ascent"}),
}
SPACES = tuple(TRAININGS)
METRICS = {
    "dense_macs": 7,
    "vicreg.dense.knn_top1": 0.5,
    "dual.budget_30.gated.knn_top1": 0.25,
    "dual.budget_50.gated.knn_top1": 0.75,
    "comment": "not a number",
}
EVALUATION = {"branches": {"gated": {"knn_top1": 0.25, "linear_top1": (0.5, 0.75)}}, "seed": None}
SUMMARY = {
    "source": "textures",
    "fingerprints": {"pretrain": "0123456789abcdef", "train": "0123456789abcdef", "eval": "fedc"},
}
EPOCHS = 3


@dataclass(frozen=True)
class Train:
    lr: float = 0.01
    milestones: tuple[float, ...] = (0.6, 0.8)


class Parameters(BaseModel):
    seed: int = 3
    resume: bool = False
    root: str | None = None
    train: Train = Train()


def train(log: EpochLog, parameters: Parameters, each_epoch: Callable[[int], None]) -> str:
    for epoch in range(1, EPOCHS + 1):
        each_epoch(epoch)
        log.append({"epoch": epoch, "loss": 10.0 - epoch, "macs": 100.0 * epoch})
    return "trained"


def pipeline_and_catalog(
    folder: Path, each_epoch: Callable[[int], None] = lambda _: None
) -> tuple[Pipeline, DataCatalog]:
    """Four trainings, then metrics and a report."""

    def pretrain(log: EpochLog, parameters: Parameters, *, training: Training) -> str:
        return train(log, parameters, each_epoch)

    nodes = [
        node(
            given(pretrain, training=TRAININGS[space]),
            [f"{space}.epoch_log", "params:dual_gating"],
            f"{space}.training",
            name=f"train_{space.replace('.', '_')}",
            namespace=space,
        )
        for space in SPACES
    ]
    nodes += [
        node(lambda: SUMMARY, None, "dual_gating.data_summary", name="summarise"),
        node(
            lambda _: EVALUATION,
            "dual_gating.budget_30.training",
            "dual_gating.budget_30.evaluation",
            name="evaluate",
        ),
        node(
            lambda *_: (METRICS, "<p>done</p>"),
            [f"{space}.training" for space in SPACES],
            ["dual_gating.metrics", "dual_gating.report"],
            name="gather",
        ),
    ]
    catalog = DataCatalog(
        {
            "params:dual_gating": MemoryDataset(Parameters()),
            "params:other": MemoryDataset({"unused": 1}),
            "dual_gating.metrics": JSONDataset(
                filepath=str(folder / "metrics.json"), metadata={"mlflow": "metrics"}
            ),
            "dual_gating.data_summary": MemoryDataset(metadata={"mlflow": "dataset"}),
            "dual_gating.budget_30.evaluation": MemoryDataset(metadata={"mlflow": "metrics"}),
            "dual_gating.vicreg.training": TextDataset(
                filepath=str(folder / "training.json"), metadata={"mlflow": "artifact"}
            ),
            "dual_gating.report": CachedDataset(
                TextDataset(filepath=str(folder / "report.html")),
                metadata={"mlflow": "artifact"},
            ),
            "dual_gating.old_table": TextDataset(
                filepath=str(folder / "old.txt"), metadata={"mlflow": "artifact"}
            ),
        }
        | {
            f"{space}.epoch_log": MemoryDataset(EpochLog(folder / f"{space}.jsonl"))
            for space in SPACES
        }
    )
    return Pipeline(nodes), catalog


def run(
    folder: Path,
    *,
    each_epoch: Callable[[int], None] = lambda _: None,
    runner: Any = None,
    hook: TrackingHook | None = None,
    **configuration: Any,
) -> dict[str, Any]:
    """Run the pipeline as a Kedro session does; returns the metrics that it saved."""
    manager = _create_hook_manager()
    manager.register(hook or TrackingHook())
    settings = {"tracking_uri": "sqlite:///mlflow.db", "experiment": "tests"} | configuration
    manager.hook.after_context_created(
        context=SimpleNamespace(config_loader={"mlflow": settings}, project_path=folder)
    )
    pipeline, catalog = pipeline_and_catalog(folder, each_epoch)
    run_params = {
        "run_id": "2025-01-02T03.04.05.678Z",
        "env": "local",
        "pipeline_names": ["dual_gating"],
        "runner": "<kedro.runner.sequential_runner.SequentialRunner object at 0x7f0011223344>",
        "runtime_params": {"run": "night"},
    }
    common = {"run_params": run_params, "pipeline": pipeline, "catalog": catalog}
    manager.hook.before_pipeline_run(**common)
    try:
        result = (runner or SequentialRunner()).run(
            pipeline, catalog, hook_manager=manager, run_id=run_params["run_id"]
        )
    except Exception as error:
        manager.hook.on_pipeline_error(error=error, **common)
        raise
    manager.hook.after_pipeline_run(run_result=result, **common)
    saved: dict[str, Any] = catalog.load("dual_gating.metrics")
    return saved


def wait_to_be_interrupted(epoch: int) -> None:
    if epoch == EPOCHS:
        sys.stdout.write("training\n")
        sys.stdout.flush()
        time.sleep(60)


def main(uri: str, folder: str, until: str = "interrupted") -> None:
    wait = wait_to_be_interrupted if until == "interrupted" else lambda _: None
    run(Path(folder), tracking_uri=uri, each_epoch=wait)


if __name__ == "__main__":
    exit_on_sigterm()  # as the hook of rooms does in a run of the project
    main(*sys.argv[1:])
