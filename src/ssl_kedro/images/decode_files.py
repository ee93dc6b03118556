"""Many image files, decoded in parallel.

Small images spend as much time in Python as in Pillow, so that threads get in one another's
way (measured at 32 pixels with two workers: threads slower than one, processes 1.7 times as
fast). The processes are of our own making: unlike those of multiprocessing they neither copy
the locks of a running program nor import its main module again.

Each runs this module. Protocol, for each task: one line of JSON comes in on standard input
(``{"root", "paths", "size", "pixel_limit"}``); one line of JSON goes out on standard output
(``{"skipped": [[index, reason], ...]}``), followed by the images, uint8 (K, 3, size, size) as
bytes. A process ends with its standard input, and so with the process that started it.
"""

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from PIL import Image

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.images.decode import decoded_image
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.load import DataConfig, ImageSourceError
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
) -> Iterator[Block]:
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
        return (_decoded_files(root, task, config.size) for task in tasks)
    return _parallel(config, root, tasks, workers)


def _decoded_files(root: Path, paths: Sequence[str], size: int) -> Block:
    """Several files below a root, in order, size x size px."""
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)
    skipped = []
    filled = 0
    # The fate of large images and odd metadata is decided in decode.py; Pillow's warnings
    # of them name no file.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for index, path in enumerate(paths):
            try:
                images[filled] = decoded_image(root / path, size)
            except UnreadableImageError as error:
                skipped.append((index, str(error)))
            else:
                filled += 1
    return images[:filled], skipped


class _Worker:
    """One decoding process; see the top of this file for the protocol."""

    def __init__(self, config: DataConfig, root: Path) -> None:
        self._config, self._root = config, root
        package = str(Path(__file__).parents[2])
        known = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ssl_kedro.images.decode_files"],
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
        with suppress(BrokenPipeError):  # it ended, and will not answer
            tasks.write(json.dumps(task).encode() + b"\n")
            tasks.flush()
        line = answers.readline()
        if not line.endswith(b"\n"):
            raise self._ended(paths)
        skipped = json.loads(line)["skipped"]
        count = len(paths) - len(skipped)
        content = answers.read(count * 3 * size * size)
        if len(content) < count * 3 * size * size:
            raise self._ended(paths)
        return np.frombuffer(content, dtype=np.uint8).reshape(count, 3, size, size), skipped

    def close(self) -> None:
        """End the process, which ends with its standard input."""
        with suppress(BrokenPipeError), self._process:  # it may have ended already
            pass

    def _ended(self, paths: Sequence[str]) -> ImageSourceError:
        return self._config.error(
            "workers",
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


def _available_cores() -> int:
    """Cores this process may use, which on shared machines are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Answer tasks until standard input ends."""
    # Ctrl-C reaches every process of the terminal; the one that started this closes it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = sys.stdout.buffer
    for line in sys.stdin.buffer:
        task = json.loads(line)
        Image.MAX_IMAGE_PIXELS = task["pixel_limit"]
        images, skipped = _decoded_files(Path(task["root"]), task["paths"], task["size"])
        answers.write(json.dumps({"skipped": skipped}).encode() + b"\n")
        answers.write(images.tobytes())
        answers.flush()


if __name__ == "__main__":
    main()
