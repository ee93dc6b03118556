"""Cases, which of them are tried, and the table of what came of them."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


class WrongError(Exception):
    """What should not have happened, in a sentence or with the output that shows it."""


# A result that is missing or other than expected is as wrong as what a case looks for.
_WRONG = (WrongError, OSError, ValueError, LookupError)


@dataclass(frozen=True)
class Case:
    """One attack.

    Args:
        row: of the table.
        name: of the case; with the seed it says how to repeat it.
        attempt: does it in an empty folder and says what came of it; raises WrongError.
    """

    row: str
    name: str
    attempt: Callable[[Path], str]


@dataclass
class Tally:
    """What came of the cases of one row."""

    known: int
    tried: int = 0
    wrong: list[Case] = field(default_factory=list)
    seconds: float = 0.0


def drawn(cases: Sequence[Case], shares: dict[str, int] | None, seed: int) -> list[Case]:
    """The cases to try, in their order.

    Args:
        cases: all.
        shares: how many of each row; None = all.
        seed: of the draw.
    """
    if shares is None:
        return list(cases)
    chosen: set[str] = set()
    for row, count in shares.items():
        names = [case.name for case in cases if case.row == row]
        chosen |= set(random.Random(f"{seed} {row}").sample(names, min(count, len(names))))
    return [case for case in cases if case.name in chosen]


def tried(
    cases: Iterable[Case], every: Sequence[Case], say: Callable[[str], None]
) -> dict[str, Tally]:
    """Try cases one after the other, each in a folder of its own; what came of them by row.

    Ctrl-C ends it before its time.
    """
    tallies: dict[str, Tally] = {}
    for case in every:
        tallies.setdefault(case.row, Tally(0)).known += 1
    with suppress(KeyboardInterrupt):
        for case in cases:
            _try(case, tallies[case.row], say)
    return tallies


def _try(case: Case, tally: Tally, say: Callable[[str], None]) -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="adversary-", ignore_cleanup_errors=True) as folder:
        try:
            fate, right = case.attempt(Path(folder)), True
        except _WRONG as error:
            fate, right = f"{type(error).__name__}: {error}", False
    seconds = time.perf_counter() - began
    tally.tried += 1
    tally.seconds += seconds
    if not right:
        tally.wrong.append(case)
    say(f"{'right' if right else 'WRONG'} {seconds:6.1f} s  {case.name}: {fate}")


def table(tallies: dict[str, Tally]) -> str:
    """Tried, right and wrong of each row, and of all."""
    lines = [f"{'attack':<24}{'tried':>12}{'right':>8}{'wrong':>8}{'minutes':>9}"]
    for row, tally in tallies.items():
        counts = f"{tally.tried} of {tally.known}"
        right, wrong = tally.tried - len(tally.wrong), len(tally.wrong)
        lines.append(f"{row:<24}{counts:>12}{right:>8}{wrong:>8}{tally.seconds / 60:>9.1f}")
    return "\n".join(lines)
