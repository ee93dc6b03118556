"""A training in several processes, seen from the one that wants its result."""

from __future__ import annotations

import dataclasses
import gc
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ssl_kedro.core.devices import threads_of_each
from ssl_kedro.methods.base import Method
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog
from ssl_kedro.training.config import EncoderTraining
from ssl_kedro.training.distributed.job import write_job
from ssl_kedro.training.distributed.launch import launch
from ssl_kedro.training.distributed.worker import EPOCHS, FAILURE, FAILURES, RESULT, WEIGHTS
from ssl_kedro.training.loop import TrainingResult

_LOOK_EVERY_S = 0.2
_cuda: Any = torch.cuda  # parts of it carry no types


def train_shared(
    training: EncoderTraining,
    images: np.ndarray,
    log: EpochLog | None,
    checkpoints: CheckpointStore | None,
) -> TrainingResult[Method]:
    """Launch the processes, pass on what they report and take what they leave.

    Arguments and errors are those of :func:`~ssl_kedro.training.encoder.train_encoder`.
    """
    # A recorded step would have to contain the messages between processes.
    options = dataclasses.replace(training.options, recorded=False)
    training = dataclasses.replace(training, options=options)
    with tempfile.TemporaryDirectory(prefix="ssl_kedro-") as name:
        folder = Path(name)
        threads = threads_of_each(training.recipe.workers)
        write_job(folder, training, images, checkpoints, threads)
        _leave_devices()
        with _following(folder / EPOCHS, log):
            launch(folder, training.recipe, training.identity)
        return _result(folder, training, log)


def _leave_devices() -> None:
    """Give back memory of the devices that this process has no use for: workers need it."""
    gc.collect()
    if _cuda.is_initialized():
        _cuda.empty_cache()


def _result(
    folder: Path, training: EncoderTraining, log: EpochLog | None
) -> TrainingResult[Method]:
    """What the workers left behind."""
    if (folder / FAILURE).exists():
        failure = json.loads((folder / FAILURE).read_text())
        raise FAILURES[failure["kind"]](failure["message"])
    found = json.loads((folder / RESULT).read_text())
    method = training.method.build()
    method.load_state_dict(load_file(folder / WEIGHTS))
    if log is not None and not (folder / EPOCHS).exists():
        log.restart(found["history"])  # another machine had the log
    return TrainingResult(method.eval(), found["history"], found["seconds"])


@contextmanager
def _following(path: Path, log: EpochLog | None) -> Iterator[None]:
    """Pass on what the first worker writes to ``path`` while the block runs."""
    if log is None:
        yield
        return
    follower = _Follower(path, log)
    follower.start()
    try:
        yield
    finally:
        follower.finish()
    if follower.fault is not None:
        raise follower.fault


class _Follower(threading.Thread):
    """Rows from a growing file to a log, each epoch once.

    After a restart epochs since the last checkpoint come again, with the same numbers.
    """

    def __init__(self, path: Path, log: EpochLog) -> None:
        super().__init__(daemon=True)
        self.fault: Exception | None = None
        self._path = path
        self._log = log
        self._ended = threading.Event()
        self._position = 0
        self._known: float | None = None

    def run(self) -> None:
        """Look at the file now and then until told to finish."""
        try:
            while not self._ended.wait(_LOOK_EVERY_S):
                self._take()
            self._take()
        except Exception as fault:  # noqa: BLE001  raised again where the log's owner waits
            self.fault = fault

    def finish(self) -> None:
        """Take what is left, and end."""
        self._ended.set()
        self.join()

    def _take(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # half written
                self._position += len(line)
                self._pass_on(json.loads(line))

    def _pass_on(self, event: dict[str, Any]) -> None:
        if "start" in event:
            if self._known is None:
                self._log.restart(event["start"])
                self._known = float(len(event["start"]))
            return
        row = event["row"]
        if self._known is None or row["epoch"] > self._known:
            self._log.append(row)
            self._known = row["epoch"]
