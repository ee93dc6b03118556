"""Tracking against servers: a real one, one that dies, one that hangs, and strangers."""

from __future__ import annotations

import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hooks import tracked_run
from hooks.servers import Server, free_port, mlflow_server

TIMEOUT_S = 2
# Without tracking the pipeline takes a small part of a second.
SLACK_S = 4  # for everything else, on a machine that runs other tests as well


# What every request is answered with: plausible, and each file lands in a folder that is none.
LYING = json.dumps(
    {
        "experiment": {
            "experiment_id": "1",
            "name": "tests",
            "artifact_location": "/dev/null/files",
            "lifecycle_stage": "active",
        },
        "run": {
            "info": {
                "run_id": "a",
                "run_uuid": "a",
                "experiment_id": "1",
                "status": "RUNNING",
                "artifact_uri": "/dev/null/files/a",
                "lifecycle_stage": "active",
            }
        },
    }
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Server]]:
    """Gives the server that runs: a start takes seconds. Where a test has ended it, a new one."""
    with ExitStack() as stack:
        servers: list[Server] = []

        def current() -> Server:
            if not servers or servers[-1].process.poll() is not None:
                folder = tmp_path_factory.mktemp("server")
                servers.append(stack.enter_context(mlflow_server(folder)))
            return servers[-1]

        yield current


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def timed_run(folder: Path, uri: str, **options: object) -> float:
    """Seconds of a run that has to give its result."""
    start = time.perf_counter()
    result = tracked_run.run(folder, tracking_uri=uri, timeout_s=TIMEOUT_S, **options)
    assert result == tracked_run.METRICS
    return time.perf_counter() - start


def test_a_run_lands_on_a_server(
    running: Callable[[], Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = running()
    timed_run(tmp_path, server.uri, experiment="lands")
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("lands")
    runs = {r.data.tags.get("model"): r for r in client.search_runs([experiment.experiment_id])}
    parent = runs[None]
    files = client.list_artifacts(parent.info.run_id)
    curve = client.get_metric_history(runs["budget_30"].info.run_id, "epochs/loss")
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert parent.data.metrics["knn_top1/dual.budget_30.gated"] == 0.25
    assert [(item.step, item.value) for item in curve] == [(1, 9.0), (2, 8.0), (3, 7.0)]
    assert [item.path for item in files] == ["metrics.csv", "report.html"]
    kept = server.folder / "server_files" / experiment.experiment_id
    assert len(list(kept.rglob("report.html"))) == 1
    assert not (tmp_path / "mlruns").exists()
    assert warnings_in(caplog) == []


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(signal.SIGSTOP, id="hangs"),
        pytest.param(signal.SIGKILL, id="dies"),
        pytest.param(signal.SIGTERM, id="ends", marks=pytest.mark.slow),
    ],
)
def test_a_server_that_dies_or_hangs_in_the_middle_costs_one_warning(
    running: Callable[[], Server],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    sent: signal.Signals,
) -> None:
    server = running()
    stopping: list[float] = []

    def stop(epoch: int) -> None:
        if epoch == 3 and not stopping:
            start = time.perf_counter()
            server.send(sent)
            if sent != signal.SIGSTOP:
                server.process.wait(30)
            stopping.append(time.perf_counter() - start)

    seconds = timed_run(tmp_path, server.uri, experiment=sent.name, each_epoch=stop) - stopping[0]
    server.send(signal.SIGCONT)
    assert seconds < 2 * TIMEOUT_S + SLACK_S
    (warning,) = warnings_in(caplog)
    assert server.uri in warning
    assert "mlflow server" in warning
    stored = MlflowClient(server.store)
    experiment = stored.get_experiment_by_name(sent.name)
    (child,) = [
        run
        for run in stored.search_runs([experiment.experiment_id])
        if "mlflow.parentRunId" in run.data.tags
    ]
    curve = stored.get_metric_history(child.info.run_id, "epochs/loss")
    assert [item.step for item in curve][:2] == [1, 2]


def test_a_server_that_was_never_started_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    assert timed_run(tmp_path, uri) < SLACK_S
    (warning,) = warnings_in(caplog)
    assert "refused" in warning
    assert "secret" not in warning


def test_a_port_that_accepts_and_says_nothing_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seconds = timed_run(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert TIMEOUT_S <= seconds < 2 * TIMEOUT_S + SLACK_S
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>hello</html>"),
        (200, "[]"),
        (200, '{"experiment": 5}'),
        (200, LYING),
        (403, "AirTunes"),
        (503, "busy"),
    ],
)
def test_a_stranger_on_the_port_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, body: str
) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Retry-After", "60")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer  # noqa: N815  the names that the base class looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        try:
            seconds = timed_run(tmp_path, f"http://127.0.0.1:{stranger.server_port}")
        finally:
            stranger.shutdown()
    assert seconds < 2 * TIMEOUT_S + SLACK_S
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("uri", ["http://name.invalid:5000", "http://", "file:///x", "nothing:y"])
def test_an_address_that_leads_nowhere_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, uri: str
) -> None:
    assert timed_run(tmp_path, uri) < 2 * TIMEOUT_S + SLACK_S
    assert len(warnings_in(caplog)) == 1
