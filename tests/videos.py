"""Small videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def write_video(
    path: Path,
    count: int = 12,
    rate: float = 10,
    size: tuple[int, int] = (64, 32),
    colour: tuple[int, int, int] | None = None,
) -> Path:
    """A video whose frame i has the shade 7 i (modulo 256), or one colour (B, G, R)."""
    cv2 = pytest.importorskip("cv2")
    path.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.VideoWriter_fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG"))
    writer = cv2.VideoWriter(str(path), code, rate, size)
    if not writer.isOpened():
        pytest.skip("OpenCV cannot write this kind of video here")
    for index in range(count):
        shade = colour or (index * 7 % 256,) * 3
        writer.write(np.full((size[1], size[0], 3), shade, np.uint8))
    writer.release()
    return path
