"""The tracking database is there whole or not at all, after a kill and for two first runs too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mlflow import MlflowClient

SOURCE = str(Path(__file__).parents[2] / "src")
ENVIRONMENT = os.environ | {"PYTHONPATH": SOURCE}
OPEN = """
import sys
from pathlib import Path
from ssl_kedro.hooks.mlflow_client import TrackingStore
from ssl_kedro.hooks.mlflow_conditions import TrackingConfig
config = TrackingConfig(tracking_uri="sqlite:///mlflow.db", experiment="tests", timeout_s=60)
store = TrackingStore(config, Path(sys.argv[1]))
print(store.connect(), store.start_run(sys.argv[2], {}, {}), flush=True)
"""


def opening(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, str(folder), name],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


def test_a_kill_while_the_tables_are_made_does_not_stand_in_the_way(tmp_path: Path) -> None:
    first = opening(tmp_path, "first")
    deadline = time.monotonic() + 60
    # In the middle of the migrations: the file has begun to grow.
    while not any(path.stat().st_size > 0 for path in tmp_path.glob(".mlflow.db.*.tmp")):
        assert first.poll() is None, "it was never half made"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (tmp_path / "mlflow.db").stat().st_size == 0
    assert finished(opening(tmp_path, "second")).startswith("True ")
    assert not list(tmp_path.glob(".mlflow.db.*.tmp*"))
    (experiment,) = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").search_experiments(
        filter_string="name = 'tests'"
    )
    assert experiment.lifecycle_stage == "active"


def test_two_first_runs_at_once_are_both_tracked(tmp_path: Path) -> None:
    for said in map(finished, [opening(tmp_path, name) for name in ("one", "two")]):
        assert said.startswith("True ")
        assert "None" not in said
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["one", "two"]
