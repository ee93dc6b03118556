from __future__ import annotations

import importlib.util
import json
import operator
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dask
import numpy as np
import pytest

from ssl_kedro.core.cluster import HERE, check_spread, spread
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.members import ClusterError


def test_one_process_is_this_one_and_takes_pieces_in_order() -> None:
    with spread() as workers:
        assert workers.here
        assert list(workers.results(operator.neg, [3, 1, 2])) == [(0, -3), (1, -1), (2, -2)]


@pytest.mark.parametrize(
    "address", ["nobody", "host:8786", "tcp://host", "http://host:8786", "tcp://a b:1", ""]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="address of a Dask scheduler"):
        check_spread(1, address)


def test_processes_beside_a_cluster_are_refused() -> None:
    for address in ("tcp://host:8786", "tls://[::1]:8786"):
        check_spread(1, address)
        with pytest.raises(ConfigError, match="1 beside a cluster"):
            check_spread(2, address)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_spread(1, None)
    for processes, address in ((2, None), (1, "tcp://host:8786")):
        with pytest.raises(ConfigError, match=r"distributed.*pip install 'ssl_kedro\[cluster\]'"):
            check_spread(processes, address)


def test_errors_of_users_come_back_as_their_text() -> None:
    with spread(2) as workers, pytest.raises(ClusterError, match="address of a Dask scheduler"):
        list(workers.results(partial(check_spread, 1), ["nobody"]))


Started = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def started() -> Iterator[Started]:
    """Starts Python with a line of code and arguments; all of it ends with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments, "--no-dashboard"],
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(started: Started, tmp_path: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Address and process of a scheduler on loopback."""
    file, ends = tmp_path / "scheduler.json", time.monotonic() + 30
    code = "from distributed.cli.dask_scheduler import main; main()"
    loopback = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    process = started(code, *loopback)
    while True:
        try:
            return json.loads(file.read_text())["address"], process
        except (FileNotFoundError, ValueError):
            assert time.monotonic() < ends
            time.sleep(0.1)


def worker(started: Started, address: str, first: str = "pass") -> None:
    code = f"{first}\nfrom distributed.cli.dask_worker import main; main()"
    started(code, address, "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1")


def test_a_cluster_on_loopback_does_pieces(
    started: Started, scheduler: tuple[str, subprocess.Popen[bytes]]
) -> None:
    worker(started, scheduler[0])
    with spread(cluster=scheduler[0]) as workers:
        assert sorted(workers.results(operator.neg, [3, 1])) == [(0, -3), (1, -1)]


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("import sys; sys.modules['ssl_kedro'] = None", r"ModuleNotFoundError.*on a worker"),
        (
            "import ssl_kedro.core.members as m; m._version = lambda: '0.1.0'",
            r"version 0\.1\.0, expected \S+ \(sources \w{8}, torch [\d.]+",
        ),
    ],
)
def test_workers_without_the_package_or_with_another_are_told(
    started: Started, scheduler: tuple[str, subprocess.Popen[bytes]], first: str, told: str
) -> None:
    worker(started, scheduler[0], first)
    with pytest.raises(ClusterError, match=told), spread(cluster=scheduler[0]):
        pass


def test_a_scheduler_that_ends_at_work_is_told(
    started: Started, scheduler: tuple[str, subprocess.Popen[bytes]]
) -> None:
    address, process = scheduler
    worker(started, address)
    with (
        pytest.raises(ClusterError, match=r"not there any more.*finished blocks are kept"),
        spread(cluster=address) as workers,
    ):
        for _ in workers.results(time.sleep, [0.1] * 20):
            process.kill()


def test_a_piece_that_ends_its_processes_is_told() -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        spread(2) as workers,
        pytest.raises(ClusterError, match=r"ended every process.*finished blocks are kept"),
    ):
        list(workers.results(os._exit, [1]))


def test_an_encrypted_address_without_certificates_is_told() -> None:
    with (
        pytest.raises(ClusterError, match=r"certificates.*there are none.*ca-file"),
        spread(cluster="tls://127.0.0.1:9"),
    ):
        pass


def test_a_lent_array_lies_in_a_file_of_processes_of_this_machine() -> None:
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert HERE.lent(array).path is None
    with spread(2) as workers:
        lent = workers.lent(array)
        assert lent.path is not None
        opened = dict(workers.results(operator.methodcaller("opened"), [lent, workers.lent(array)]))
        assert np.array_equal(opened[0], array)
        assert np.array_equal(opened[1], array)
    assert not lent.path.exists()
