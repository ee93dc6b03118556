"""The attacks of ``make adversary``: as many as promised, the same for a seed, and counted."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from adversary import battery
from adversary.__main__ import ATTACKS, SAMPLE
from adversary.battery import Case, WrongError


@cache
def every(seed: int) -> list[Case]:
    return [case for attack in ATTACKS for case in attack.cases(seed)]


def test_as_many_as_promised_and_no_two_of_one_name() -> None:
    found = every(0)
    assert Counter(case.row for case in found) == {
        "kills": 50,
        "parameters": 300,
        "parameters, real starts": 20,
        "images": 200,
        "disk": 20,
        "tracking": 20,
    }
    assert len({case.name for case in found}) == len(found)


@pytest.mark.slow
def test_a_seed_decides_cases_and_sample() -> None:
    again = [case for attack in ATTACKS for case in attack.cases(0)]
    names = [[case.name for case in cases] for cases in (every(0), again, every(1))]
    assert names[0] == names[1] != names[2]
    samples = [battery.drawn(cases, SAMPLE, 3) for cases in (every(0), again)]
    assert [case.name for case in samples[0]] == [case.name for case in samples[1]]
    assert Counter(case.row for case in samples[0]) == SAMPLE


def test_what_is_wrong_is_counted_and_told() -> None:
    def right(_: Path) -> str:
        return "refused"

    def wrong(_: Path) -> str:
        raise WrongError("lost")

    cases = [Case("kills", "kills 0", right), Case("kills", "kills 1", wrong)]
    said: list[str] = []
    tallies = battery.tried(cases, [*cases, Case("kills", "kills 2", right)], said.append)
    assert [case.name for case in tallies["kills"].wrong] == ["kills 1"]
    assert battery.table(tallies).splitlines()[1].split()[:6] == ["kills", "2", "of", "3", "1", "1"]
    assert "WRONG" in said[1]
    assert "lost" in said[1]
