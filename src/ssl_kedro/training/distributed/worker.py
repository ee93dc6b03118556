"""One of the processes that share a training: ``python -m ssl_kedro.training.distributed.worker``.

Started by :mod:`ssl_kedro.training.distributed.launch`, with the job's folder and the number of
the process that launched it.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import save_file

from ssl_kedro.core.collectives import Share, shared_batch
from ssl_kedro.core.files import StorageError, replaced_file
from ssl_kedro.core.memory import keep_freed_memory
from ssl_kedro.core.synchronised_norm import synchronised
from ssl_kedro.methods.base import Trainable
from ssl_kedro.training.batches import BatchSizeError
from ssl_kedro.training.checkpoints import CheckpointError, EpochLog
from ssl_kedro.training.distributed.job import Job, read_job
from ssl_kedro.training.distributed.state import (
    SharedCheckpoints,
    check_agreement,
    exchanged,
    share_state,
)
from ssl_kedro.training.divergence import TrainingDiverged
from ssl_kedro.training.loop import TrainingResult, train_in_process

# Found in the job's folder, by whoever launched it.
WEIGHTS, RESULT, FAILURE, EPOCHS = (
    "weights.safetensors",
    "result.json",
    "failure.json",
    "epochs.jsonl",
)
# A repetition would fail alike: these are handed on instead.
FAILURES: Mapping[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        *(TrainingDiverged, CheckpointError, BatchSizeError),
        *(StorageError, SafetensorError, OSError),
    )
}
# What a disk does to one process, while others go on.
_OF_ONE_PROCESS = (SafetensorError, OSError)


def main(folder: Path, launcher: int) -> None:
    """Do this process' part of a job."""
    threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()
    keep_freed_memory()
    job = read_job(folder)
    torch.set_num_threads(job.threads)
    local_rank = int(os.environ["LOCAL_RANK"])
    device = torch.device("cpu")
    if job.training.execution.device != "cpu":
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")
    try:
        with shared_batch(Share(dist.get_rank(), dist.get_world_size())):
            _raise_earlier_failure(folder)
            try:
                _finish(folder, local_rank, _trained(folder, job, local_rank, device))
            except _OF_ONE_PROCESS as error:
                # The others wait for a message that never comes, on a GPU for long. The launcher
                # ends them with this process, and all end with its error when they start again.
                _write_failure(folder, error)
                sys.stderr.flush()
                os._exit(1)
    except tuple(FAILURES.values()) as error:
        _write_failure(folder, error)
    finally:
        dist.destroy_process_group()


def _trained(
    folder: Path, job: Job, local_rank: int, device: torch.device
) -> TrainingResult[Trainable]:
    method = synchronised(job.training.method.build())
    if not isinstance(method, Trainable):
        raise TypeError(f"expected a method, found {type(method).__name__}")
    share_state(method)
    # What this job wrote is resumed after a restart, whatever the recipe says.
    recipe = replace(job.training.recipe, resume=True)
    execution = replace(job.training.execution, device=str(device))
    return train_in_process(
        replace(job.training, recipe=recipe, execution=execution),
        method,
        job.images,
        _StreamedLog(folder / EPOCHS) if dist.get_rank() == 0 else None,
        SharedCheckpoints(job.checkpoints, job.stale, local_rank, folder),
    )


class _StreamedLog(EpochLog):
    """Rows on their way to the launcher: appended across restarts, each start marked."""

    def restart(self, rows: list[dict[str, float]]) -> None:
        """Announce a start, with the rows of the checkpoint that it continues."""
        self._write({"start": rows})

    def append(self, row: Mapping[str, float]) -> None:
        """Send one row."""
        self._write({"row": dict(row)})


def _finish(folder: Path, local_rank: int, result: TrainingResult[Trainable]) -> None:
    """Leave the same result on every machine: the first process' history, everyone's weights."""
    check_agreement(result.method)
    first = exchanged({"history": result.history, "seconds": result.seconds})[0]
    if local_rank != 0:
        return
    tensors = {name: value.contiguous() for name, value in result.method.state_dict().items()}
    with replaced_file(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    with replaced_file(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(first))


def _raise_earlier_failure(folder: Path) -> None:
    """End at once where a process of an earlier attempt met an error that would come again."""
    path = folder / FAILURE
    own = json.loads(path.read_text()) if path.exists() else {}
    for found in exchanged(own):
        if found:
            raise FAILURES[found["kind"]](found["message"])


def _write_failure(folder: Path, error: Exception) -> None:
    kind = next(name for name, one in FAILURES.items() if isinstance(error, one))
    with replaced_file(folder / FAILURE) as temporary:
        temporary.write_text(json.dumps({"kind": kind, "message": str(error)}))


def _end_with(launcher: int) -> None:
    """End this process when the one that launched it is gone: nobody would take its result."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    with contextlib.suppress(ProcessLookupError):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
