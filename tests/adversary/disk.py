"""Runs whose disk is full or read-only, on a small file system in memory of their own.

Mounting needs root; ``unshare --map-root-user --mount make adversary`` gives it to anyone, where
the system lets it. Without it these cases are wrong, not passed over.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from adversary import results
from adversary.battery import Case, WrongError
from adversary.kills import SEED, check_after, check_kept, reference
from adversary.parameters import tail
from adversary.projects import PIPELINES, Done, asked

ROW = "disk"
COUNT = 20
_ROOMY_BYTES = 2**30


def cases(seed: int) -> Iterator[Case]:
    """Five disks for each pipeline: read-only, full at the start, and full from some moment on."""
    generator = random.Random(f"{seed} {ROW}")
    for number in range(COUNT):
        pipeline = list(PIPELINES)[number % len(PIPELINES)]
        moment = generator.random()
        state = ("read-only", "full", f"full at {moment:.3f} of the run")[min(number // 4, 2)]
        attempt = partial(_attempt, pipeline, state, moment)
        yield Case(ROW, f"{ROW} {number:02d} {pipeline}, {state}", attempt)


def _attempt(pipeline: str, state: str, moment: float, folder: Path) -> str:
    known = reference(pipeline)
    disk = folder / "project"
    with _mounted(disk):
        place = known.before.copied(disk)
        before = results.files(disk / "data")
        if state == "read-only":
            _remount(disk, "ro")
        elif state == "full":
            _fill(disk)
        process = place.started(asked(pipeline, SEED))
        if state not in ("read-only", "full"):
            time.sleep(moment * known.seconds)
            _fill(disk)
        fate = _told(place.ended(process))
        check_kept(disk / "data", before)
        _remount(disk, "rw" if state == "read-only" else f"size={_ROOMY_BYTES}")
        done = place.run(asked(pipeline, SEED))
        if done.code != 0:
            raise WrongError(f"with room again, the run ended with {done.code}\n{tail(done)}")
        check_after(place, pipeline, known)
    return fate


def _told(done: Done) -> str:
    if done.code == 0:
        return "there was room enough"
    if done.code is None:
        raise WrongError("it hangs\n" + tail(done))
    message = done.output.rpartition("Error: ")[2]
    if "Traceback" in done.output:
        raise WrongError("a traceback\n" + tail(done))
    if done.code < 0 or not message:
        raise WrongError(f"ended with {done.code} and no word of an error\n{tail(done)}")
    if not any(word in message for word in ("space", "ead-only", "writ")):
        raise WrongError("another error than that of the disk\n" + tail(done))
    return "told: " + " ".join(message.split())[:100]


def _fill(disk: Path) -> None:
    """Leave no room: the file system becomes as small as what it holds, which may still grow."""
    for _ in range(20):
        state = os.statvfs(disk)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        with contextlib.suppress(PermissionError):
            return _remount(disk, f"size={used}")
    raise WrongError("the disk could not be made smaller")


@contextlib.contextmanager
def _mounted(path: Path) -> Iterator[None]:
    """A file system in memory at a path, unmounted afterwards."""
    path.mkdir()
    _do("mount", "-t", "tmpfs", "-o", f"size={_ROOMY_BYTES}", "tmpfs", str(path))
    try:
        yield
    finally:
        _do("umount", "--lazy", str(path))


def _remount(path: Path, options: str) -> None:
    _do("mount", "-o", f"remount,{options}", str(path))


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"{' '.join(command)}: {done.stderr.strip()}")
