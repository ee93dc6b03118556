"""Shared set-up of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import warm

# Before anything imports MLflow or Kedro: no telemetry.
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# Small tensors gain nothing from a second thread and lose much when tests run side by side.
torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]

# A complete run in seconds: every node, one budget, a network too small to learn much.
TINY = {
    "recipe": "authors",
    "data.generated": 200,
    "data.generated_eval": 60,
    "data.size": 16,
    "encoder.width": 4,
    "expander.hidden": 16,
    "expander.output": 16,
    "train.epochs": 3,
    "train.batch_size": 20,
    "train.lr": 0.4,  # 0.8 is at the edge of stability with so narrow an expander
    "train.precision": "fp32",
    "probe.epochs": 5,
    "probe.runs": 2,
    "embedding.samples": 40,
    "budgets": "0.5",
    # UMAP takes 10 s in every new process; `finished` has all parts.
    "parts": "table_6_1;figure_6_1",
    # Timed in `finished` alone.
    "inference.models": "",
}
# The same of saliency360.
TINY_SALIENCY: dict[str, object] = {
    "data.count_train": 6,
    "data.count_test": 4,
    "data.count_unlabelled": 4,
    "image.height": 32,
    "image.width": 64,
    "truth.height": 32,
    "encoder.width": 0.1,
    "contrast.negatives": 16,
    "train.epochs": 2,
    "train.batch_size": 4,
    "train.precision": "fp32",
    "decoder.width": 0.1,
    "decoder_train.epochs": 2,
    "decoder_train.batch_size": 4,
    "score.resamples": 50,
    "timing.widths": "64",
    "timing.panoramas": 1,
    "gallery.panoramas": 2,
}
# Timing in moments: what it says of speed means nothing.
TIMED = {
    "inference.models": "dual",
    "inference.batches": "1;8",
    "inference.engines": "openvino;eager",
    "inference.seconds": 0.02,
}


@dataclass(frozen=True)
class Project:
    """A copy of the project in a folder of its own."""

    path: Path

    def kedro(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        module: str = "kedro",
        cold: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run Kedro's command line in the copy, in a process of its own.

        Args:
            arguments: of the command line.
            environment: variables beside or in place of those that are set.
            module: what is run, as by ``python -m``.
            cold: in an interpreter started anew, as users have it, which takes seconds more.
        """
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(environment or {})}
        if not cold:
            return warm.run_module(module, *arguments, folder=self.path, environment=variables)
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
            env=variables,
        )

    def run(
        self,
        changes: Mapping[str, object] | None = None,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        cold: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """``kedro run --pipeline dual_gating`` with the tiny parameters and changes to them."""
        parameters = ",".join(
            f"dual_gating.{key}={value}" for key, value in {**TINY, **(changes or {})}.items()
        )
        return self.kedro(
            "run",
            "--pipeline",
            "dual_gating",
            "--params",
            parameters,
            *arguments,
            environment=environment,
            cold=cold,
        )

    @property
    def results(self) -> Path:
        """Where the pipeline's results lie."""
        return self.path / "data" / "08_reporting" / "dual_gating"


@cache
def empty_database() -> bytes:
    """MLflow's tables without a run: making them takes a second, a copy does not."""
    from mlflow import MlflowClient  # noqa: PLC0415  most tests do without

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{file}").search_experiments()
        return file.read_bytes()


def copied_project(folder: Path, *, bare: bool = False) -> Project:
    """The project's configuration, notebooks and code in another folder, without its data.

    Unless it is to be ``bare``, as after a clone, the database of the tracking is there already.
    """
    ignored = shutil.ignore_patterns(".ipynb_checkpoints", "*.egg-info")
    for name in ("conf", "notebooks", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder / name)
    if not bare:
        (folder / "mlflow.db").write_bytes(empty_database())
    return Project(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project folder without results."""
    return copied_project(tmp_path)


@pytest.fixture
def bare_project(tmp_path: Path) -> Project:
    """A project folder as a clone is."""
    return copied_project(tmp_path, bare=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of whole runs come first, so that two processes that share the files end together."""
    items.sort(key=lambda item: item.path.parent.name not in ("pipelines", "hooks", "distributed"))


@pytest.fixture(scope="session", autouse=True)
def nothing_left_warm() -> Iterator[None]:
    """The process that commands were forked from ends with the tests."""
    yield
    warm.close()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project folder in which the tiny pipeline has run once; tests only read it.

    Once also for all processes that share the tests: the first makes it, others wait.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, mark = shared / "finished", shared / "finished.done"
    with FileLock(shared / "finished.lock"):
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a run that failed
            done = copied_project(folder, bare=True).run(
                {"parts": "table_6_1;figure_6_1;figure_6_2", **TIMED}, cold=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
            mark.touch()
    return Project(folder)
