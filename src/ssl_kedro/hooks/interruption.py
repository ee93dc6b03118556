"""What a run that did not end has left, the command that goes on from there, and SIGTERM."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ssl_kedro.core.errors import first_few


def checkpoints(room: Path, pipelines: Collection[str], since: float) -> list[str]:
    """Names of the trainings whose checkpoint was written since a time.

    Args:
        room: of the run.
        pipelines: that it ran.
        since: when it started, in s since the epoch.
    """
    models = room / "06_models"
    found = (path for name in pipelines for path in models.glob(f"{name}*/**/checkpoint.*"))
    written = {path for path in found if path.stat().st_mtime >= since}
    return sorted(path.parent.relative_to(models).as_posix() for path in written)


def resume_keys(
    parameters: Mapping[str, Any], pipelines: Collection[str], value: bool = False
) -> list[str]:
    """Parameters that continue from checkpoints and are off, "dual_gating.train.resume"; or on."""

    def below(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
        for key, item in values.items():
            if isinstance(item, Mapping):
                yield from below(item, f"{prefix}{key}.")
            elif key == "resume" and item is value:
                yield f"{prefix}{key}"

    return list(below({name: parameters.get(name, {}) for name in sorted(pipelines)}, ""))


def command_line(arguments: Sequence[str]) -> list[str]:
    """What was typed, of what Python was given: ``python -m kedro`` gives the path of a module."""
    program = Path(arguments[0])
    module = program.name == "__main__.py"
    return [*(["python", "-m", program.parent.name] if module else [program.name]), *arguments[1:]]


def continuing(arguments: Sequence[str], keys: Sequence[str]) -> str:
    """A command with these parameters switched on besides those that it has.

    Args:
        arguments: program and arguments.
        keys: of parameters.
    """
    switched = ",".join(f"{key}=true" for key in keys)
    made = list(arguments)
    at = next((i for i, part in enumerate(made) if part.startswith("--params")), None)
    if switched and at is None:
        made += ["--params", switched]
    elif switched and at is not None:
        made[at if "=" in made[at] else at + 1] += f",{switched}"
    return shlex.join(made)


def interrupted(where: Path, kept: Sequence[str], command: str) -> str:
    """What is said of a run when it is interrupted."""
    trainings = f" and the checkpoints of {first_few(kept)}" if kept else ""
    return (
        f"Interrupted. Kept: results of finished nodes in {where}/{trainings}. "
        f"{'Continue' if kept else 'Start again'} with: {command}"
    )


def exit_on_sigterm() -> Callable[[], None] | None:
    """Make SIGTERM end the interpreter in order; returns what undoes it.

    Only where nobody else handles the signal, and only in the main thread, where Python
    allows it. A second SIGTERM ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return None

    process = os.getpid()

    def leave(signum: int, _: FrameType | None) -> None:
        signal.signal(signum, signal.SIG_DFL)
        if os.getpid() != process:
            os.kill(os.getpid(), signum)  # a forked worker ends as it always would
        sys.exit(128 + signum)

    def restore() -> None:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, leave)
    return restore
