"""Images that come one after the other as Arrow holds them, decoded in threads."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.errors import UserError
from ssl_kedro.core.form import Form
from ssl_kedro.images.decode import decoded_bytes
from ssl_kedro.images.decode_files import TASKS_A_WORKER, WAITING_BYTES, images_a_task
from ssl_kedro.images.files import UnreadableImageError, opened_file, reason_of
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.store import Block


def streamed_blocks(values: Iterable[Any], config: DataConfig, form: Form) -> Iterator[Block]:
    """Images in their order, decoded; what waits is bounded in bytes, also before it is decoded.

    Args:
        values: of images: their bytes, ``{"bytes", "path"}``, or None.
        config: its ``workers``.
        form: what is kept of each.
    """
    workers = config.workers or available_cores()
    most, room = images_a_task(form.side, workers), WAITING_BYTES // (workers * TASKS_A_WORKER)

    def tasks() -> Iterator[list[Any]]:
        task, size = [], 0
        for value in values:
            task.append(value)
            size += len(_bytes(value) or b"")
            if len(task) == most or size > room:
                yield task
                task, size = [], 0
        if task:
            yield task

    def decoded(task: list[Any]) -> Block:
        images = np.empty((len(task), *form.row_shape), np.uint8)
        filled, skipped = 0, []
        for index, value in enumerate(task):
            try:
                images[filled] = decoded_bytes(_content(value), form)
                filled += 1
            except UnreadableImageError as error:
                skipped.append((index, str(error)))
        return images[:filled], skipped

    return computed_ahead(decoded, tasks(), workers, TASKS_A_WORKER)


def _bytes(value: Any) -> bytes | None:
    return value.get("bytes") if isinstance(value, dict) else value


def _content(value: Any) -> bytes:
    """Bytes of an image: itself, or where it lies: here or on the Hub."""
    if (content := _bytes(value)) is not None:
        return bytes(content)
    path = (value or {}).get("path")
    if not path:
        raise UnreadableImageError("no image")
    try:
        if "://" not in path:
            with opened_file(Path(path)) as file:
                return file.read()
        within = path.rpartition("::")[2]
        if "://" in within and not within.startswith("hf://"):
            raise UnreadableImageError("it lies elsewhere than the data set")
        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except UserError:
        raise
    except Exception as error:  # file systems have errors of their own
        raise UnreadableImageError(f"cannot be read: {reason_of(error)}") from error
