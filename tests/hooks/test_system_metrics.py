"""The load of the machine, on request."""

import sys
import time
from pathlib import Path

import pytest

from hooks import tracked_run
from hooks.stored import Stored, uri
from ssl_kedro.hooks.mlflow_conditions import TrackingConfig
from ssl_kedro.pipelines.parameters import ParameterError, parsed


def test_load_is_followed_until_the_run_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    tracked_run.run(folder, each_epoch=lambda _: time.sleep(0.1), system_metrics=True)
    stored = Stored(uri(folder))
    assert "system/cpu_utilization_percentage" in stored.parent.data.metrics
    assert stored.statuses() == {"FINISHED"}


def test_what_is_missing_is_named_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    values = {"tracking_uri": "x", "experiment": "y", "system_metrics": True}
    with pytest.raises(ParameterError, match=r"system_metrics.*psutil.*pip install"):
        parsed(TrackingConfig, "mlflow.yml", values)
    parsed(TrackingConfig, "mlflow.yml", {**values, "system_metrics": False})
