"""How far something is: the share that is done, and bars with rate and time left."""

from __future__ import annotations

import io
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
# Seconds between two lines of a log.
LINE_S = 60.0

# Bars that are open, the outermost first.
_open: list[tqdm[Any]] = []
_told_by_others: list[bool] = []


class _Nowhere(io.StringIO):
    """Takes lines that nobody is to read."""

    def write(self, text: str) -> int:
        return len(text)


class _Bar(tqdm):  # type: ignore[type-arg]
    def close(self) -> None:
        if self in _open:
            _open.remove(self)
        super().close()


def progress_bar(total: int | None, description: str, unit: str, **options: Any) -> tqdm[Any]:
    """Progress bar on standard error that shows count, rate and time left.

    In a terminal it redraws ten times a second; elsewhere (a log file, a scheduler) it writes one
    line a minute, so that a log stays readable, or none where :func:`innermost` is told there.

    Args:
        total: count at the end; None where nobody knows.
        description: text in front of the bar.
        unit: what is counted, e.g. "images".
        options: passed on to tqdm.
    """
    terminal = sys.stderr.isatty()
    if not terminal:
        options.setdefault("delay", LINE_S)
    if _told_by_others and not terminal:
        options["file"] = _Nowhere()
    made = _Bar(
        total=total,
        desc=description,
        unit=f" {unit}",
        dynamic_ncols=True,
        mininterval=0.1 if terminal else LINE_S,
        leave=False,
        **options,
    )
    if not made.disable:
        _open.append(made)
    return made


def tell_elsewhere(told: bool) -> None:
    """Have bars write nothing to logs, while somebody else tells of them there."""
    _told_by_others[:] = [True] if told else []


def outermost() -> tuple[float, str]:
    """Share done of the outermost bar that is open, and what it says; 0 and "" where none is."""
    for bar in list(_open):
        if bar.total:
            rate = bar.format_dict["rate"]
            speed = f", {rate:,.0f}{bar.unit}/s" if rate else ""
            loss = f", {bar.postfix}" if bar.postfix else ""
            share = bar.n / bar.total
            return share, f"{bar.desc.removesuffix(': ')} {share:.0%}{speed}{loss}"
    return 0.0, ""


def duration(seconds: float) -> str:
    """Time as one says it: "40 s", "12 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
