"""Tracking against a sqlite store, read back with MLflow's own client."""

from __future__ import annotations

import csv
import getpass
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import ThreadRunner
from mlflow import MlflowClient

from hooks import tracked_run
from hooks.stored import Stored, uri
from ssl_kedro import settings
from ssl_kedro.hooks.mlflow_conditions import TrackingConfig
from ssl_kedro.hooks.tracking import TrackingHook
from ssl_kedro.pipelines.parameters import ParameterError, parsed

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(PROJECT / "src")}


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_without_mlflow_a_run_says_so_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert tracked_run.run(folder) == tracked_run.METRICS
    (warning,) = warnings_in(caplog)
    assert "not tracked" in warning
    assert "pip install 'ssl_kedro[tracking]'" in warning


@pytest.mark.parametrize("runner", [None, ThreadRunner(max_workers=3)], ids=["sequence", "threads"])
def test_a_run_lands_in_the_store_with_a_child_for_each_model(folder: Path, runner: Any) -> None:
    tracked_run.run(folder, runner=runner)
    stored = Stored(uri(folder))
    assert stored.statuses() == {"FINISHED"}
    assert len(stored.parents) == 1
    assert stored.parent.info.run_name.startswith("dual_gating local/night 2")
    assert stored.parent.data.tags["kedro.env"] == "local"
    assert stored.parent.data.tags["kedro.runner"] == "SequentialRunner"
    assert stored.parent.data.tags["kedro.pipelines"] == "dual_gating"
    assert stored.parent.data.tags["kedro.run_id"] == "2025-01-02T03.04.05.678Z"
    assert stored.parent.data.params == {
        "dual_gating.seed": "3",
        "dual_gating.resume": "false",
        "dual_gating.root": "null",
        "dual_gating.train.lr": "0.01",
        "dual_gating.train.milestones": "[0.6, 0.8]",
    }
    assert set(stored.children) == {"vicreg", "budget_30", "budget_30.vicreg_gating", "budget_50"}
    of_parent = {child.data.tags["mlflow.parentRunId"] for child in stored.children.values()}
    assert of_parent == {stored.parent.info.run_id}
    assert stored.children["budget_30.vicreg_gating"].data.params == {
        "method": "vicreg_gating",
        "budget": "0.3",
        "seed": "3",
        "gates": "{}",
        "options": "{}",
        "width": "null",
        "train": "{}",
        "derived": "",
    }
    assert stored.children["vicreg"].data.params["budget"] == "null"
    assert stored.children["budget_30"].info.run_name == "dual_gating at 30%, seed 3"
    assert stored.children["budget_50"].data.params["gates.steering"] == "dual_ascent"


def test_every_epoch_is_a_step_of_the_run_it_belongs_to(folder: Path) -> None:
    tracked_run.run(folder)
    stored = Stored(uri(folder))
    expected = [(1, 9.0), (2, 8.0), (3, 7.0)]
    for child in stored.children.values():
        assert stored.curve(child, "epochs/loss") == expected
        assert "epochs/epoch" not in child.data.metrics
    assert stored.curve(stored.parent, "epochs/loss") == []


def test_final_metrics_go_to_the_parent_and_to_their_model(folder: Path) -> None:
    tracked_run.run(folder)
    stored = Stored(uri(folder))
    assert stored.parent.data.metrics == {
        "dense_macs": 7,
        "knn_top1/vicreg.dense": 0.5,
        "knn_top1/dual.budget_30.gated": 0.25,
        "knn_top1/dual.budget_50.gated": 0.75,
    }
    of_30 = stored.children["budget_30"].data.metrics
    final = {key: value for key, value in of_30.items() if not key.startswith("epochs/")}
    assert final == {"gated/knn_top1": 0.25, "gated/linear_top1": 0.625}


def test_the_parent_has_the_metrics_that_matter_most_and_a_table_of_all(folder: Path) -> None:
    tracked_run.run(folder, headline=["*.gated.*", "*.knn_top1"])
    stored = Stored(uri(folder))
    assert set(stored.parent.data.metrics) == {
        "knn_top1/dual.budget_30.gated",
        "knn_top1/dual.budget_50.gated",
        "knn_top1/vicreg.dense",
    }
    (table,) = (folder / "mlruns").rglob("metrics.csv")
    rows = dict(csv.reader(table.read_text().splitlines()))
    assert rows == {
        "metric": "value",
        **{key: str(float(v)) for key, v in tracked_run.METRICS.items() if not isinstance(v, str)},
    }


def test_a_run_says_where_it_comes_from_as_mlflow_itself_does(folder: Path) -> None:
    tracked_run.run(folder)
    stored = Stored(uri(folder))
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.strip()
    for run in (stored.parent, *stored.children.values()):
        tags = run.data.tags
        assert tags["mlflow.source.git.commit"] == commit
        assert tags["mlflow.user"] == getpass.getuser()
        assert tags["mlflow.source.name"] == sys.argv[0]
        assert tags["mlflow.source.type"] == "LOCAL"


def test_data_sets_are_inputs_with_the_fingerprints_as_digests(folder: Path) -> None:
    tracked_run.run(folder)
    stored = Stored(uri(folder))
    found = {
        (one.dataset.name, one.dataset.digest): {tag.key: tag.value for tag in one.tags}
        for one in stored.parent.inputs.dataset_inputs
    }
    assert found == {
        ("textures", "0123456789abcdef"): {"mlflow.data.context": "pretrain, train"},
        ("textures", "fedc"): {"mlflow.data.context": "eval"},
    }


def test_the_experiment_opens_in_the_view_of_trainings(folder: Path) -> None:
    MlflowClient(uri(folder)).create_experiment("tests", str(folder / "mlruns"))  # as before
    tracked_run.run(folder)
    tags = Stored(uri(folder)).experiment.tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_only_files_written_by_this_run_become_artifacts_below_the_project(folder: Path) -> None:
    (folder / "old.txt").write_text("from an earlier run")
    tracked_run.run(folder)
    stored = Stored(uri(folder))
    listed = stored.client.list_artifacts(stored.parent.info.run_id)
    assert [item.path for item in listed] == ["metrics.csv", "report.html"]
    of_child = stored.client.list_artifacts(stored.children["vicreg"].info.run_id)
    assert [item.path for item in of_child] == ["training.json"]
    copies = list((folder / "mlruns").rglob("report.html"))
    assert [copy.read_text() for copy in copies] == ["<p>done</p>"]


def test_pipelines_run_together_do_not_mix_their_metrics(folder: Path) -> None:
    hook = TrackingHook()
    configuration = {"tracking_uri": uri(folder), "experiment": "tests"}
    hook.after_context_created(
        SimpleNamespace(config_loader={"mlflow": configuration}, project_path=folder)
    )
    names = ["first.metrics", "second.metrics"]
    pipeline = Pipeline(
        [node(lambda: {}, None, name, name=name.replace(".", "_")) for name in names]
    )
    of_children = [name.replace(".", ".budget_30.") for name in names]
    catalog = DataCatalog(
        {n: MemoryDataset(metadata={"mlflow": "metrics"}) for n in (*names, *of_children)}
    )
    hook.before_pipeline_run({"pipeline_names": ["first", "second"]}, pipeline, catalog)
    for value, name in enumerate(names):
        hook.after_dataset_saved(name, {"macs": value}, pipeline.nodes[0])
        child = name.replace(".", ".budget_30.")
        hook.after_dataset_saved(child, {"macs": 10 + value}, pipeline.nodes[0])
    hook.after_pipeline_run()
    client = MlflowClient(uri(folder))
    runs = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    of_pipelines = {
        run.data.tags["pipeline"]: run.data.metrics["macs"]
        for run in runs
        if run.data.tags.get("model") == "budget_30"
    }
    (parent,) = [run for run in runs if run.info.run_name.startswith("first+second")]
    assert of_pipelines == {"first": 10, "second": 11}
    assert parent.data.metrics == {"macs/first": 0, "macs/second": 1}


def test_an_error_leaves_failed_runs_with_its_message(folder: Path) -> None:
    def fail(epoch: int) -> None:
        if epoch == 2:
            raise ValueError("the loss is not a number")

    with pytest.raises(ValueError, match="not a number"):
        tracked_run.run(folder, each_epoch=fail)
    stored = Stored(uri(folder))
    assert stored.statuses() == {"FAILED"}
    assert stored.parent.data.tags["error"] == "ValueError: the loss is not a number"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, None)])
def test_an_interrupted_process_leaves_killed_runs(folder: Path, sent: int, code: Any) -> None:
    command = [sys.executable, tracked_run.__file__, uri(folder), str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    ) as process:
        try:
            for line in process.stdout or ():
                if line == "training\n":
                    break
            process.send_signal(sent)
            assert process.wait(30) != 0
        finally:
            process.kill()
    assert code in {None, process.returncode}
    stored = Stored(uri(folder))
    assert stored.statuses() == {"KILLED"}
    # The first node in Kedro's order is the one that was interrupted, in its third epoch.
    (child,) = stored.children.values()
    assert stored.curve(child, "epochs/loss") == [(1, 9.0), (2, 8.0)]


def test_a_run_left_open_in_the_same_interpreter_is_closed_by_the_next(folder: Path) -> None:
    hook = TrackingHook()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracked_run.run(folder, hook=hook, each_epoch=interrupt)
    assert Stored(uri(folder)).parent.info.status == "RUNNING"
    tracked_run.run(folder, hook=hook)
    statuses = sorted(run.info.status for run in Stored(uri(folder)).parents)
    assert statuses == ["FINISHED", "KILLED"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_locked_database_costs_one_warning_and_little_time(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracked_run.run(folder)  # creates the tables
    other = sqlite3.connect(folder / "mlflow.db", isolation_level=None)

    def lock(epoch: int) -> None:
        if epoch == 2 and not other.in_transaction:
            other.execute("BEGIN IMMEDIATE")

    start = time.perf_counter()
    assert tracked_run.run(folder, each_epoch=lock, timeout_s=1) == tracked_run.METRICS
    seconds = time.perf_counter() - start
    other.close()
    assert seconds < 4
    (warning,) = warnings_in(caplog)
    assert "database is locked" in warning
    assert "set enabled: false" in warning


@pytest.mark.parametrize("content", ["not a database" * 100, None], ids=["broken", "folder"])
def test_an_unusable_database_costs_one_warning(
    empty_folder: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    database = empty_folder / "mlflow.db"
    database.mkdir() if content is None else database.write_text(content)
    start = time.perf_counter()
    assert tracked_run.run(empty_folder, timeout_s=1) == tracked_run.METRICS
    assert time.perf_counter() - start < 4
    assert len(warnings_in(caplog)) == 1


def test_an_artifact_that_cannot_be_copied_does_not_end_the_tracking(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "mlruns").write_text("a file where the folder should be")
    tracked_run.run(folder)
    (warning,) = warnings_in(caplog)
    assert "metrics.csv" in warning  # the first of two files
    assert Stored(uri(folder)).statuses() == {"FINISHED"}


def test_a_first_run_makes_the_database_in_silence(empty_folder: Path) -> None:
    command = [sys.executable, str(tracked_run.__file__), uri(empty_folder), str(empty_folder)]
    # Wide enough for any temporary folder: a path with a space would be broken into two lines.
    wide = {**ENVIRONMENT, "COLUMNS": "1000"}
    printed = subprocess.run(
        [*command, "to the end"], env=wide, capture_output=True, text=True, check=True
    )
    everything = printed.stdout + printed.stderr
    (own,) = [line for line in everything.splitlines() if "tracking in" in line]
    rest = everything.replace(own, "")
    for word in ("mlflow", "alembic", "sqlalchemy", "Deprecat", "View run"):
        assert word not in rest
    assert Stored(uri(empty_folder)).statuses() == {"FINISHED"}


def test_the_environment_is_left_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = dict(os.environ)
    seen: list[dict[str, str]] = []
    tracked_run.run(folder, each_epoch=lambda _: seen.append(dict(os.environ)))
    assert dict(os.environ) == before
    assert all(environment == before for environment in seen)


def test_disabled_tracking_touches_nothing(empty_folder: Path) -> None:
    assert tracked_run.run(empty_folder, enabled=False) == tracked_run.METRICS
    assert not (empty_folder / "mlflow.db").exists()


def test_the_shipped_configuration_follows_the_environment_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert shipped().store_uri(folder) == uri(folder)
    assert shipped().artifact_uri(folder) == (folder / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert shipped().store_uri(folder) == "http://127.0.0.1:5001"
    assert shipped().artifact_uri(folder) is None


def shipped() -> Any:
    loader = settings.CONFIG_LOADER_CLASS(str(PROJECT / "conf"), **settings.CONFIG_LOADER_ARGS)
    return parsed(TrackingConfig, "mlflow.yml", loader["mlflow"])


def test_an_unknown_key_is_refused_by_name() -> None:
    context = SimpleNamespace(
        config_loader={"mlflow": {"tracking_uri": "x", "experiment": "y", "timeout": 3}},
        project_path=".",
    )
    with pytest.raises(ParameterError, match=r"timeout: there is no such key.*timeout_s"):
        TrackingHook().after_context_created(context)


def test_importing_the_hook_does_not_import_mlflow() -> None:
    code = "import sys, ssl_kedro.hooks.tracking; sys.exit('mlflow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0
    )
