"""Parameters changed at random: each is refused before the first node, or its run comes to an end.

A training that diverges, and says so, has come to its end: no value can be refused for that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from adversary import limited
from adversary.battery import Case, WrongError
from adversary.projects import Done, Place, asked
from conftest import ROOT

WARM, COLD = "parameters", "parameters, real starts"
COUNTS = {WARM: 300, COLD: 20}
_LIMIT_S = {WARM: 40, COLD: 90}

# Beside the tiny run's, so that those of other environments need neither their data nor their time.
_ELSEWHERE = {
    "dual_gating": {"data.source": "textures", "data.root": "null", "train.warmup_epochs": 1},
    "dynamic_channels": {"data.source": "textures", "data.root": "null", "train.warmup_epochs": 1},
    "retrieval_eval": {
        "evaluate": "facades",
        "use": "pixels;random",
        "dataset.name": "null",
        "dataset.source": "null",
    },
    "saliency360": {"data.source": "generated", "data.root": "null", "train.precision": "fp32"},
}
_ANY = ("-1", "0", "1", "2", "0.5", "1e-12", "1e9", "100000000000", "inf", "nan", "null", "true")
_ANY += ("word", "a;b", "-4;8", "1;1", "", "../x", "é", "[]", "{}", "'", "1e400", "0x10")
# What Kedro says when checks are over and nodes begin.
STARTED = "Using synchronous mode"
_CHANCE_OF_A_NEAR_VALUE, _CHANCE_OF_A_TYPO, _CHANCE_OF_A_SECTION = 0.35, 0.1, 0.1


@dataclass(frozen=True)
class Change:
    """One changed parameter.

    Args:
        pipeline: that is run.
        environment: in which.
        key: the full one.
        value: as on the command line.
    """

    pipeline: str
    environment: str
    key: str
    value: str

    def __str__(self) -> str:
        return f"--env {self.environment} {self.key}={self.value}"

    @property
    def arguments(self) -> list[str]:
        """The command line of a tiny run with it."""
        base = self.environment == "base"
        *_, text = asked(self.pipeline, None if base else _ELSEWHERE[self.pipeline])
        options = [] if base else ["--env", self.environment]
        # The last of several values of a key counts.
        given = f"{text},{self.key}={self.value}"
        return ["run", "--pipeline", self.pipeline, *options, "--params", given]


def cases(seed: int) -> Iterator[Case]:
    """300 changes for the warm process, 20 more for real starts."""
    for row, count in COUNTS.items():
        generator = random.Random(f"{seed} {row}")
        for number in range(count):
            change = drawn(generator, number)
            attempt = partial(_attempt, change, row)
            yield Case(row, f"{row} {number:03d} {change}", attempt)


def drawn(generator: random.Random, number: int) -> Change:
    """One change; pipelines and environments take turns."""
    pairs = _pairs()
    pipeline, environment = pairs[number % len(pairs)]
    known = dict(_leaves(_parameters(pipeline, environment), pipeline))
    key = generator.choice(list(known))
    chance = generator.random()
    if chance < _CHANCE_OF_A_TYPO:
        place = generator.randrange(len(key))
        return Change(pipeline, environment, key[:place] + key[place + 1 :], str(known[key]))
    if chance < _CHANCE_OF_A_TYPO + _CHANCE_OF_A_SECTION:
        parts = key.split(".")
        key = ".".join(parts[: generator.randrange(1, len(parts) + 1)])
    near = _near(known.get(key))
    if near and generator.random() < _CHANCE_OF_A_NEAR_VALUE:
        return Change(pipeline, environment, key, generator.choice(near))
    return Change(pipeline, environment, key, generator.choice(_ANY))


def _pairs() -> list[tuple[str, str]]:
    """Every pipeline in every environment that has something to say of it; base twice."""
    files = sorted((ROOT / "conf").glob("*/parameters_*.yml"))
    pairs = [(path.stem.removeprefix("parameters_"), path.parent.name) for path in files]
    return pairs + [pair for pair in pairs if pair[1] == "base"]


def _parameters(pipeline: str, environment: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(("base", environment)):
        path = ROOT / "conf" / name / f"parameters_{pipeline}.yml"
        # What Kedro resolves is text to YAML.
        _merge(found, yaml.safe_load(path.read_text())[pipeline])
    return found


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}.{name}"
        if isinstance(value, dict) and value:
            yield from _leaves(value, key)
        else:
            yield key, value


def _near(value: Any) -> list[str]:
    """Values that somebody who knows the parameter might try."""
    if isinstance(value, bool):
        return [str(not value).lower()]
    if isinstance(value, int):
        return [str(found) for found in (value + 1, value - 1, 3 * value, value // 2)]
    if isinstance(value, float):
        return [str(found) for found in (-value, value / 10, value * 10, 1 - value)]
    if isinstance(value, str) and value:
        return [value.upper(), value[:-1], f"{value};{value}", value + " "]
    if isinstance(value, list) and value:
        return [str(value[0]), ";".join(map(str, reversed(value))), f"{value[0]};{value[0]}"]
    return []


def _attempt(change: Change, row: str, folder: Path) -> str:
    place = Place.made(folder / "project", tracked=row == COLD)
    if row == COLD:
        return fate(place.run(change.arguments, _LIMIT_S[row]))
    return fate(limited.run(place, change.arguments, _LIMIT_S[row]))


def fate(done: Done) -> str:
    """How a run ended.

    Raises:
        WrongError: it neither ended well, nor was refused in a sentence before its first node.
    """
    if "Traceback" in done.output:
        raise WrongError("a traceback\n" + tail(done))
    if done.code in (0, None):
        return "ran to its end" if done.code == 0 else "at work when its time was over"
    if done.code < 0:
        raise WrongError(f"ended by signal {-done.code}\n{tail(done)}")
    if "Error: " not in done.output:
        raise WrongError(f"ended with {done.code} and no word of an error\n{tail(done)}")
    if STARTED in done.output and "diverged" not in done.output:
        raise WrongError("refused after the start\n" + tail(done))
    return "refused: " + " ".join(done.output.rpartition("Error: ")[2].split())[:100]


def tail(done: Done, lines: int = 12) -> str:
    """End of what a run printed."""
    kept = [line.rstrip() for line in done.output.splitlines() if line.strip()]
    shown = [line for line in kept if line[0] not in "│╭╰"][-lines:]
    return "\n".join(f"        {line[:300]}" for line in shown)
