"""Images from a stream: what waits is bounded, whatever the machine."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.core.form import Form
from ssl_kedro.images import streamed
from ssl_kedro.images.decode_files import TASKS_A_WORKER, WAITING_BYTES, images_a_task
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.streamed import streamed_blocks


@pytest.mark.parametrize("workers", [1, 2, 16, 128])
@pytest.mark.parametrize("size", [8, 96, 224, 1024])
def test_decoded_images_that_wait_are_bounded(workers: int, size: int) -> None:
    count = images_a_task(size, workers)
    waiting = workers * TASKS_A_WORKER * count * 3 * size**2
    assert 1 <= count <= 64
    assert waiting <= WAITING_BYTES or count == 1


def test_images_that_wait_to_be_decoded_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(buffer, "PNG")
    image = buffer.getvalue() + bytes(10_000)
    taken = 0

    def values() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(500):
            taken += 1
            yield image

    monkeypatch.setattr(streamed, "WAITING_BYTES", 20 * len(image))
    blocks = iter(streamed_blocks(values(), DataConfig(size=8, workers=2), Form(8)))
    first, _ = next(blocks)
    # Each task may go beyond its share by an image, and one more has been begun.
    assert taken <= 20 + 3 * 2 * TASKS_A_WORKER
    assert len(first) + sum(len(images) for images, _ in blocks) == 500
