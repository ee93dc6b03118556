"""Whether the members of a Dask cluster can do this package's work, and the same work."""

import functools
import hashlib
import importlib
import importlib.metadata
from pathlib import Path
from typing import Any

from ssl_kedro.core.errors import UserError, first_line

# Machines of a cluster may be starting still.
_WORKER_S = 60


class ClusterError(UserError, RuntimeError):
    """Processes that cannot be started or reached, or that ended at their work.

    Cause: no worker answers at ``extract.cluster``, one has another version, or a certificate
    is missing.
    Remedy: start workers with the same version of ssl_kedro, and run again: finished blocks are
    kept.
    """


def check_certificates(cluster: str) -> None:
    """Refuse an encrypted address without what it takes.

    Raises:
        ClusterError: it is one, and Dask's configuration has no certificates.
    """
    from distributed.security import Security  # noqa: PLC0415  optional

    if not cluster.startswith("tls:"):
        return
    try:
        found = Security().get_connection_args("client")["ssl_context"]
        reason = "there are none" if found is None else None
    except OSError as error:
        reason = first_line(error)
    if reason:
        raise ClusterError(
            f"cluster = {cluster!r}: tls takes the certificates of Dask's configuration, {reason}; "
            "set distributed.comm.tls.ca-file, .client.cert and .client.key there, as the "
            "scheduler has them, or start it without and use tcp://"
        )


def check_workers(client: Any, cluster: str) -> None:
    """Wait for a worker, and refuse those that would compute something else.

    Args:
        client: of a Dask scheduler.
        cluster: its address, for messages.

    Raises:
        ClusterError: no worker, or one without this package or with another state of it.
    """
    try:
        client.wait_for_workers(1, timeout=_WORKER_S)
        found = client.run(_version)
    except TimeoutError:
        raise ClusterError(
            f"cluster = {cluster!r}: no worker came within {_WORKER_S} s; start some "
            f"with `dask worker {cluster}`"
        ) from None
    except Exception as error:  # Dask tells errors of a worker's imports by their text alone
        if "ModuleNotFoundError" not in f"{error!r}":
            raise
        raise ClusterError(
            f"cluster = {cluster!r}: {first_line(error)} on a worker; install "
            f"ssl_kedro {_version()} on every machine, and start the workers again"
        ) from None
    if others := {one for one in found.values() if one != _version()}:
        raise ClusterError(
            f"cluster = {cluster!r}: found workers with version {', '.join(sorted(others))}, "
            f"expected {_version()} as here; install one version everywhere, and start the "
            "workers again"
        )


@functools.cache
def _version() -> str:
    """Of this package, its sources, and PyTorch: what has to be the same for the same numbers.

    Cached: of a worker that outlives a change of its files, those that it runs.
    """
    package = importlib.import_module("ssl_kedro")
    sources = digest(Path(str(package.__file__)).parent)
    return f"{package.__version__} (sources {sources}, torch {importlib.metadata.version('torch')})"


def digest(folder: Path) -> str:
    """Changes with any Python source below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(f"{path.relative_to(folder).as_posix()}\x1f".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:8]
