"""Many image files, decoded in parallel.

Small images spend as much time in Python as in Pillow, so that threads get in one another's
way (measured at 32 pixels with two workers: threads slower than one, processes 1.7 times as
fast). The processes are of our own making: unlike those of multiprocessing they neither copy
the locks of a running program nor import its main module again.

Each runs this module. Protocol, for each task: one line of JSON comes in on standard input
(``{"root", "files", "form", "pixel_limit"}``); one line of JSON goes out on standard output
(``{"skipped": [[index, reason], ...]}``), followed by the images, uint8, as
the form has them, as bytes. A process ends with its standard input, and so with the process that
started it.
"""

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from PIL import Image

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.form import Form
from ssl_kedro.images.decode import decoded_image, decoded_inside
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.load import DataConfig, ImageSourceError
from ssl_kedro.images.store import Block

# Images a worker takes at a time, at most, and tasks in the making for each worker. Decoded images
# that wait to be stored are bounded in bytes, however many cores there are.
MOST_IMAGES_A_TASK = 64
TASKS_A_WORKER = 4
WAITING_BYTES = 256 * 2**20

# Below both, this process has decoded them before another has started (a quarter second).
_FEW_FILES = 2000
_FEW_BYTES = 20e6


def file_blocks(
    config: DataConfig,
    form: Form,
    root: Path,
    files: Sequence[Any],
    total_bytes: int,
    done: int = 0,
) -> Iterator[Block]:
    """Decoded files, in order; the same whatever the number of workers.

    Args:
        config: its ``workers``.
        form: what is kept of each.
        root: folder of the source.
        files: path relative to root, or (path, offset, bytes) of an image inside of a file, each.
        total_bytes: of the images; many or large ones are worth several processes.
        done: how many of the files are left out, from the first on.
    """
    workers = config.workers or available_cores()
    step = images_a_task(form.side, workers)
    starts = range(done, len(files), step)
    tasks = (files[start : start + step] for start in starts)
    workers = min(workers, len(starts))
    if workers <= 1 or (len(files) < _FEW_FILES and total_bytes < _FEW_BYTES):
        return (_decoded_files(root, task, form) for task in tasks)
    return _parallel(config, form, root, tasks, workers)


def images_a_task(size: int, workers: int) -> int:
    """How many images a worker takes at a time, decoded at size x size px; at least 1."""
    room = WAITING_BYTES // (workers * TASKS_A_WORKER * 3 * size**2)
    return max(1, min(MOST_IMAGES_A_TASK, room))


def _decoded_files(root: Path, files: Sequence[Any], form: Form) -> Block:
    """Several files below a root, in order."""
    images = np.empty((len(files), *form.row_shape), dtype=np.uint8)
    skipped = []
    filled = 0
    # The fate of large images and odd metadata is decided in decode.py; Pillow's warnings
    # of them name no file.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for index, file in enumerate(files):
            try:
                if isinstance(file, str):
                    images[filled] = decoded_image(root / file, form)
                else:
                    images[filled] = decoded_inside(root / file[0], file[1], file[2], form)
            except UnreadableImageError as error:
                skipped.append((index, str(error)))
            else:
                filled += 1
    return images[:filled], skipped


class _Worker:
    """One decoding process; see the top of this file for the protocol."""

    def __init__(self, config: DataConfig, form: Form, root: Path) -> None:
        self._config, self._form, self._root = config, form, root
        package = str(Path(__file__).parents[2])
        known = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ssl_kedro.images.decode_files"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package},
        )

    def decoded(self, files: Sequence[Any]) -> Block:
        """Files as a block, decoded by the process."""
        form = self._form
        task = {
            "root": str(self._root),
            "files": list(files),
            "form": asdict(form),
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
            raise self._ended(files)
        skipped = json.loads(line)["skipped"]
        count = len(files) - len(skipped)
        content = answers.read(count * form.row_bytes)
        if len(content) < count * form.row_bytes:
            raise self._ended(files)
        return np.frombuffer(content, dtype=np.uint8).reshape(count, *form.row_shape), skipped

    def close(self) -> None:
        """End the process, which ends with its standard input."""
        with suppress(BrokenPipeError), self._process:  # it may have ended already
            pass

    def _ended(self, files: Sequence[Any]) -> ImageSourceError:
        return self._config.error(
            "workers",
            found=f"that a decoding process ended with code {self._process.wait()} at one of "
            f"{_shown(files[0])} to {_shown(files[-1])}",
            expected="processes that live until all files are decoded",
            remedy="set data.workers to 1 to decode in the main process, and see whether memory "
            "is short or one of these files is damaged",
        )


def _shown(file: Any) -> str:
    return file if isinstance(file, str) else f"byte {file[1]} of {file[0]}"


def _parallel(
    config: DataConfig, form: Form, root: Path, tasks: Iterable[Sequence[Any]], workers: int
) -> Iterator[Block]:
    idle: SimpleQueue[_Worker] = SimpleQueue()

    def decoded(task: Sequence[Any]) -> Block:
        worker = idle.get()
        try:
            return worker.decoded(task)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        for _ in range(workers):
            worker = _Worker(config, form, root)
            stack.callback(worker.close)
            idle.put(worker)
        # The threads only wait for the processes.
        yield from computed_ahead(decoded, tasks, workers, TASKS_A_WORKER)


def main() -> None:
    """Answer tasks until standard input ends."""
    # Ctrl-C reaches every process of the terminal; the one that started this closes it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = sys.stdout.buffer
    for line in sys.stdin.buffer:
        task = json.loads(line)
        Image.MAX_IMAGE_PIXELS = task["pixel_limit"]
        form = Form(**task["form"])
        images, skipped = _decoded_files(Path(task["root"]), task["files"], form)
        answers.write(json.dumps({"skipped": skipped}).encode() + b"\n")
        answers.write(images.tobytes())
        answers.flush()


if __name__ == "__main__":
    main()
