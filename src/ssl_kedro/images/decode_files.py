"""Many image files, decoded in parallel.

Small images spend as much time in Python as in Pillow, so that threads get in one another's
way (measured at 32 pixels with two workers: threads slower than one, processes 1.7 times as
fast). The processes are of our own making: unlike those of multiprocessing they neither copy
the locks of a running program nor import its main module again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from PIL import Image

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.errors import first_few
from ssl_kedro.images.config import DataConfig
from ssl_kedro.images.decode_worker import decoded_files
from ssl_kedro.images.errors import ImageSourceError
from ssl_kedro.images.image_set import SkippedFile
from ssl_kedro.images.store import Block

# Files a worker takes at a time, and tasks in the making for each worker. Together they
# bound the memory that waits to be stored.
_FILES_A_TASK = 64
_TASKS_A_WORKER = 4

# Below both, this process has decoded them before another has started (a quarter second).
_FEW_FILES = 2000
_FEW_BYTES = 20e6


def file_blocks(
    config: DataConfig, root: Path, paths: Sequence[str], total_bytes: int
) -> Callable[[], Iterator[Block]]:
    """Decoded files, in order; the same whatever the number of workers.

    Args:
        config: its ``size`` and ``workers``.
        root: folder of the source.
        paths: relative to root.
        total_bytes: of the files; many or large ones are worth several processes.
    """
    tasks = [paths[i : i + _FILES_A_TASK] for i in range(0, len(paths), _FILES_A_TASK)]
    workers = min(config.workers or _available_cores(), len(tasks))
    if workers == 1 or (len(paths) < _FEW_FILES and total_bytes < _FEW_BYTES):
        return lambda: (_block(task, *decoded_files(root, task, config.size)) for task in tasks)
    return lambda: _parallel(config, root, tasks, workers)


def check_skipped(config: DataConfig, count: int) -> Callable[[tuple[SkippedFile, ...]], None]:
    """Check that refuses more unreadable files than ``max_skipped`` allows.

    Args:
        config: of the source.
        count: files in all.
    """

    def check(skipped: tuple[SkippedFile, ...]) -> None:
        if len(skipped) <= config.max_skipped * count:
            return
        named = first_few([f"{file.path} ({file.reason})" for file in skipped], separator="; ")
        raise config.root_error(
            found=f"{len(skipped)} of {count} files that cannot be read: {named}",
            expected=f"at most {config.max_skipped:.2%} (data.max_skipped = {config.max_skipped})",
            remedy="repair or remove these files, or raise data.max_skipped to go on without them",
        )

    return check


class _Worker:
    """One decoding process; see :mod:`ssl_kedro.images.decode_worker` for the protocol."""

    def __init__(self, config: DataConfig, root: Path) -> None:
        self._config = config
        self._root = root
        package = str(Path(__file__).parents[2])
        known = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ssl_kedro.images.decode_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package},
        )

    def decoded(self, paths: Sequence[str]) -> Block:
        """Files as a block, decoded by the process."""
        size = self._config.size
        task = {
            "root": str(self._root),
            "paths": list(paths),
            "size": size,
            "pixel_limit": Image.MAX_IMAGE_PIXELS,
        }
        tasks, answers = self._process.stdin, self._process.stdout
        if tasks is None or answers is None:
            raise RuntimeError("the decoding process was started without pipes")
        try:
            tasks.write(json.dumps(task).encode() + b"\n")
            tasks.flush()
        except BrokenPipeError:
            raise self._ended(paths) from None
        line = answers.readline()
        if not line.endswith(b"\n"):
            raise self._ended(paths)
        skipped = json.loads(line)["skipped"]
        count = len(paths) - len(skipped)
        content = answers.read(count * 3 * size * size)
        if len(content) < count * 3 * size * size:
            raise self._ended(paths)
        images = np.frombuffer(content, dtype=np.uint8).reshape(count, 3, size, size)
        return _block(paths, images, skipped)

    def close(self) -> None:
        """End the process, which ends with its standard input."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended already
                self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _ended(self, paths: Sequence[str]) -> ImageSourceError:
        return ImageSourceError(
            "workers",
            self._config.workers,
            found=f"that a decoding process ended with code {self._process.wait()} at one of "
            f"{paths[0]} to {paths[-1]}",
            expected="processes that live until all files are decoded",
            remedy="set data.workers to 1 to decode in the main process, and see whether memory "
            "is short or one of these files is damaged",
        )


def _parallel(
    config: DataConfig, root: Path, tasks: Sequence[Sequence[str]], workers: int
) -> Iterator[Block]:
    idle: SimpleQueue[_Worker] = SimpleQueue()

    def decoded(task: Sequence[str]) -> Block:
        worker = idle.get()
        try:
            return worker.decoded(task)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        for _ in range(workers):
            worker = _Worker(config, root)
            stack.callback(worker.close)
            idle.put(worker)
        # The threads only wait for the processes.
        yield from computed_ahead(decoded, tasks, workers, _TASKS_A_WORKER)


def _block(paths: Sequence[str], images: np.ndarray, skipped: Sequence[tuple[int, str]]) -> Block:
    readable = np.ones(len(paths), dtype=bool)
    readable[[index for index, _ in skipped]] = False
    return Block(images, readable, tuple(SkippedFile(paths[i], why) for i, why in skipped))


def _available_cores() -> int:
    """Cores this process may use, which on shared machines are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
