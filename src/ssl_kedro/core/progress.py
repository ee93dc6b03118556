"""How far something is: the share that is done, and bars with rate and time left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from tqdm import tqdm

if TYPE_CHECKING:
    from torch import Tensor

# Share of training done. A training step that is recorded and replayed takes it as a scalar
# tensor (float64, on the device), whose value changes between replays; other steps as a number.
Progress: TypeAlias = Union[float, "Tensor"]

# Bars of what may be quicker than this appear after it only.
LONG_S = 2.0


def progress_bar(total: int | None, description: str, unit: str, **options: Any) -> tqdm[Any]:
    """Progress bar on standard error that shows count, rate and time left.

    In a terminal it redraws ten times a second; elsewhere (a log file, a scheduler) it
    writes one line every 30 seconds, so that a log stays readable.

    Args:
        total: count at the end; None where nobody knows.
        description: text in front of the bar.
        unit: what is counted, e.g. "images".
        options: passed on to tqdm.
    """
    return tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 30.0,
        leave=False,
        **options,
    )
