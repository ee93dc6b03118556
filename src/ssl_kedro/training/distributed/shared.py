"""A training in several processes, seen from the one that wants its result."""

import dataclasses
import gc
import json
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ssl_kedro.core.devices import threads_of_each
from ssl_kedro.core.files import storage_told
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog
from ssl_kedro.training.distributed.job import write_job
from ssl_kedro.training.distributed.launch import launch
from ssl_kedro.training.distributed.worker import EPOCHS, FAILURE, FAILURES, RESULT, WEIGHTS
from ssl_kedro.training.loop import TrainingResult
from ssl_kedro.training.planned import M, PlannedTraining

_LOOK_EVERY_S = 0.2
_cuda: Any = torch.cuda  # parts of it carry no types


def train_shared(
    training: PlannedTraining[M],
    images: np.ndarray,
    log: EpochLog | None,
    checkpoints: CheckpointStore | None,
) -> TrainingResult[M]:
    """Launch the processes, pass on what they report and take what they leave.

    Arguments and errors are those of :func:`~ssl_kedro.training.loop.train_planned`.
    """
    # A recorded step would have to contain the messages between processes.
    execution = dataclasses.replace(training.execution, recorded=False)
    training = dataclasses.replace(training, execution=execution)
    with tempfile.TemporaryDirectory(prefix="ssl_kedro-") as name:
        folder = Path(name)
        threads = threads_of_each(training.recipe.workers)
        with storage_told(folder, images.nbytes):
            write_job(folder, training, images, checkpoints, threads)
        # Give back memory of the devices that this process has no use for: workers need it.
        gc.collect()
        if _cuda.is_initialized():
            _cuda.empty_cache()
        with _following(folder / EPOCHS, log):
            launch(folder, training.recipe, training.identity)
        return _result(folder, training, log)


def _result(folder: Path, training: PlannedTraining[M], log: EpochLog | None) -> TrainingResult[M]:
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
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(_follow, path, log, ended)
        try:
            yield
        finally:
            ended.set()
    followed.result()


def _follow(path: Path, log: EpochLog, ended: threading.Event) -> None:
    """Rows from a growing file to a log, each epoch once.

    After a restart epochs since the last checkpoint come again, with the same numbers.
    """
    known: float | None = None
    for event in _events(path, ended):
        if "row" in event:
            row = event["row"]
            if known is None or row["epoch"] > known:
                log.append(row)
                known = row["epoch"]
        elif known is None:
            log.restart(event["start"])
            known = len(event["start"])


def _events(path: Path, ended: threading.Event) -> Iterator[dict[str, Any]]:
    """What is written to a file, until told that it ended."""
    position = 0
    last = False
    while not last:
        last = ended.wait(_LOOK_EVERY_S)
        if not path.exists():
            continue
        with path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # half written
                position += len(line)
                yield json.loads(line)
