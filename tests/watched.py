"""Photographs that say who read them, for tests with other processes, which import this."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from ssl_kedro.images.decode import Resize
from ssl_kedro.images.photographs import FilePhotographs


class Watched(FilePhotographs):
    """Files whose reading is written down; one of them once ends the process that reads it."""

    log: Path
    deadly: str | None = None
    ends_at: str | None = None  # interrupted there, as by a user
    slow_s = 0.0

    def part(self, first: int, stop: int) -> Watched:
        of = super().part(first, stop)
        part = Watched(of.paths, of.names, of.boxes)
        part.log, part.deadly, part.slow_s = self.log, self.deadly, self.slow_s
        part.ends_at = self.ends_at
        return part

    def decoded(self, index: int, resize: Resize) -> np.ndarray:
        name, ended = self.names[index], self.log.with_suffix(".ended")
        time.sleep(self.slow_s)
        if name == self.ends_at:
            raise KeyboardInterrupt
        if name == self.deadly and not ended.exists():
            ended.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with self.log.open("a") as file:
            file.write(f"{name} {os.getpid()}\n")
        return super().decoded(index, resize)

    def read(self) -> list[tuple[str, str]]:
        return [tuple(line.split()) for line in self.log.read_text().splitlines()]  # type: ignore[misc]
