"""Runs that somebody else has started are joined; what an orchestrator runs in parts is one run."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from hooks import tracked_run
from hooks.stored import Stored, uri
from hooks.test_tracking import shipped, warnings_in
from ssl_kedro import settings
from ssl_kedro.hooks.flat_parameters import flattened
from ssl_kedro.hooks.mlflow_conditions import TrackingConfig
from ssl_kedro.pipelines.parameters import parsed

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def started(folder: Path) -> str:
    """Id of a run that an orchestrator has started, which keeps its name and one parameter."""
    client = MlflowClient(uri(folder))
    experiment = client.create_experiment("tests", (folder / "mlruns").as_uri())
    run = client.create_run(experiment, run_name="nightly", tags={"mlflow.user": "robot"})
    client.log_param(run.info.run_id, "dual_gating.seed", "3")
    return str(run.info.run_id)


def test_parts_that_join_a_run_are_one_run_that_stays_open(
    folder: Path, started: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        tracked_run.run(folder, experiment="elsewhere", run_id=started)
    stored = Stored(uri(folder))
    (parent,) = stored.parents
    assert parent.info.run_id == started
    assert parent.info.run_name == "nightly"
    assert parent.info.status == "RUNNING"
    assert parent.data.tags["mlflow.user"] == "robot"
    assert parent.data.tags["kedro.pipelines"] == "dual_gating"
    assert parent.data.params["dual_gating.train.lr"] == "0.01"
    assert parent.data.metrics["knn_top1/vicreg.dense"] == 0.5
    assert len(stored.children) == len(tracked_run.SPACES)
    assert {child.info.status for child in stored.children.values()} == {"FINISHED"}
    assert stored.client.get_experiment_by_name("elsewhere") is None
    assert warnings_in(caplog) == []


def test_a_joined_run_is_told_of_an_error_and_left_open(folder: Path, started: str) -> None:
    def fail(_: int) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        tracked_run.run(folder, each_epoch=fail, run_id=started)
    parent = MlflowClient(uri(folder)).get_run(started)
    assert (parent.info.status, parent.data.tags["error"]) == ("RUNNING", "ValueError: no")


def test_other_parameters_than_those_of_the_run_are_named(
    folder: Path, started: str, caplog: pytest.LogCaptureFixture
) -> None:
    MlflowClient(uri(folder)).log_param(started, "dual_gating.train.lr", "0.5")
    assert tracked_run.run(folder, run_id=started) == tracked_run.METRICS
    (warning,) = warnings_in(caplog)
    assert "dual_gating.train.lr" in warning
    assert Stored(uri(folder)).parent.data.metrics["dense_macs"] == 7


def test_a_run_that_does_not_exist_costs_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert tracked_run.run(folder, run_id="0" * 32) == tracked_run.METRICS
    (warning,) = warnings_in(caplog)
    assert "0" * 32 in warning


def test_run_and_experiment_come_from_environment_or_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert (shipped().run_id, shipped().experiment) == (None, "ssl_kedro")
    monkeypatch.setenv("MLFLOW_RUN_ID", "a")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    assert (shipped().run_id, shipped().experiment) == ("a", "theirs")
    assert flattened({"method": "theirs"}) == {"method": "theirs"}
    given = {"mlflow_run_id": "b"}
    loader = settings.CONFIG_LOADER_CLASS(
        str(CONF), runtime_params=given, **settings.CONFIG_LOADER_ARGS
    )
    assert parsed(TrackingConfig, "mlflow.yml", loader["mlflow"]).run_id == "b"
