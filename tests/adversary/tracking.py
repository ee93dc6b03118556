"""Tracking servers that are down, die, hang, are slow or lie: each costs one warning at most."""

from __future__ import annotations

import atexit
import functools
import http.client
import itertools
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from adversary.battery import Case, WrongError
from adversary.kills import SEED, check_after, reference
from adversary.parameters import tail
from adversary.projects import PIPELINES, Place, asked
from hooks.servers import free_port, mlflow_server

ROW = "tracking"
KINDS = ("down", "dying", "hanging", "slow", "lying")
COUNT = len(KINDS) * len(PIPELINES)
_SLOW_S = 3.0
# Beyond three times an undisturbed run, for machines at work, and what slow answers take.
_EXTRA_S, _ANSWERS = 40, 200
_RUN = {"info": {"run_id": "0" * 32, "experiment_id": "7", "status": "RUNNING"}, "data": {}}
_EXPERIMENT = {"experiment_id": "7", "name": "ssl_kedro", "lifecycle_stage": "active"}
# What a stranger might answer to everything; all of it is JSON.
LIES: tuple[object, ...] = (
    {},
    {"experiment": {"name": 5}},
    {"experiment": _EXPERIMENT},
    {"experiment": _EXPERIMENT, "run": {}},
    {"experiment": _EXPERIMENT, "run": _RUN},
    {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"},
)


class Relay(ThreadingHTTPServer):
    """A server in front of the real one that behaves as told.

    Args:
        kind: of misbehaviour.
        honest: requests that are answered before it hangs, or breaks off in every answer.
        lie: what is answered to everything.
    """

    daemon_threads = True

    def __init__(self, kind: str, honest: int, lie: object) -> None:
        self.kind, self.honest, self.lie = kind, honest, json.dumps(lie).encode()
        self.numbers = itertools.count()
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have lost their patience."""


class _Handler(BaseHTTPRequestHandler):
    server: Relay

    def answer(self) -> None:
        relay, body = self.server, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        misbehaves = next(relay.numbers) >= relay.honest
        if relay.kind == "lying":
            return self._send(200, "application/json", relay.lie)
        if relay.kind == "slow":
            time.sleep(_SLOW_S)
        elif relay.kind == "hanging" and misbehaves:
            relay.over.wait()
        elif relay.kind == "dying" and misbehaves:
            self.wfile.write(b'HTTP/1.0 200 OK\r\nContent-Length: 900\r\n\r\n{"experi')
            return None
        connection = http.client.HTTPConnection(urlsplit(_real_server()).netloc)
        connection.request(self.command, self.path, body, dict(self.headers))
        reply = connection.getresponse()
        return self._send(reply.status, reply.headers.get_content_type(), reply.read())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


for _verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
    setattr(_Handler, f"do_{_verb}", _Handler.answer)


@functools.cache
def _real_server() -> str:
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="adversary-server-"))
    return stack.enter_context(mlflow_server(Path(folder))).uri


def cases(seed: int) -> Iterator[Case]:
    """Every kind of server for every pipeline."""
    generator = random.Random(f"{seed} {ROW}")
    for kind, pipeline in itertools.product(KINDS, PIPELINES):
        honest, lie = generator.randrange(25), generator.choice(LIES)
        name = f"{ROW} {kind}, {pipeline}"
        name += f", after {honest} answers" if kind in ("dying", "hanging") else ""
        name += f", {json.dumps(lie)[:60]}" if kind == "lying" else ""
        yield Case(ROW, name, partial(_attempt, kind, pipeline, honest, lie))


def _attempt(kind: str, pipeline: str, honest: int, lie: object, folder: Path) -> str:
    known = reference(pipeline)
    place = Place.made(folder / "project")
    limit_s = 3 * known.seconds + _EXTRA_S
    with served(kind, honest, lie) as (uri, relay):
        patience_s = limit_s + _SLOW_S * _ANSWERS if kind == "slow" else limit_s
        done = place.run(asked(pipeline, SEED), patience_s, {"MLFLOW_TRACKING_URI": uri})
    if kind == "slow" and relay is not None:
        limit_s += _SLOW_S * next(relay.numbers)
    if done.code is None or done.seconds > limit_s:
        raise WrongError(f"at work after {done.seconds:.0f} s\n{tail(done)}")
    if done.code != 0 or "Traceback" in done.output:
        raise WrongError(f"ended with {done.code}\n{tail(done)}")
    check_after(place, pipeline, known)
    warnings = done.output.count("WARNING") - known.warnings
    if warnings > 1 or (warnings != 1 and kind in ("down", "dying", "hanging")):
        raise WrongError(f"{warnings} warnings\n{done.output[-4000:]}")
    return f"results equal, {warnings} warnings, {done.seconds - known.seconds:+.1f} s"


@contextmanager
def served(kind: str, honest: int, lie: object) -> Iterator[tuple[str, Relay | None]]:
    """Address of such a server, and what counts its answers."""
    if kind == "down":
        yield f"http://127.0.0.1:{free_port()}", None
        return
    _real_server()
    with Relay(kind, honest, lie) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{relay.server_port}", relay
        finally:
            relay.over.set()
            relay.shutdown()
