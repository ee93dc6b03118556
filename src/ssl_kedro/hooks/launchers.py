"""Programs that start a run several times at once."""

import os
from collections.abc import Sequence

from ssl_kedro.core.errors import UserError

# A port that an example names; any free one will do.
_PORT = 29400


class LauncherError(UserError, RuntimeError):
    """A run that something has started as one of several processes.

    Cause: ``kedro run`` was started by torchrun, or by a launcher that does the same.
    Remedy: start it once, with the parameters that the message gives (docs/torchrun.md).
    """


def check_alone(trained: Sequence[str]) -> None:
    """Refuse a run that torchrun has started as one of several.

    Each of them would decode, evaluate and write everything. A run starts the processes that share
    its trainings itself, with the launcher that torchrun is the command line of.

    Args:
        trained: pipelines of the run that train.

    Raises:
        LauncherError: says how to start the same number of processes.
    """
    count = _number("WORLD_SIZE", 1)
    if "TORCHELASTIC_RUN_ID" not in os.environ or count == 1:
        return
    message = (
        f"torchrun has started this run {count} times (WORLD_SIZE); each would write the same "
        "results. Start it without torchrun"
    )
    if not trained:
        raise LauncherError(f"{message}, once: nothing is trained in it")
    workers = _number("LOCAL_WORLD_SIZE", count)
    nodes, values = count // workers, [f"workers={workers}"]
    if nodes > 1:
        values += [f"nodes={nodes}", f"rendezvous={os.environ.get('MASTER_ADDR', 'HOST')}:{_PORT}"]
    params = ",".join(f"{trained[0]}.train.{value}" for value in values)
    machines = ", once on each machine" if nodes > 1 else ", once"
    raise LauncherError(f"{message}{machines}; it starts its workers itself: --params {params}")


def _number(variable: str, default: int) -> int:
    """A count from the environment; what is none is as good as not set."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() and int(text) else default
