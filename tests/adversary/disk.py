"""Runs whose disk is full or read-only, on a small file system in memory of their own.

Mounting needs root; ``unshare --map-root-user --mount make adversary`` gives it to anyone, where
the system lets it. Without it these cases are wrong, not passed over.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from adversary import results
from adversary.battery import Case, WrongError
from adversary.kills import SEED, check_after, reference
from adversary.parameters import tail
from adversary.projects import PIPELINES, Done, asked

ROW = "disk"
COUNT = 20
# Of a disk, in place of the share of what the project takes that there is room for.
_READ_ONLY = -1.0


def cases(seed: int) -> Iterator[Case]:
    """Five disks for each pipeline: read-only, full at the start, and full on the way."""
    generator = random.Random(f"{seed} {ROW}")
    for number in range(COUNT):
        pipeline = list(PIPELINES)[number % len(PIPELINES)]
        room = (_READ_ONLY, 0.0)[number // 4] if number < 8 else generator.uniform(0, 0.3)
        name = f"{ROW} {number:02d} {pipeline}, "
        name += "read-only" if room < 0 else f"room for {room:.3f} of what lies there"
        yield Case(ROW, name, partial(_attempt, pipeline, room))


def _attempt(pipeline: str, room: float, folder: Path) -> str:
    known = reference(pipeline)
    disk = folder / "project"
    with _mounted(disk):
        place = known.before.copied(disk)
        data = place.path / "data"
        before = {name: path.read_bytes() for name, path in results.files(data).items()}
        used = _size(disk)
        _remount(disk, "ro" if room < 0 else f"size={used + int(room * used)}")
        done = place.run(asked(pipeline, SEED))
        fate = _told(done)
        _check_kept(data, before, ended_well=done.code == 0)
        _remount(disk, "rw" if room < 0 else f"size={10 * used}")
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


def _check_kept(data: Path, before: dict[str, bytes], *, ended_well: bool) -> None:
    if faults := results.damaged(data):
        raise WrongError("half written: " + "; ".join(faults))
    lost = [name for name in before if not (data / name).exists()]
    if lost and not ended_well:
        raise WrongError("lost: " + "; ".join(lost))


def _size(folder: Path) -> int:
    """Bytes of a file system in memory that a folder takes: whole pages, for folders as well."""
    page = 4096
    return sum(page + -(-path.lstat().st_size // page) * page for path in folder.rglob("*"))


@contextmanager
def _mounted(path: Path) -> Iterator[None]:
    """A file system in memory at a path, unmounted afterwards."""
    path.mkdir()
    _do("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(path))
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
