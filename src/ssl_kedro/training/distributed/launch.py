"""Launching the processes of a job and waiting for them, from inside a pipeline's node."""

import contextlib
import gc
import hashlib
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ssl_kedro.core.errors import UserError
from ssl_kedro.training.config import TrainConfig

_WORKER = "ssl_kedro.training.distributed.worker"
# Of all workers after one was lost. gloo's first reconnection is sometimes refused, which counts.
MAX_RESTARTS = 5
# Machines do other work between trainings and are not equally fast at it.
_WAIT_FOR_OTHERS_S = 1800
_LOOPBACK = "127.0.0.1"
_LINES_SHOWN = 20


class WorkerError(UserError, RuntimeError):
    """Workers ended without a result, again and again.

    Cause: a worker was killed (often for lack of memory), or machines did not meet at
    ``train.rendezvous``.
    Remedy: read the worker's last lines in the message; use fewer ``train.workers`` or smaller
    batches, or start the same run on all machines.
    """


def launch(folder: Path, recipe: TrainConfig, identity: dict[str, Any]) -> None:
    """Run a job's workers to their end.

    Call it from the main thread: only there does a signal reach the workers. SIGINT and SIGTERM
    end them, then take their usual effect here.

    Args:
        folder: of the job.
        recipe: how many processes, and where they meet.
        identity: what the training is; machines of other trainings do not meet these.

    Raises:
        WorkerError: workers failed more than ``MAX_RESTARTS`` times, or the others did not come.
    """
    handlers = _handlers()
    interrupted = None
    try:
        with _environment(recipe):
            _launched(folder, recipe, identity)
    except SignalException as signalled:
        interrupted = signalled.sigval
    except ChildFailedError as failed:
        raise WorkerError(_explained(folder, failed)) from None
    except RendezvousError as error:
        raise WorkerError(
            f"train.rendezvous = {recipe.rendezvous!r}: {recipe.nodes} machines did not meet there "
            f"within {_WAIT_FOR_OTHERS_S // 60} minutes ({error}); start the same run on all of "
            "them, with an address that each can reach"
        ) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.collect()  # closes the port where machines met: the next training opens it again
    if interrupted is not None:
        signal.raise_signal(interrupted)
        raise KeyboardInterrupt  # whoever ignores the signal still has no result


def _launched(folder: Path, recipe: TrainConfig, identity: dict[str, Any]) -> None:
    alone = recipe.nodes == 1
    logs = folder / "logs"
    logs.mkdir()
    # The first process draws the progress bar; what the others say is kept for the case of failure.
    quiet = {rank: Std.ALL if rank else Std.NONE for rank in range(recipe.workers)}
    config = LaunchConfig(
        min_nodes=recipe.nodes,
        max_nodes=recipe.nodes,
        nproc_per_node=recipe.workers,
        run_id=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
        rdzv_backend="c10d",
        rdzv_endpoint=f"{_LOOPBACK}:0" if alone else str(recipe.rendezvous),
        rdzv_configs={"timeout": _WAIT_FOR_OTHERS_S, "read_timeout": _WAIT_FOR_OTHERS_S},
        local_addr=_LOOPBACK if _on_loopback(recipe) else None,
        max_restarts=MAX_RESTARTS,
        monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=quiet),
    )
    elastic_launch(config, sys.executable)("-m", _WORKER, str(folder), str(os.getpid()))


def _on_loopback(recipe: TrainConfig) -> bool:
    if recipe.rendezvous is None:
        return True
    host = recipe.rendezvous.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _handlers() -> dict[signal.Signals, Any]:
    """Handlers that the launcher replaces and does not put back."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    found = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in found.items() if handler is not None}


@contextlib.contextmanager
def _environment(recipe: TrainConfig) -> Iterator[None]:
    """What workers inherit: this very package, and no way out of a machine that is alone."""
    source = str(Path(__file__).parents[3])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    new = {
        "PYTHONPATH": os.pathsep.join(paths),
        # A store of its own for each start: in the launcher's, restarted gloo processes find the
        # addresses of those that died and wait for them.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    loopback = {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}
    if _on_loopback(recipe) and loopback:
        new["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", min(loopback))
    changed = (*new, "TORCHELASTIC_SIGNALS_TO_HANDLE")
    before = {name: os.environ[name] for name in changed if name in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in changed:
            os.environ.pop(name, None)
        os.environ.update(before)


def _explained(folder: Path, failed: ChildFailedError) -> str:
    rank, failure = failed.get_first_failure()
    text = (
        f"worker {rank} ended with exit code {failure.exitcode} after {MAX_RESTARTS} restarts; the "
        "last checkpoint is intact, and train.resume=true continues from it."
    )
    said = [
        path.read_text(errors="replace").splitlines()[-_LINES_SHOWN:]
        for path in sorted(folder.glob("logs/**/stderr.log"))
        if path.stat().st_size
    ]
    return "\n".join([text, *(["Its last words:", *said[-1]] if said else [])])
