"""The table of what was predicted, a row an input."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_kedro.core.errors import shown
from ssl_kedro.core.files import replaced_file


@dataclass(frozen=True)
class Written:
    """One row of the summary: an input and the files made of it, relative to the output folder.

    Args:
        input: name of the image or video, relative to the input.
        frames: 1 for an image; those predicted of a video; 0 = none, ``skipped`` says why.
        map: densities per steradian, float32 (h, w), or (T, h, w) of a video; "" = not written.
        heat_map: a PNG of the map alone.
        overlay: a JPEG, or an MP4 of a video.
        times: a table of a video's frames: row of the map, frame number, time in s, and what it
            cost a gated encoder in GMAC.
        cost: a PNG of that, of a video by a gated encoder.
        skipped: why there is no prediction.
    """

    input: str
    frames: int = 0
    map: str = ""
    heat_map: str = ""
    overlay: str = ""
    times: str = ""
    cost: str = ""
    skipped: str = ""

    def readable(self) -> "Written":
        """The same with names as tables take them, where some are no UTF-8."""
        texts: dict[str, Any] = {k: shown(v) for k, v in vars(self).items() if isinstance(v, str)}
        return replace(self, **texts)


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A CSV file with a header, replaced when complete."""
    with (
        replaced_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
