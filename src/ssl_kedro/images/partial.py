"""A memory map in the making, which a process that comes later can finish.

A folder with the images so far and a journal: each line says how many images were read until then,
how many of them are in the array, and which could not be decoded. A line is written only when the
images before it are on the disk, so that whatever a kill leaves behind the last whole line goes.
"""

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np

from ssl_kedro.core.stores import GrowingArray

# What a kill loses at most; waiting for the disk more often would slow small images down.
_KEPT_EVERY_S = 2.0
_ARRAY, _JOURNAL = "images.npy", "journal.jsonl"


class PartialStore(AbstractContextManager["PartialStore"]):
    """Images that are added block by block; goes on where an earlier one of the folder stopped.

    Args:
        folder: where; need not exist yet. Nobody else may write there.
        row_shape: of an image, (3, S, S) or (3 S S + 4,).

    Attributes:
        unreadable: the reason by index of each image that could not be decoded.
    """

    def __init__(self, folder: Path, row_shape: Sequence[int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        done, rows, self.unreadable, length = _kept(folder / _JOURNAL)
        try:
            self._array = GrowingArray(folder / _ARRAY, row_shape, "|u1", rows)
        except (OSError, ValueError):  # the array did not outlast a loss of power
            done, rows, self.unreadable, length = 0, 0, {}, 0
            self._array = GrowingArray(folder / _ARRAY, row_shape, "|u1")
        self._journal = (folder / _JOURNAL).open("ab")
        self._journal.truncate(length)
        self._waiting: dict[int, str] = {}
        # Both at once, as Ctrl-C may come between any two steps.
        self._read_and_rows = done, rows
        self._last_kept = time.monotonic()

    @property
    def done(self) -> int:
        """Images read so far, also those that could not be decoded."""
        return self._read_and_rows[0]

    def add(self, images: np.ndarray, unreadable: Sequence[tuple[int, str]]) -> None:
        """The next block.

        Args:
            images: uint8 (K, *row_shape), those that could be read.
            unreadable: index in the block, and the reason, of each of the others.
        """
        self._array.add(images)
        done, rows = self._read_and_rows
        found = {done + index: reason for index, reason in unreadable}
        self.unreadable |= found
        self._waiting |= found
        self._read_and_rows = done + len(images) + len(unreadable), rows + len(images)
        if time.monotonic() - self._last_kept > _KEPT_EVERY_S:
            self._keep()

    def finish(
        self,
        folder: Path,
        labels: np.ndarray | None,
        description: object,
        description_name: str = "store.json",
    ) -> None:
        """Close it, and give it its name.

        Args:
            folder: which it becomes; one that is there is damaged, and goes.
            labels: int64, of the images; None where there are none.
            description: JSON values.
            description_name: of the file that they go to.
        """
        self.__exit__()
        if labels is not None:
            np.save(self.folder / "labels.npy", labels, allow_pickle=False)
        text = json.dumps(description)
        (self.folder / description_name).write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        # The journal goes last: without it nobody could finish what a kill leaves.
        self.folder.replace(folder)
        (folder / _JOURNAL).unlink()

    def __exit__(self, *_: object) -> None:
        """Keep what is there."""
        if self._journal.closed:
            return
        with self._journal, self._array:
            self._keep()

    def _keep(self) -> None:
        self._array.flush()
        line = [*self._read_and_rows, list(self._waiting.items())]
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()
        self._waiting = {}
        self._last_kept = time.monotonic()


def _kept(journal: Path) -> tuple[int, int, dict[int, str], int]:
    """Images read, rows, reasons, and bytes of the journal up to its last whole line."""
    done, rows, length = 0, 0, 0
    unreadable: dict[int, str] = {}
    with suppress(OSError, ValueError, TypeError), journal.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            done, rows, new = json.loads(line)
            unreadable |= {int(index): reason for index, reason in new}
            length += len(line)
    return done, rows, unreadable, length
