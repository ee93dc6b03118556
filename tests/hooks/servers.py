"""A real MLflow server for tests, in a process group of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import empty_database


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A server in a process group of its own."""

    uri: str
    folder: Path
    store: str
    process: subprocess.Popen[bytes]

    def send(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    port, store = free_port(), f"sqlite:///{folder / 'server.db'}"
    (folder / "server.db").write_bytes(empty_database())
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--backend-store-uri", store]
    command += ["--artifacts-destination", str(folder / "server_files")]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    server = Server(f"http://127.0.0.1:{port}", folder, store, process)
    try:
        wait_until_healthy(port, process)
        yield server
    finally:
        server.send(signal.SIGCONT)
        server.send(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            server.send(signal.SIGKILL)
            process.wait(10)


def wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended; see server.log"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise TimeoutError("the server did not come up within a minute")
