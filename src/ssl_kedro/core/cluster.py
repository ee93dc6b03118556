"""Pieces of work in this process, in several of this machine, or on a cluster, by Dask.

A piece may run more than once: a process that is killed costs the piece it was at, which runs
again elsewhere. So a piece that leaves a file looks first whether the file is there. What goes to
a process and comes back is pickled: only processes of the same user, or of a cluster that they
trust, hear each other (docs/adr/0035).
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import pickle
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.errors import UserError, first_line
from ssl_kedro.core.extras import absent, how_to_install
from ssl_kedro.core.files import replaced_file
from ssl_kedro.core.members import ClusterError, check_certificates, check_workers
from ssl_kedro.core.memory import keep_freed_memory
from ssl_kedro.core.rows import ForOthers

T = TypeVar("T")
R = TypeVar("R")
Numbered = Iterator[tuple[int, R]]

_ADDRESS = re.compile(r"(tcp|tls)://[^/\s:]+:\d{1,5}|(tcp|tls)://\[[0-9a-fA-F:.]+\]:\d{1,5}")
_PACKAGES = ("distributed", "cryptography")
# Of a scheduler that is there; one that is not costs so long.
_ANSWER_S = 10
# Processes may be starting again.
_WORKER_S = 60
_LOOK_S = 5
# Pieces that wait at each process, so that none is idle and few are in memory.
_WAITING = 2


def check_spread(processes: int, cluster: str | None) -> None:
    """Refuse what cannot be started; nothing is.

    Args:
        processes: of this machine; 1 = this one alone.
        cluster: address of a Dask scheduler, "tcp://host:8786"; None = no cluster.

    Raises:
        ConfigError: not an address, both of the two, or Dask is not installed.
    """
    if cluster is not None and not _ADDRESS.fullmatch(cluster):
        expected = 'the address of a Dask scheduler, such as "tcp://host:8786" or "tls://host:8786"'
        raise ConfigError("cluster", cluster, expected)
    if cluster is not None and processes > 1:
        raise ConfigError("processes", processes, "1 beside a cluster, which has its own")
    key, value = ("cluster", cluster) if cluster else ("processes", processes)
    missing = absent(*_PACKAGES) if cluster or processes > 1 else []
    if missing:
        alone = "none" if cluster else "1"
        remedy = f"what is not installed: {', '.join(missing)} ({how_to_install(*missing)})"
        raise ConfigError(key, value, f"{alone}, or {remedy}")


class Workers:
    """This process alone: pieces in their order.

    ``here`` is whether functions may share objects with their caller.
    """

    here = True

    def results(self, function: Callable[[T], R], pieces: Iterable[T]) -> Numbered[R]:
        """Number of a piece, and what the function returned for it, as they are finished.

        Args:
            function: of a module, for other processes to find it by name.
            pieces: taken as there is room for them.

        Raises:
            ClusterError: a user's error in another process, or processes that end at a piece.
        """
        for number, piece in enumerate(pieces):
            yield number, function(piece)

    def lent(self, array: np.ndarray) -> ForOthers:
        """An array for many pieces: where it lies, so that they do not carry it, if it can be."""
        return ForOthers.of(array)


HERE = Workers()


class _Others(Workers):
    """Processes that a Dask client reaches.

    Args:
        client: that reaches them.
        scratch: a folder that they see, None where there may be none.
    """

    here = False

    def __init__(self, client: Any, scratch: Path | None = None) -> None:
        self._client, self._scratch = client, scratch
        self._lent = 0

    def lent(self, array: np.ndarray) -> ForOthers:
        """See :meth:`Workers.lent`."""
        found = ForOthers.of(array)
        if found.array is None or self._scratch is None:
            return found
        path, self._lent = self._scratch / f"lent_{self._lent}.npy", self._lent + 1
        with replaced_file(path, array.nbytes) as temporary, temporary.open("wb") as file:
            np.save(file, found.array, allow_pickle=False)
        return ForOthers.of(np.load(path, mmap_mode="r", allow_pickle=False))

    def results(self, function: Callable[[T], R], pieces: Iterable[T]) -> Numbered[R]:
        """See :meth:`Workers.results`; what is finished is released, and not made again."""
        from distributed import wait  # noqa: PLC0415  optional

        remaining = enumerate(pieces)
        given: dict[Any, int] = {}
        idle_since = time.monotonic()
        while True:
            with _scheduler_there(OSError):
                workers = len(self._client.nthreads())
            room = _WAITING * max(1, workers) - len(given)
            for _, (number, piece) in zip(range(room), remaining, strict=False):
                # A worker that cannot read what Dask packs for it leaves without a word.
                packed = pickle.dumps((function, piece))
                given[self._client.submit(_told, packed, pure=False)] = number
            if not given:
                return
            with (
                _scheduler_there(OSError),
                self._client.as_current(),
                contextlib.suppress(TimeoutError),
            ):
                wait(list(given), timeout=_LOOK_S, return_when="FIRST_COMPLETED")
            if workers:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _WORKER_S:
                raise ClusterError(f"no worker was left for {_WORKER_S} s; see what they say")
            for future in [one for one in given if one.done()]:
                result = _result(future)
                number = given.pop(future)
                future.release()
                yield number, result


@contextlib.contextmanager
def _scheduler_there(*more: type[Exception]) -> Iterator[None]:
    """Within, what a client raises when its scheduler ends is a user's error."""
    from distributed.client import FuturesCancelledError  # noqa: PLC0415  optional
    from distributed.comm.core import CommClosedError  # noqa: PLC0415  optional

    cancelled = (asyncio.CancelledError, concurrent.futures.CancelledError, FuturesCancelledError)
    kinds: tuple[type[BaseException], ...] = (*cancelled, CommClosedError, *more)
    try:
        yield
    except kinds as error:
        raise ClusterError(
            f"the Dask scheduler is not there any more ({first_line(error)}): start it and its "
            "workers again, then run again; finished blocks are kept"
        ) from None


def _result(future: Any) -> Any:
    """What a piece of work gave.

    Raises:
        ClusterError: a user's error, or the end of the scheduler or of every process that tried.
    """
    from distributed import KilledWorker  # noqa: PLC0415  optional

    try:
        with _scheduler_there():
            return future.result()
    except KilledWorker as error:
        raise ClusterError(
            f"a piece of work ended every process it was given to: {first_line(error)}. "
            "Processes are ended where memory is short: use fewer, or fewer threads in each, and "
            "run again; finished blocks are kept"
        ) from None


@contextlib.contextmanager
def spread(processes: int = 1, cluster: str | None = None) -> Iterator[Workers]:
    """Where pieces of work run within the block.

    Processes of this machine hear only its loopback interface, and each other by certificates
    made for the occasion; they end with the block, or with this process. A script that starts some
    has to stand under ``if __name__ == "__main__"``.

    Args:
        processes: of this machine; 1 = this one.
        cluster: address of a Dask scheduler; its workers need this package in this version.

    Raises:
        ConfigError: see :func:`check_spread`.
        ClusterError: nobody answers there, or only others than this version's workers.
    """
    check_spread(processes, cluster)
    if cluster is not None or processes > 1:
        import distributed  # noqa: PLC0415  optional; sets its own levels

        # Kedro shows what others say from "info" on: a line for each connection.
        logging.getLogger(distributed.__name__).setLevel(logging.WARNING)
    if cluster is not None:
        with _reached(cluster) as client:
            yield _Others(client)
    elif processes == 1:
        yield HERE
    else:
        with _started(processes) as workers:
            yield workers


@contextlib.contextmanager
def _started(processes: int) -> Iterator[Workers]:
    from distributed import Client, LocalCluster  # noqa: PLC0415  optional

    with (
        tempfile.TemporaryDirectory(prefix="ssl_kedro-", ignore_cleanup_errors=True) as scratch,
        LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            host="127.0.0.1",
            # A port of the system's choice: the usual one may be another run's.
            dashboard_address="127.0.0.1:0",
            memory_limit=None,
            local_directory=scratch,
            security=True,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield _Others(client, Path(scratch))


@contextlib.contextmanager
def _reached(cluster: str) -> Iterator[Any]:
    from distributed import Client  # noqa: PLC0415  optional

    check_certificates(cluster)
    try:
        client = Client(cluster, timeout=_ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"cluster = {cluster!r}: no Dask scheduler answered there within {_ANSWER_S} s "
            f"({first_line(error)}); start one with `dask scheduler`, or see whether this machine "
            "may reach that port"
        ) from None
    with client:
        check_workers(client, cluster)
        yield client


def _told(packed: bytes) -> Any:
    """Errors of users travel as their text: their kinds are not made to be pickled."""
    keep_freed_memory()
    function, piece = pickle.loads(packed)
    try:
        return function(piece)
    except UserError as error:
        raise ClusterError(str(error)) from None


def cores_of_each(processes: int) -> int:
    """Cores for each of so many processes of this machine, at least 1."""
    return max(1, available_cores() // processes)
