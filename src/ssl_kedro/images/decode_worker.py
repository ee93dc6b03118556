"""A process that decodes: ``python -m ssl_kedro.images.decode_worker``.

Protocol, for each task: one line of JSON comes in on standard input
(``{"root", "paths", "size", "pixel_limit"}``); one line of JSON goes out on standard output
(``{"skipped": [[index, reason], ...]}``), followed by the images, uint8 (K, 3, size, size) as
bytes. The process ends with its standard input, and so with the process that started it.
"""

from __future__ import annotations

import json
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ssl_kedro.images.decode import decoded_image
from ssl_kedro.images.errors import UnreadableImageError


def decoded_files(
    root: Path, paths: Sequence[str], size: int
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Several files, in order.

    Args:
        root: folder of the source.
        paths: relative to root.
        size: side of the images in pixels.

    Returns:
        uint8 (K, 3, size, size), those that could be read; index and reason of the others.
    """
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


def main() -> None:
    """Answer tasks until standard input ends."""
    # Ctrl-C reaches every process of the terminal; the one that started this closes it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = sys.stdout.buffer
    for line in sys.stdin.buffer:
        task = json.loads(line)
        Image.MAX_IMAGE_PIXELS = task["pixel_limit"]
        images, skipped = decoded_files(Path(task["root"]), task["paths"], task["size"])
        answers.write(json.dumps({"skipped": skipped}).encode() + b"\n")
        answers.write(images.tobytes())
        answers.flush()


if __name__ == "__main__":
    main()
