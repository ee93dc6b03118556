"""Running a function in several processes that share batches through gloo."""

from __future__ import annotations

import io
import os
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

from ssl_kedro.core.collectives import Share, shared_batch

_PATIENCE_S = 120.0


def in_processes(count: int, function: Callable[[int], Any]) -> list[Any]:
    """What ``function(rank)`` returns in each of ``count`` forked processes.

    Raises:
        RuntimeError: one of them failed; its traceback is the message.
    """
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(count)]
        workers = [
            context.Process(target=_work, args=(rank, count, folder, pipes[rank][1], function))
            for rank in range(count)
        ]
        try:
            for worker, (_, send) in zip(workers, pipes, strict=True):
                worker.start()
                send.close()
            return [_received(receive, rank) for rank, (receive, _) in enumerate(pipes)]
        finally:
            for worker in workers:
                worker.kill()
                worker.join()


def _received(connection: Connection, rank: int) -> Any:
    if not connection.poll(_PATIENCE_S):
        raise RuntimeError(f"process {rank} did not answer")
    found = torch.load(io.BytesIO(connection.recv_bytes()), weights_only=False)
    if "failed" in found:
        raise RuntimeError(f"process {rank} failed:\n{found['failed']}")
    return found["returned"]


def _work(
    rank: int, count: int, folder: str, send: Connection, function: Callable[[int], Any]
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = dist.FileStore(str(Path(folder) / "store"), count)
    try:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count)
        with shared_batch(Share(rank, count)):
            found = {"returned": function(rank)}
    except BaseException:  # noqa: BLE001  whatever it was, the test has to see it
        found = {"failed": traceback.format_exc()}
    stream = io.BytesIO()
    torch.save(found, stream)
    send.send_bytes(stream.getvalue())
    os._exit(0)
